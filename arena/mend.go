package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
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
	if slotLife(s.life.Load()).kind() == KindRanges {
		c.mendSeizedRanges(index, s)
		return
	}
	b := c.ticketBinding(index, s)
	if b == nil {
		c.letGo(index, s)
		return
	}
	d := &desk{c: c, b: b}
	d.work(func() { d.pass(true) })
}
