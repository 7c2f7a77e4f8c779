package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

// The tree is a treap: ordered by first, and for the same first by the record's
// index; a heap by a hash of the index, which is not stored. So its form
// depends on what is in it alone, and no order of insertions makes it deep.
// Each record knows the largest last in its left subtree, by which a walk over
// what overlaps a range leaves out the rest. (Knowing that of the whole subtree
// would have each step of a walk look at both children, a third more lines of
// the cache.)
//
// It is derived from the records. Nothing in it is believed: an index of what
// is no record of the slot's tree, a path that is too deep, a walk that is too
// long mean that it is broken, and it is made anew.

// rangeDepth bounds a path. Among a million records one of 96 has a chance of
// less than one in 10^15.
const rangeDepth = 96

// priority mixes the bits of an index so that each has one of its own.
func priority(i uint32) uint32 {
	i ^= i >> 16
	i *= 0x85eb_ca6b
	i ^= i >> 13
	i *= 0xc2b2_ae35
	return i ^ i>>16
}

// isBelow orders two records.
func isBelow(i uint32, r *rangeRecord, j uint32, s *rangeRecord) bool {
	a, b := r.first.Load(), s.first.Load()
	return a < b || a == b && i < j
}

// link puts a record with its fields written into the tree, as what its owner
// word is to say.
func (d *rangeDesk) link(i uint32, r *rangeRecord, owner uint64) {
	r.owner.Store(owner)
	crash.At("range.owned")
	d.insert(i, r)
	if d.broken {
		d.rebuild()
	}
	crash.At("range.linked")
}

// wayTo goes down to where a record is, or would be.
func (d *rangeDesk) wayTo(i uint32, r *rangeRecord) {
	d.depth, d.higher, d.last = 0, 0, 0
	last := r.last.Load()
	for x := d.b.slot.records.Load(); x != 0 && x != i; d.depth++ {
		above := d.node(x)
		if above == nil || d.depth == rangeDepth {
			d.broken = true
			return
		}
		d.path[d.depth] = x
		if !isBelow(i, r, x, above) {
			x = above.right.Load()
			continue
		}
		if above.leftMax.Load() <= last {
			d.rise[d.higher] = x
			d.higher++
		}
		x = above.left.Load()
	}
}

// linkBelow is the link that leads from step n-1 of the way towards a record.
func (d *rangeDesk) linkBelow(n int, i uint32, r *rangeRecord) *atomic.Uint32 {
	if n == 0 {
		return &d.b.slot.records
	}
	x := d.node(d.path[n-1])
	switch {
	case x == nil:
		return nil
	case isBelow(i, r, d.path[n-1], x):
		return &x.left
	}
	return &x.right
}

// insert puts a record in at the end of the way, or higher: what has a lower
// priority is parted into what comes before it and what comes after.
func (d *rangeDesk) insert(i uint32, r *rangeRecord) {
	if d.depth == noWay {
		d.wayTo(i, r)
	}
	end := d.depth
	d.depth = noWay
	if d.broken {
		return
	}
	last := r.last.Load()
	for _, x := range d.rise[:d.higher] {
		raise(&d.c.rangeAt(x).leftMax, last)
		crash.At("range.raised")
	}
	top := end
	for mine := priority(i); top > 0 && priority(d.path[top-1]) < mine; top-- {
	}
	link := d.linkBelow(top, i, r)
	if link == nil {
		return
	}
	link.Store(i)
	crash.At("range.topped")
	lower, upper := &r.left, &r.right
	for _, below := range d.path[top:end] {
		x := d.node(below)
		switch {
		case x == nil:
			return
		case isBelow(i, r, below, x):
			change(upper, below)
			upper = &x.left
		default:
			change(lower, below)
			lower = &x.right
		}
		crash.At("range.parted")
	}
	change(lower, 0)
	change(upper, 0)
	change64(&r.leftMax, d.most(r.left.Load()))
	for ; end > top; end-- {
		if x := d.node(d.path[end-1]); x != nil && isBelow(i, r, d.path[end-1], x) {
			change64(&x.leftMax, d.most(x.left.Load()))
		}
	}
	d.last, d.above = i, uint32(top)
}

// most is the largest last in a subtree.
func (d *rangeDesk) most(i uint32) (m uint64) {
	for steps := rangeDepth; i != 0; steps-- {
		r := d.node(i)
		if r == nil || steps == 0 {
			d.broken = true
			return m
		}
		m = max(m, r.leftMax.Load(), r.last.Load())
		i = r.right.Load()
	}
	return m
}

// unlink takes a record out of the tree, which has the owner word already that
// it is to have outside. It says whether the tree was made anew instead.
func (d *rangeDesk) unlink(i uint32, r *rangeRecord) (rebuilt bool) {
	d.remove(i, r)
	if rebuilt = d.broken; rebuilt {
		d.rebuild()
	}
	crash.At("range.unlinked")
	return rebuilt
}

