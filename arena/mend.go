package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

// mend makes anew, from the records, what the latch guards. It can be cut
// short anywhere and done again: the latch is still abandoned then.
//
// The chain of tickets needs no mending after a death, for it grows by one link
// at a time; but tickets can have been made that are not in it yet, or not any
// more. A chain that is broken otherwise is damage. It is put together again
// as far as the records are there; a record that names a holder is never freed.
func (d *desk) mend() {
	c, s := d.c, d.b.slot
	d.cut, d.mended = false, true
	c.noticeGrowth()
	st := loadTickets(s)
	if !st.exists() {
		s.records.Store(0) // not made to the end, or destroyed: see create and endSemaphore
	}
	d.eachOwn(nil, func(_ uint32, t *ticketRecord) {
		t.first.And(^uint32(markBit))
	})
	d.mendChain(st)
	crash.At("mend.words")
	if !st.exists() {
		d.eachOwn(func(i uint32, r *requestRecord) {
			owner := r.owner.Load()
			if kindOfRecord(owner) == recordWithdrawn {
				r.owner.CompareAndSwap(owner, 0)
				return
			}
			d.finish(i, r, owner)
		}, nil)
	}
	crash.At("mend.emptied")
	waiting := d.requeue()
	crash.At("mend.queued")
	d.eachOwn(nil, func(_ uint32, t *ticketRecord) {
		switch {
		case t.first.Load()&markBit != 0:
			t.first.And(^uint32(markBit))
		case int(t.first.Load()) < st.capacity(): // behind a gap in the chain
		case t.close(st):
			freeTickets(t)
			crash.At("mend.freed")
		}
	})
	if waiting {
		changeTickets(s, ticketsAwaited|ticketsDrained, 0)
	} else {
		changeTickets(s, 0, ticketsAwaited|ticketsDrained|ticketsEnding)
	}
}

// mendChain follows the chain of tickets, marks its records and mends their
// words. Where it ends too early or goes astray, it is continued with the
// record that says that it comes next.
func (d *desk) mendChain(st ticketState) {
	if !st.exists() {
		return
	}
	link := &d.b.slot.records
	from := uint32(0)
	for first := 0; first < MaxTickets; first += recordTicketCount {
		i := link.Load()
		t := d.c.ticketsAt(i, d.b.index, first)
		if t == nil {
			if i, t = d.findTickets(first, from); t == nil {
				link.Store(0)
				return
			}
			t.next.Store(0)
			link.Store(i)
			crash.At("mend.chained")
		}
		from = i
		t.first.Or(markBit)
		link = &t.next
		for k := range t.words {
			d.c.mendWord(&t.words[k], d.b.index, st)
		}
	}
}

// findTickets finds the slot's record that has the tickets from first on,
// looking from one record on, then at those before it.
func (d *desk) findTickets(first int, from uint32) (uint32, *ticketRecord) {
	records := d.c.segments() * segmentRecords
	for k := range records {
		i := (from + 1 + k) % records
		if t := d.c.ticketsAt(i, d.b.index, first); t != nil {
			return i, t
		}
	}
	return 0, nil
}

// close closes all tickets of a record, or none if one of them is held. Of a
// semaphore that is not there nobody has any.
func (t *ticketRecord) close(st ticketState) bool {
	for k := range t.words {
		if w := &t.words[k]; st.exists() && w.Load() != 0 && !w.CompareAndSwap(uint64(st.free()), 0) {
			for k := range t.words[:k] {
				t.words[k].CompareAndSwap(0, uint64(st.free()))
			}
			return false
		}
	}
	return true
}

// eachOwn calls request and tickets, those that are not nil, with the records
// of the slot.
func (d *desk) eachOwn(request func(uint32, *requestRecord), tickets func(uint32, *ticketRecord)) {
	for i := uint32(1); i < d.c.segments()*segmentRecords; i++ {
		r := d.c.recordAt(i)
		if r.slot.Load() != d.b.index {
			continue
		}
		switch kindOfRecord(r.owner.Load()) {
		case recordWanted, recordWithdrawn:
			if request != nil {
				request(i, recordIs[requestRecord](d.c, i))
			}
		case recordTickets:
			if tickets != nil {
				tickets(i, recordIs[ticketRecord](d.c, i))
			}
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
		crash.At("mend.word")
	}
}

// freeTickets frees a record that no chain has, closing its tickets first.
// Until its owner word says so it is the slot's, and a mender finds it: so what
// else it says stays as it is, and whoever has the record next writes his own.
func freeTickets(t *ticketRecord) {
	for k := range t.words {
		t.words[k].Store(0)
	}
	crash.At("free.closed")
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
