package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

// endSemaphore destroys the semaphore if all its tickets are back. Each is
// closed first, which a newcomer who is about to undo his swap prevents; so
// nobody can have a ticket of a record that is freed.
func (d *desk) endSemaphore(st ticketState) bool {
	s := d.b.slot
	closed := true
	d.c.eachTicket(d.b.index, s, func(_ int, word *atomic.Uint64) bool {
		closed = word.CompareAndSwap(uint64(st.free()), 0)
		return closed
	})
	if !closed {
		d.c.eachTicket(d.b.index, s, func(_ int, word *atomic.Uint64) bool {
			return word.CompareAndSwap(0, uint64(st.free()))
		})
		crash.At("end.reopened")
		return false
	}
	crash.At("end.closed")
	for !swapTickets(s, loadTickets(s), 0) {
	}
	crash.At("end.ended")
	d.eachRequest(func(link *atomic.Uint32, i uint32, r *requestRecord) bool {
		owner := r.owner.Load()
		link.Store(r.next.Load())
		d.finish(i, r, owner)
		crash.At("end.answered")
		return true
	})
	i := s.records.Swap(0)
	crash.At("end.unchained")
	for first := 0; ; first += recordTicketCount {
		t := d.c.ticketsAt(i, d.b.index, first)
		if t == nil {
			return true
		}
		i = t.next.Load()
		freeTickets(t)
		crash.At("end.freed")
	}
}

// finish answers a request, which is in no queue, to a semaphore that is gone.
func (d *desk) finish(i uint32, r *requestRecord, owner uint64) {
	if kindOfRecord(owner) == recordWithdrawn { // it names nobody who would free an answer
		r.owner.CompareAndSwap(owner, 0)
		return
	}
	kind := recordRefused
	if r.mode.Load() == wantEnd {
		kind = recordGranted
	}
	var none atomic.Uint32
	none.Store(i)
	d.answer(&none, i, r, owner, kind)
}