// remove merges what is below a record into its place.
func (d *rangeDesk) remove(i uint32, r *rangeRecord) {
	if d.last == i {
		above := d.above
		d.last, d.depth = 0, noWay
		if link := d.linkFrom(above, i); link != nil {
			d.merge(link, r)
			d.lower(above, i, r)
			return
		}
	}
	d.wayTo(i, r)
	link := d.linkBelow(d.depth, i, r)
	d.depth = noWay
	if link == nil || link.Load() != i {
		d.broken = true
	}
	if d.broken {
		return
	}
	d.merge(link, r)
	d.lowerRise()
}

// linkFrom is the link to a record from step n-1 of the path, if it still leads
// there. A record in the tree has one link that does, so no others need be looked at.
func (d *rangeDesk) linkFrom(n, i uint32) *atomic.Uint32 {
	if n == 0 {
		if root := &d.b.slot.records; root.Load() == i {
			return root
		}
		return nil
	}
	x := d.c.rangeAt(d.path[n-1])
	switch {
	case x == nil || x.slot.Load() != d.b.index || !kindOfRecord(x.owner.Load()).inTree():
		return nil
	case x.left.Load() == i:
		return &x.left
	case x.right.Load() == i:
		return &x.right
	}
	return nil
}

// lower corrects, up the path, the leftMax of those in whose left subtree the
// record was that has just been taken out, as far as its last may have been the
// largest there.
func (d *rangeDesk) lower(above, i uint32, r *rangeRecord) {
	last := r.last.Load()
	for n := above; n > 0; n-- {
		if n < above && d.linkFrom(n, d.path[n]) == nil {
			d.wayTo(i, r)
			d.depth = noWay
			d.lowerRise()
			return
		}
		x := d.c.rangeAt(d.path[n-1])
		if isBelow(i, r, d.path[n-1], x) {
			if x.leftMax.Load() > last {
				return
			}
			change64(&x.leftMax, d.most(x.left.Load()))
		}
		if x.last.Load() > last {
			return
		}
	}
}

// merge puts what is below a record in its place.
func (d *rangeDesk) merge(link *atomic.Uint32, r *rangeRecord) {
	left, right := r.left.Load(), r.right.Load()
	for steps := 2 * rangeDepth; left != 0 && right != 0; steps-- {
		upper := right
		if priority(left) > priority(right) {
			upper = left
		}
		x := d.node(upper)
		if x == nil || steps == 0 {
			d.broken = true
			return
		}
		link.Store(upper)
		crash.At("range.merging")
		if upper == left {
			link = &x.right
			left = link.Load()
		} else {
			raise(&x.leftMax, d.most(left))
			link = &x.left
			right = link.Load()
		}
	}
	change(link, left|right)
	crash.At("range.merged")
}

// lowerRise corrects those whose largest a record was that lay where the way
// ended, from below.
func (d *rangeDesk) lowerRise() {
	for n := d.higher - 1; n >= 0; n-- {
		if x := d.node(d.rise[n]); x != nil {
			change64(&x.leftMax, d.most(x.left.Load()))
		}
	}
}

// change stores what is not there yet: a store costs more than a load.
func change(at *atomic.Uint32, v uint32) {
	if at.Load() != v {
		at.Store(v)
	}
}

func change64(at *atomic.Uint64, v uint64) {
	if at.Load() != v {
		at.Store(v)
	}
}

// rebuild makes the tree anew from the records, and how many wait. What is gone
// is freed. Cut short, it is done again: the latch is abandoned then.
func (d *rangeDesk) rebuild() {
	c, s := d.c, d.b.slot
	c.noticeGrowth()
	d.broken, d.depth = false, noWay
	s.records.Store(0)
	crash.At("range.emptied")
	waiting := uint64(0)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.rangeAt(i)
		if r == nil {
			break
		}
		owner, ours := d.inOurTree(r)
		if !ours {
			continue
		}
		kind := kindOfRecord(owner)
		if kind == rangeGone || r.first.Load() > r.last.Load() || r.last.Load() > maxOffset {
			r.owner.CompareAndSwap(owner, 0)
			crash.At("range.swept")
			continue
		}
		if kind.isRangeWait() {
			waiting++
		} else if r.place.Load() >= placeWaiting {
			r.place.Store(placeGranted)
		}
		d.insert(i, r)
		crash.At("range.rebuilt")
	}
	s.state.Store(waiting)
}

// inOurTree tells whether a record is to be in this slot's tree, and its owner
// word. Anybody else's can change meanwhile: one of another tree says its slot
// before it says its kind, and one that serves something else by now, where a
// slot stands in a record of ranges says anything, has another owner word.
func (d *rangeDesk) inOurTree(r *rangeRecord) (owner uint64, ours bool) {
	for {
		owner = r.owner.Load()
		crash.At("range.read")
		if !kindOfRecord(owner).inTree() || r.slot.Load() != d.b.index {
			return owner, false
		}
		if r.owner.Load() == owner {
			return owner, true
		}
	}
}
