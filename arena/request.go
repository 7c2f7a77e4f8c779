package arena

import (
	"context"
	"errors"
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// await waits for the answer to a request that is in the queue. An error means
// that it was withdrawn.
func (c *core) await(ctx context.Context, a *Arena, w *ticketWait) (recordKind, error) {
	c.ticker.newcomer()
	defer c.ticker.gone()
	first := c.porter.enter(w)
	c.ticker.stir()
	defer c.porter.leave(w)
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, c.porter.nudge)
		defer stop()
	}
	if first && !w.answered() { // the ticker does it for those who come later
		c.meetTicketHolders(w.binding)
	}
	me := c.memberAt(c.member.Index)
	bell := &me.bell
	for {
		rung := bell.Load()
		agent := c.porter.represents(w, &me.answered)
		if w.answered() {
			return kindOfRecord(w.record.owner.Load()), nil
		}
		if err := c.stopped(request{ctx: ctx, arena: a}); err != nil {
			if w.record.owner.CompareAndSwap(w.wanted, uint64(recordWithdrawn)) {
				crash.At("request.withdrawn")
				// One that waited for tickets, behind others, is taken out when its
				// turn comes or at a tick: it is in nobody's way.
				c.serveTickets(w.binding, w.record.mode.Load() >= wantBack)
				return 0, err
			}
			continue
		}
		c.sleepForAnswer(ctx, w, agent, bell, rung)
	}
}

// meetTicketHolders sees to it that the deaths of those are noticed that a
// request waits for: who holds tickets, and who waits ahead.
func (c *core) meetTicketHolders(b *binding) {
	met := map[robust.Member]bool{c.member: true}
	gone := false
	meet := func(m robust.Member) {
		if met[m] {
			return
		}
		met[m] = true
		if !c.watch(m) {
			_, verdict := c.judge(m)
			gone = gone || verdict == robust.Gone
		}
	}
	c.eachTicket(b.index, b.slot, func(_ int, word *atomic.Uint64) bool {
		if m, held := ticketWord(word.Load()).owner(); held {
			meet(m)
		}
		return true
	})
	c.peekQueue(b.index, b.slot, func(_ *requestRecord, owner uint64) {
		if kindOfRecord(owner) == recordWanted {
			meet(ownerOfRecord(owner))
		}
	})
	if gone && c.reapTickets(b.index, b.slot) {
		c.serveTickets(b, true)
	}
}

// tendTickets does for each semaphore that this process waits for what a death
// may have left undone. The ticker calls it, and who learns of a death.
func (c *core) tendTickets() {
	c.porter.mu.Lock()
	bindings := make(map[uint32]*binding, len(c.porter.waits))
	for _, w := range c.porter.waits {
		if w.ranges == nil {
			bindings[w.binding.index] = w.binding
		}
	}
	c.porter.mu.Unlock()
	if len(bindings) == 0 {
		return
	}
	for index, b := range bindings {
		c.reapTickets(index, b.slot)
		c.serveTickets(b, true)
		c.meetTicketHolders(b)
	}
	c.porter.signalAnswered()
}

// claimRecords claims records for this member, growing the arena if it has to.
func (c *core) claimRecords(ctx context.Context, n int) ([]uint32, error) {
	claimed := make([]uint32, 0, n)
	settled := false
	deadline := futex.Now() + int64(busyPatience)
	for len(claimed) < n {
		had := c.segments()
		i := c.claimRecord(recordClaimed)
		if i == 0 {
			i = c.claimAnyRecord(recordClaimed)
		}
		if i != 0 {
			claimed = append(claimed, i)
			continue
		}
		grown, err := c.grow(ctx, had)
		switch {
		case grown:
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && futex.Now() < deadline && !c.gate.closing():
			// Who grows may be stopped; records may be freed meanwhile.
		case err == nil && !settled:
			settled = true
			c.settleForRoom()
		default:
			c.unclaimRecords(claimed)
			if err == nil {
				err = c.recordsFull()
			}
			return nil, err
		}
	}
	crash.At("semaphore.claimed")
	return claimed, nil
}

func (c *core) unclaimRecords(claimed []uint32) {
	for _, i := range claimed {
		if r := c.recordAt(i); r != nil {
			r.owner.CompareAndSwap(recordOwner(c.member, recordClaimed), 0)
			crash.At("record.unclaimed")
		}
	}
}
