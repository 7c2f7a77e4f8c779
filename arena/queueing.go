package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

// The queue: requests in the order of their arrival, from the slot's first
// record of tickets on. The slot's field last is a hint to its end, so that
// who comes to thousands does not walk past them: it is believed if it names a
// request of this slot that is in the queue and has none behind it.

// queueHead is where the queue begins, nil if there is no semaphore.
func (d *desk) queueHead() *atomic.Uint32 {
	if t := d.c.ticketsAt(d.b.slot.records.Load(), d.b.index, 0); t != nil {
		return &t.queue
	}
	return nil
}

// eachRequest calls f with the requests in the queue; f says whether to go on.
// A link to what is no request, or came earlier, which only damage makes, ends
// the queue, and so does an end that the last one is not at; it is made anew
// after the pass.
func (d *desk) eachRequest(f func(link *atomic.Uint32, i uint32, r *requestRecord) bool) {
	link := d.queueHead()
	arrival, last := uint64(0), uint32(0)
	for link != nil {
		i := link.Load()
		if i == 0 {
			d.reached(last, arrival)
			return
		}
		r := recordIs[requestRecord](d.c, i)
		if !isQueued(r, d.b.index) || r.arrival.Load() <= arrival {
			link.Store(0)
			d.cut = true
			return
		}
		arrived := r.arrival.Load()
		if !f(link, i, r) {
			return
		}
		if link.Load() == i { // f left it in the queue
			link, arrival, last = &r.next, arrived, i
		}
	}
}

// reached is called when the queue was seen to end with a request.
func (d *desk) reached(last uint32, arrival uint64) {
	hint := d.b.slot.last.Load()
	if hint == last {
		return
	}
	if r := d.lastRequest(); r != nil && r.arrival.Load() > arrival {
		d.cut = true
		return
	}
	d.b.slot.last.Store(last)
}

// lastRequest is the request that the hint names, if that can be true.
func (d *desk) lastRequest() *requestRecord {
	r := recordIs[requestRecord](d.c, d.b.slot.last.Load())
	if !isQueued(r, d.b.index) || r.next.Load() != 0 {
		return nil
	}
	return r
}

// queueEnd is where the next request is to be linked.
func (d *desk) queueEnd() *atomic.Uint32 {
	end := d.queueHead()
	if end == nil || end.Load() == 0 {
		return end
	}
	if r := d.lastRequest(); r != nil {
		return &r.next
	}
	d.eachRequest(func(_ *atomic.Uint32, _ uint32, r *requestRecord) bool {
		end = &r.next
		return true
	})
	return end
}

func isQueued(r *requestRecord, slot uint32) bool {
	if r == nil || r.slot.Load() != slot {
		return false
	}
	kind := kindOfRecord(r.owner.Load())
	return kind == recordWanted || kind == recordWithdrawn
}

// requeue makes the queue anew from the records of the slot, in the order of
// their arrival, and says whether there are any. They are sorted by merging,
// runs of 1, 2, 4 … of them, which needs no memory; what it leaves when it is
// cut short no one reads.
func (d *desk) requeue() bool {
	head := d.queueHead()
	if head == nil {
		return false
	}
	head.Store(0)
	d.b.slot.last.Store(0)
	crash.At("mend.unqueued")
	var runs [32]uint32
	d.eachOwn(func(i uint32, r *requestRecord) {
		owner := r.owner.Load()
		if kindOfRecord(owner) == recordWithdrawn {
			r.owner.CompareAndSwap(owner, 0)
			return
		}
		r.next.Store(0)
		k := 0
		for ; runs[k] != 0; k++ {
			i, runs[k] = d.merge(runs[k], i), 0
		}
		runs[k] = i
	}, nil)
	first := uint32(0)
	for _, run := range runs {
		first = d.merge(run, first)
	}
	d.number(first)
	head.Store(first)
	return first != 0
}

// merge merges two sorted runs; of 0 and a run, it is the run.
func (d *desk) merge(a, b uint32) uint32 {
	var first atomic.Uint32
	end := &first
	for steps := d.c.segments() * segmentRecords; a != 0 && b != 0 && steps > 0; steps-- {
		ra, rb := recordIs[requestRecord](d.c, a), recordIs[requestRecord](d.c, b)
		if ra == nil || rb == nil {
			break
		}
		if ra.arrival.Load() <= rb.arrival.Load() {
			end.Store(a)
			a, end = ra.next.Load(), &ra.next
		} else {
			end.Store(b)
			b, end = rb.next.Load(), &rb.next
		}
	}
	if a == 0 {
		a = b
	}
	end.Store(a)
	return first.Load()
}

// number sees to it that no two requests of a sorted run claim one place in
// the queue, and none one that is to come, which only damage makes.
func (d *desk) number(i uint32) {
	s := d.b.slot
	arrival := uint64(0)
	for steps := d.c.segments() * segmentRecords; i != 0 && steps > 0; steps-- {
		r := recordIs[requestRecord](d.c, i)
		if r == nil {
			return
		}
		if r.arrival.Load() <= arrival {
			r.arrival.Store(arrival + 1)
		}
		arrival = r.arrival.Load()
		s.last.Store(i)
		i = r.next.Load()
	}
	raise(&s.fence, arrival)
}
