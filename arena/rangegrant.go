package arena

import (
	"lockd/internal/crash"
)

// Granting. Whoever frees something looks at the requests that overlap it, in
// the order of their arrival. A grant is one swap of the request's owner word,
// from waiting to held; its owner finds out by the bell, or by its ticker.

// rangeBatch is some of the requests that overlap a range: those that came
// first, in order.
type rangeBatch struct {
	n        int
	records  [16]uint32
	arrivals [16]uint64
	gone     uint32
}

func (b *rangeBatch) add(i uint32, arrival uint64) {
	n := min(b.n, len(b.records)-1)
	if b.n == len(b.records) && arrival > b.arrivals[n] {
		return
	}
	for ; n > 0 && b.arrivals[n-1] > arrival; n-- {
		b.records[n], b.arrivals[n] = b.records[n-1], b.arrivals[n-1]
	}
	b.records[n], b.arrivals[n] = i, arrival
	b.n = min(b.n+1, len(b.records))
}

// pass grants what can be granted of the requests that overlap a range. Past an
// exclusive request for all of it few can succeed, see rangeFilter; an exact pass
// does not rely on knowing which those are.
func (d *rangeDesk) pass(first, last uint64, exact bool) {
	if !exact && d.b.slot.state.Load() == 0 {
		return
	}
	after, only := uint64(0), rangeFilter(false)
	for tries := 0; tries < 3; {
		b := d.batch(first, last, after, only)
		switch {
		case d.broken:
			tries++
			d.rebuild()
			continue
		case b.gone != 0:
			d.drop(b.gone)
			continue
		}
		for k, i := range b.records[:b.n] {
			r := d.c.rangeAt(i)
			q := claimOf(r)
			if after = b.arrivals[k]; !q.kind.isRangeWait() || !only.lets(r) {
				continue
			}
			barred := d.survey(q, nil).barred
			switch {
			case !barred && d.rung.n == len(d.rung.answers):
				d.rung.later(first, last)
				return
			case barred && !d.waits(r, q), !barred && !d.grant(i, r, q):
				d.drop(i) // withdrawn meanwhile: it is in nobody's way
				continue
			}
			only = only || rangeFilter(!exact && !q.kind.isShared() && q.first <= first && q.last >= last)
		}
		if b.n < len(b.records) {
			return
		}
	}
}

// rangeFilter says that only those requests can succeed that may overtake an
// exclusive one for all of the range, or are its own holder's: when they began
// their holders had something, or had asked for something.
type rangeFilter bool

func (f rangeFilter) lets(r *rangeRecord) bool { return !bool(f) || r.place.Load() == placeHolding }

// batch finds the first requests that came later than after.
func (d *rangeDesk) batch(first, last, after uint64, only rangeFilter) (b rangeBatch) {
	w := d.walk(&d.walks[0], first, last)
	for i, r := d.next(w); i != 0; i, r = d.next(w) {
		switch q := claimOf(r); {
		case q.kind == rangeGone:
			b.gone = i
		case q.kind.isRangeWait() && q.arrival > after && only.lets(r):
			b.add(i, q.arrival)
		}
	}
	return b
}

// waits tells whether a record is the request that was looked at before others
// were dropped. If it was withdrawn it may have been one of these, and be
// another slot's by now: which says so before it says that it waits.
func (d *rangeDesk) waits(r *rangeRecord, q rangeClaim) bool {
	return r.owner.Load() == recordOwner(q.member(), q.kind) && r.slot.Load() == d.b.index
}

// grant gives a request what it asks for. It is false if that was withdrawn.
// There is room to tell of one more.
func (d *rangeDesk) grant(i uint32, r *rangeRecord, q rangeClaim) bool {
	m := q.member()
	crash.At("range.granting")
	if !d.waits(r, q) || !r.owner.CompareAndSwap(recordOwner(m, q.kind), recordOwner(m, q.kind.granted())) {
		return false
	}
	crash.At("range.granted")
	d.uncount()
	r.place.Store(placeGranted)
	crash.At("range.uncounted")
	d.rung.answers[d.rung.n] = answer{m, i}
	d.rung.n++
	return true
}

// uncount counts one less that waits.
func (d *rangeDesk) uncount() {
	if n := d.b.slot.state.Load(); n > 0 {
		d.b.slot.state.Store(n - 1)
	}
}

// drop takes a record that is gone out of the tree and frees it.
func (d *rangeDesk) drop(i uint32) {
	r := d.c.rangeAt(i)
	if r == nil || r.slot.Load() != d.b.index || kindOfRecord(r.owner.Load()) != rangeGone {
		return
	}
	if r.place.Load() >= placeWaiting {
		d.uncount()
		r.place.Store(placeGranted)
	}
	if d.unlink(i, r) {
		return // with the tree made anew it was freed
	}
	crash.At("range.dropped")
	r.owner.CompareAndSwap(uint64(rangeGone), 0)
	crash.At("range.forgotten")
	d.quiet()
}
