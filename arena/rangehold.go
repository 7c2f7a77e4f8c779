package arena

import (
	"time"

	"lockd/internal/crash"
)

// Taking, changing and giving back pieces, under the slot's latch. A holder's
// collected pieces do not overlap each other, and pieces of one mode do not
// touch. While one is changed it is out of the tree, and its owner word says
// that it is claimed: so the tree may be made anew at any time.

// rangeView is what a request meets in the tree.
type rangeView struct {
	barred  bool
	own     int    // pieces of the holder that overlap or touch
	gone    uint32 // a record that is to be taken out
	damaged bool   // the tree cannot be made whole
}

// survey looks at all that overlaps or touches a request; h is its holder, or
// nil if its pieces do not matter.
func (d *rangeDesk) survey(q rangeClaim, h *rangeHolder) (v rangeView) {
	for tries := 0; tries < 3; {
		switch v = d.look(q, h); {
		case d.broken:
			tries++
			d.rebuild()
		case v.gone != 0:
			d.drop(v.gone)
		default:
			return v
		}
	}
	v.barred, v.damaged = true, true
	return v
}

func (d *rangeDesk) look(q rangeClaim, h *rangeHolder) (v rangeView) {
	first, last := q.first-min(q.first, 1), min(q.last+1, maxOffset)
	if d.isClear(first, last) {
		return v
	}
	w := d.walk(&d.walks[0], first, last)
	for i, r := d.next(w); i != 0; i, r = d.next(w) {
		p := claimOf(r)
		switch {
		case p.kind == rangeGone:
			v.gone = i
		case p.party == q.party:
			if h != nil && h.owns(i, r) {
				v.own++
			}
		case !v.barred:
			v.barred = d.bars(p, q)
		}
	}
	return v
}

// bars tells whether the request q waits for p.
func (d *rangeDesk) bars(p, q rangeClaim) bool {
	switch p.standingTo(q) {
	case inWay:
		return true
	case before:
		o := overtake(p, q)
		w := d.walk(&d.walks[1], p.first, p.last)
		for i, r := d.next(w); i != 0; i, r = d.next(w) {
			if o.past(claimOf(r)) {
				return false
			}
		}
		return true
	}
	return false
}

// claim is the holder's request for a range, as what it waits.
func (h *rangeHolder) claim(s span) rangeClaim {
	return rangeClaim{party: h.party(), first: s.first, last: s.last, kind: s.kind.waiting(), arrival: noArrival}
}

// write fills a record that is in no tree.
func (d *rangeDesk) write(h *rangeHolder, r *rangeRecord, first, last, arrival uint64) {
	change(&r.slot, d.b.index)
	change(&r.holder, h.number)
	change(&r.session, h.session)
	change64(&r.first, first)
	change64(&r.last, last)
	change64(&r.arrival, arrival)
}

// hold makes the holder hold a range in one mode, over whatever it had of it.
// granted is the record that was granted for it, or 0; own says whether the
// holder has pieces that overlap or touch. Nobody else is in the way.
func (d *rangeDesk) hold(h *rangeHolder, s span, own bool, granted uint32) {
	owner := recordOwner(h.core.member, s.kind)
	first, last := s.first, s.last
	if own {
		w := d.walk(&d.walks[0], first-min(first, 1), min(last+1, maxOffset))
		for i, r := d.next(w); i != 0; i, r = d.next(w) {
			if !h.owns(i, r) || r.owner.Load() != owner {
				continue
			}
			a, z := r.first.Load(), r.last.Load()
			if granted == 0 && a <= first && z >= last {
				return // it holds that already
			}
			first, last = min(first, a), max(last, z)
		}
	}
	i, arrival := granted, uint64(0)
	var r *rangeRecord
	if granted == 0 {
		i, r = h.pick()
	} else {
		r = d.c.rangeAt(i)
		if arrival = r.arrival.Load(); first != s.first || last != s.last {
			r.owner.Store(recordOwner(h.core.member, rangeClaimed))
			d.unlink(i, r)
		}
	}
	if granted == 0 || first != s.first || last != s.last {
		r.place.Store(placeGranted)
		d.write(h, r, first, last, arrival)
		d.link(i, r, owner)
	}
	if own {
		d.clear(h, s, first, last)
	}
	h.list(i, r)
}

