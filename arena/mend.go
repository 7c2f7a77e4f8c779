package arena

import (
	"fmt"
	"sync/atomic"

	"lockd/internal/crash"
	"lockd/robust"
)

// mend makes anew, from the records, what the latch guards. It can be cut
// short anywhere and done again: the latch is still abandoned then.
//
// The chain of tickets needs no mending, for it grows by one link at a time;
// but tickets can have been made that are not in it yet, or not any more.
func (d *desk) mend() {
	c, s, index := d.c, d.b.slot, d.b.index
	c.noticeGrowth()
	st := loadTickets(s)
	if !st.exists() {
		s.records.Store(0) // not made to the end, or destroyed: see create and endSemaphore
	}
	d.eachOwn(func(_ uint32, kind recordKind) {}, func(t *ticketRecord) {
		t.first.And(^uint32(markBit))
	})
	first := 0
	for i := s.records.Load(); first < MaxTickets; first += recordTicketCount {
		t := c.ticketsAt(i, index, first)
		if t == nil {
			break
		}
		t.first.Or(markBit)
		i = t.next.Load()
		for k := range t.words {
			c.mendWord(&t.words[k], index, st)
		}
	}
	crash.At("mend.words")
	if head := d.queueHead(); head != nil {
		head.Store(0)
	}
	crash.At("mend.emptied")
	waiting := false
	d.eachOwn(func(i uint32, kind recordKind) {
		r := recordIs[requestRecord](c, i)
		owner := r.owner.Load()
		switch {
		case kindOfRecord(owner) == recordWithdrawn:
			r.owner.CompareAndSwap(owner, 0)
		case kindOfRecord(owner) != recordWanted:
		case st.exists():
			waiting = true
			d.insert(i, r)
			crash.At("mend.inserted")
		default:
			d.finish(i, r, owner)
		}
	}, func(t *ticketRecord) {
		if t.first.Load()&markBit == 0 {
			freeTickets(t)
			crash.At("mend.freed")
			return
		}
		t.first.And(^uint32(markBit))
	})
	if waiting {
		changeTickets(s, ticketsAwaited|ticketsDrained, 0)
	} else {
		changeTickets(s, 0, ticketsAwaited|ticketsDrained|ticketsEnding)
	}
}

// eachOwn calls request and tickets with the records of the slot.
func (d *desk) eachOwn(request func(i uint32, kind recordKind), tickets func(*ticketRecord)) {
	for i := uint32(1); i < d.c.segments()*segmentRecords; i++ {
		r := d.c.recordAt(i)
		if r.slot.Load() != d.b.index {
			continue
		}
		switch kind := kindOfRecord(r.owner.Load()); kind {
		case recordWanted, recordWithdrawn:
			request(i, kind)
		case recordTickets:
			tickets(recordIs[ticketRecord](d.c, i))
		}
	}
}

// mendWord frees a ticket that was closed by somebody who then did not destroy
// the semaphore, or given to a request that then was not granted.
func (c *core) mendWord(word *atomic.Uint64, index uint32, st ticketState) {
	w := ticketWord(word.Load())
	if w == 0 {
		word.CompareAndSwap(0, uint64(st.free()))
		return
	}
	i := w.request()
	if i == 0 {
		return
	}
	m, _ := w.owner()
	r := recordIs[requestRecord](c, i)
	if r == nil || r.slot.Load() != index || r.owner.Load() != recordOwner(m, recordGranted) {
		word.CompareAndSwap(uint64(w), uint64(st.free()))
	}
}

// insert puts a request where its arrival says.
func (d *desk) insert(i uint32, r *requestRecord) {
	link := d.queueHead()
	if link == nil {
		return
	}
	d.eachRequest(func(at *atomic.Uint32, _ uint32, other *requestRecord) bool {
		link = at
		if other.arrival.Load() > r.arrival.Load() {
			return false
		}
		link = &other.next
		return true
	})
	r.next.Store(link.Load())
	link.Store(i)
}

// freeTickets frees a record that no chain has, closing its tickets first.
func freeTickets(t *ticketRecord) {
	for k := range t.words {
		t.words[k].Store(0)
	}
	t.first.Store(0)
	t.next.Store(0)
	t.queue.Store(0)
	t.slot.Store(0)
	t.owner.Store(0)
}

// mendSeized is for a settler who has seized the latch of a dead.
func (c *core) mendSeized(index uint32, s *slot) {
	b := c.ticketBinding(index, s)
	if b == nil {
		c.letGo(index, s)
		return
	}
	d := &desk{c: c, b: b}
	d.work(func() { d.pass(true) })
}

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
func (c *core) giveBackTickets(most int) (count int, names []string) {
	held := make(map[uint32]int)
	touched := make(map[uint32]bool)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		owner := r.owner.Load()
		if ownerOfRecord(owner) == c.member && owner != 0 {
			if kindOfRecord(owner) == recordWanted {
				touched[r.slot.Load()] = true
			}
			r.owner.CompareAndSwap(owner, ownerAfterDeath(owner))
			continue
		}
		if kindOfRecord(owner) != recordTickets {
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
			if count += n; len(names) < most {
				names = append(names, fmt.Sprintf("%d tickets of %q", n, c.slotName(s)))
			}
		}
	}
	return count, names
}
