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
			t := recordIs[ticketRecord](c, i)
			for k := range t.words {
				w := ticketWord(t.words[k].Load())
				m, held := w.owner()
				if _, gone := d.has(m); held && gone && c.freeTicket(t, &t.words[k], w) {
					touched[t.slot.Load()] = true
				}
			}
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
func (c *core) freeTicket(t *ticketRecord, word *atomic.Uint64, w ticketWord) bool {
	s := c.slotAt(t.slot.Load())
	if s == nil {
		return false
	}
	st := loadTickets(s)
	if !st.exists() || !word.CompareAndSwap(uint64(w), uint64(st.free())) {
		return false
	}
	crash.At("settle.ticket")
	return true
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
		w := ticketWord(word.Load())
		if m, held := w.owner(); held && gone(m) && word.CompareAndSwap(uint64(w), uint64(st.free())) {
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
				touched[r.slot.Load()] = true
			}
			continue
		case recordTickets:
		default:
			continue
		}
		t := recordIs[ticketRecord](c, i)
		for k := range t.words {
			w := ticketWord(t.words[k].Load())
			if m, owned := w.owner(); owned && m == c.member && c.freeTicket(t, &t.words[k], w) {
				touched[t.slot.Load()] = true
				if w.request() == 0 {
					held[t.slot.Load()]++
				}
			}
		}
	}
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

// settleRequest gives back a record of a semaphore until it names none of the
// dead: a request can be answered meanwhile.
func (d dead) settleRequest(r *record) {
	for {
		owner := r.owner.Load()
		if _, gone := d.has(ownerOfRecord(owner)); !gone || owner == 0 || r.owner.CompareAndSwap(owner, ownerAfterDeath(owner)) {
			return
		}
	}
}
