package arena

import (
	"fmt"
	"sync/atomic"

	"lockd/internal/crash"
	"lockd/robust"
)

// settleTickets frees the tickets that the dead hold, and has the requests
// looked at where one of theirs stood in the way.
func (c *core) settleTickets(d dead) {
	touched := make(map[uint32]bool)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		switch kindOfRecord(r.owner.Load()) {
		case recordTickets:
			c.eachTicketOf(i, func(index uint32, s *slot, st ticketState, word *atomic.Uint64) {
				w := ticketWord(word.Load())
				m, held := w.owner()
				if _, gone := d.has(m); held && gone && freeTicket(s, st, word, w) {
					crash.At("settle.ticket")
					touched[index] = true
				}
			})
		case recordWithdrawn:
			touched[r.slot.Load()] = true
		}
	}
	crash.At("settle.tickets")
	for index := range touched {
		if s := c.slotAt(index); s != nil {
			c.serveSlot(index, s, true)
		}
	}
}

// freeTicket frees a ticket whose holder, the word says, is gone. The word is
// swapped as it was judged: of many who do this, one does.
//
// The word was read after st. Only if that is still the semaphore's incarnation
// is it sure to be a ticket's; then it stays one, for as long as anybody, dead
// or not, holds a ticket, the semaphore does not end.
func freeTicket(s *slot, st ticketState, word *atomic.Uint64, w ticketWord) bool {
	if loadTickets(s).incarnation() != st.incarnation() {
		return false
	}
	if variantFreeBlindly {
		word.Store(uint64(st.free()))
		return true
	}
	return word.CompareAndSwap(uint64(w), uint64(st.free()))
}

// eachTicketOf calls f with the tickets of record i, if it has any, and the
// state of their semaphore that was read before.
func (c *core) eachTicketOf(i uint32, f func(index uint32, s *slot, st ticketState, word *atomic.Uint64)) {
	t := recordIs[ticketRecord](c, i)
	index := t.slot.Load()
	s := c.slotAt(index)
	if s == nil {
		return
	}
	st := loadTickets(s)
	// Now that the state was read, is it a record of that semaphore still?
	if !st.exists() || kindOfRecord(t.owner.Load()) != recordTickets || t.slot.Load() != index {
		return
	}
	for k := range t.words {
		f(index, s, st, &t.words[k])
	}
}

// reapTickets frees what the dead hold of a semaphore and withdraws what they
// wait for, and says whether there was anything.
func (c *core) reapTickets(index uint32, s *slot) bool {
	judged := make(map[robust.Member]bool)
	gone := func(m robust.Member) bool {
		dead, known := judged[m]
		if !known {
			_, verdict := c.judge(m)
			dead = verdict == robust.Gone
			judged[m] = dead
		}
		return dead
	}
	reaped := false
	st := loadTickets(s)
	if !st.exists() {
		return false
	}
	c.eachTicket(index, s, func(_ int, word *atomic.Uint64) bool {
		crash.At("reap.look")
		w := ticketWord(word.Load())
		if m, held := w.owner(); held && gone(m) && freeTicket(s, st, word, w) {
			crash.At("reap.ticket")
			reaped = true
		}
		return true
	})
	c.peekQueue(index, s, func(r *requestRecord, owner uint64) {
		if kindOfRecord(owner) == recordWanted && gone(ownerOfRecord(owner)) &&
			r.owner.CompareAndSwap(owner, uint64(recordWithdrawn)) {
			crash.At("reap.request")
			reaped = true
		}
	})
	if reaped {
		c.settling.kick()
	}
	return reaped
}

// peekQueue calls f with the requests that can be seen without the latch, which
// may miss some.
func (c *core) peekQueue(index uint32, s *slot, f func(r *requestRecord, owner uint64)) {
	t := c.ticketsAt(s.records.Load(), index, 0)
	if t == nil {
		return
	}
	i := t.queue.Load()
	for steps := c.segments() * segmentRecords; i != 0 && steps > 0; steps-- {
		r := recordIs[requestRecord](c, i)
		if !isQueued(r, index) {
			return
		}
		f(r, r.owner.Load())
		i = r.next.Load()
	}
}

// giveBackTickets frees, when the process leaves, all that it holds, and says
// how many tickets of what. Nobody of this process can take any more.
func (c *core) giveBackTickets(given *list) {
	held := make(map[uint32]int)
	touched := make(map[uint32]bool)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		owner := r.owner.Load()
		switch kindOfRecord(owner) {
		case recordClaimed, recordWanted, recordGranted, recordRefused:
			if ownerOfRecord(owner) == c.member && r.owner.CompareAndSwap(owner, ownerAfterDeath(owner)) {
				crash.At("give.request")
				touched[r.slot.Load()] = true
			}
			continue
		case recordTickets:
			c.eachTicketOf(i, func(index uint32, s *slot, st ticketState, word *atomic.Uint64) {
				w := ticketWord(word.Load())
				if m, owned := w.owner(); owned && m == c.member && freeTicket(s, st, word, w) {
					crash.At("give.ticket")
					touched[index] = true
					if w.request() == 0 {
						held[index]++
					}
				}
			})
		}
	}
	c.serveWaiting(touched)
	for index := range touched {
		s := c.slotAt(index)
		if s == nil {
			continue
		}
		c.serveSlot(index, s, true)
		if n := held[index]; n > 0 {
			given.addSome(n, fmt.Sprintf("%d tickets of %q", n, c.slotName(s)))
		}
	}
}

// serveWaiting adds the semaphores that anybody waits for: who gave back a
// ticket last could not see it any more.
func (c *core) serveWaiting(touched map[uint32]bool) {
	for i := uint32(1); i < c.slotCount(); i++ {
		s := c.slotAt(i)
		if s == nil {
			return
		}
		life := slotLife(s.life.Load())
		if life.isLive() && life.kind() == KindSemaphore && loadTickets(s).has(ticketsAwaited|ticketsDrained) {
			touched[i] = true
		}
	}
}

// settleRequest gives back a record of a semaphore until it names none of the
// dead: a request can be answered meanwhile.
func (d dead) settleRequest(r *record) {
	for {
		owner := r.owner.Load()
		if _, gone := d.has(ownerOfRecord(owner)); !gone || owner == 0 {
			return
		}
		if r.owner.CompareAndSwap(owner, ownerAfterDeath(owner)) {
			crash.At("settle.request")
			return
		}
	}
}