// clear makes room for a piece that was just put in: pieces of its mode become
// part of it, others end where the range begins that was asked for.
func (d *rangeDesk) clear(h *rangeHolder, s span, first, last uint64) {
	for left := 2*len(h.pieces) + 2; left > 0; left-- {
		i, r := d.piece(h, first, last)
		if i == 0 {
			return
		}
		if kindOfRecord(r.owner.Load()) == s.kind {
			d.discard(h, i, r)
		} else {
			d.trim(h, i, r, s.first, s.last)
			if s.kind.isShared() {
				crash.At("range.downgraded")
				d.freed(s.first, s.last)
			}
		}
	}
}

// freed notes that others may get what they wait for in this range.
func (d *rangeDesk) freed(first, last uint64) {
	if d.anyFreed {
		first, last = min(first, d.freedFirst), max(last, d.freedLast)
	}
	d.anyFreed, d.freedFirst, d.freedLast = true, first, last
}

// piece finds a piece of the holder that overlaps a range, the last that it took
// first: most are given back in the opposite order.
func (d *rangeDesk) piece(h *rangeHolder, first, last uint64) (uint32, *rangeRecord) {
	n := len(h.pieces)
	if n == 0 {
		return 0, nil
	}
	i := h.pieces[n-1]
	if r := d.c.rangeAt(i); r != nil && h.owns(i, r) && r.first.Load() <= last && r.last.Load() >= first {
		return i, r
	}
	for range 2 {
		w := d.walk(&d.walks[0], first, last)
		for i, r := d.next(w); i != 0; i, r = d.next(w) {
			if h.owns(i, r) {
				return i, r
			}
		}
		if !d.broken {
			break
		}
		d.rebuild()
	}
	return 0, nil
}

// trim takes a range out of a piece.
func (d *rangeDesk) trim(h *rangeHolder, i uint32, r *rangeRecord, first, last uint64) {
	owner, a, z := r.owner.Load(), r.first.Load(), r.last.Load()
	if a >= first && z <= last {
		d.discard(h, i, r)
		return
	}
	arrival := r.arrival.Load()
	r.owner.Store(recordOwner(h.core.member, rangeClaimed))
	crash.At("range.cut")
	d.unlink(i, r)
	if a < first && z > last {
		j, rest := h.pick()
		d.write(h, rest, last+1, z, arrival)
		h.list(j, rest)
		d.link(j, rest, owner)
		crash.At("range.split")
	}
	if a < first {
		z = first - 1
	} else {
		a = last + 1
	}
	d.write(h, r, a, z, arrival)
	d.link(i, r, owner)
}

// discard gives up a piece.
func (d *rangeDesk) discard(h *rangeHolder, i uint32, r *rangeRecord) {
	h.delist(r)
	r.owner.Store(recordOwner(h.core.member, rangeClaimed))
	crash.At("range.released")
	d.unlink(i, r)
	h.put(i, r)
	d.quiet()
}

// quiet: with nothing in the tree nobody waits, whatever was counted.
func (d *rangeDesk) quiet() {
	if s := d.b.slot; s.records.Load() == 0 {
		change64(&s.state, 0)
	}
}

// release gives back what the holder has of a range. It is false, and nothing
// has changed, if that is the middle of a piece and it lacks the record for
// what is behind.
func (d *rangeDesk) release(h *rangeHolder, first, last uint64) (enough bool) {
	for left := 2*len(h.pieces) + 2; left > 0; left-- {
		i, r := d.piece(h, first, last)
		if i == 0 {
			break
		}
		a, z := r.first.Load(), r.last.Load()
		if a < first && z > last && !h.has(1) {
			return false
		}
		d.freed(max(first, a), min(last, z))
		d.trim(h, i, r, first, last)
		if a <= first && z >= last {
			break // no other piece overlaps this one
		}
	}
	return true
}

// enqueue makes a request wait, with the holder's next spare record.
func (d *rangeDesk) enqueue(h *rangeHolder, s span) (i uint32, r *rangeRecord) {
	slot := d.b.slot
	arrival := max(slot.fence.Load()+1, uint64(time.Now().UnixNano()))
	slot.fence.Store(arrival)
	i, r = h.pick()
	d.write(h, r, s.first, s.last, arrival)
	if r.place.Store(placeWaiting); len(h.pieces) > 0 || h.asking.Load() > 0 {
		r.place.Store(placeHolding)
	}
	h.asking.Add(1)
	crash.At("range.written")
	slot.state.Store(slot.state.Load() + 1)
	crash.At("range.counted")
	d.link(i, r, recordOwner(h.core.member, s.kind.waiting()))
	crash.At("range.queued")
	return i, r
}
