package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

// The tree is a treap: ordered by first, and for the same first by the record's
// index; a heap by a hash of the index, which is not stored. So its form
// depends on what is in it alone, and no order of insertions makes it deep.
// Each record knows the largest last below it, by which a walk over what
// overlaps a range leaves out the rest.
//
// It is derived from the records. Nothing in it is believed: an index of what
// is no record of the slot's tree, a path that is too deep, a walk that is too
// long mean that it is broken, and it is made anew.

// rangeDepth bounds a path. Among a million records one of 96 has a chance of
// less than one in 10^15.
const rangeDepth = 96

// rangeSight is where this process sees the records, a segment at a time.
type rangeSight struct {
	holders atomic.Uint32 // the last number given to a holder
	blocks  [maxSegments]atomic.Pointer[rangeBlock]
}

// forget is for when the mapping has changed.
func (s *rangeSight) forget() {
	for i := range s.blocks {
		s.blocks[i].Store(nil)
	}
}

// rangeAt returns record i, or nil if there is no such record.
func (c *core) rangeAt(i uint32) *rangeRecord {
	if i == 0 || i >= maxSegments*segmentRecords {
		return nil
	}
	block := c.ranges.blocks[i/segmentRecords].Load()
	if block == nil {
		if block = c.sightBlock(i); block == nil {
			return nil
		}
	}
	return &block[i%segmentRecords]
}

//go:noinline
func (c *core) sightBlock(i uint32) *rangeBlock {
	if recordIs[rangeRecord](c, i) == nil {
		return nil
	}
	block := at[rangeBlock](c.mapped.Load(), recordOffset(i&^(segmentRecords-1)))
	c.ranges.blocks[i/segmentRecords].Store(block)
	return block
}

// node returns record i if it can be in the tree, else the tree is broken.
func (d *rangeDesk) node(i uint32) *rangeRecord {
	r := d.c.rangeAt(i)
	if r == nil || r.slot.Load() != d.b.index || !kindOfRecord(r.owner.Load()).inTree() {
		d.broken = true
		return nil
	}
	return r
}

// priority mixes the bits of an index so that each has one of its own.
func priority(i uint32) uint32 {
	i ^= i >> 16
	i *= 0x85eb_ca6b
	i ^= i >> 13
	i *= 0xc2b2_ae35
	return i ^ i>>16
}

// rangeWalk goes over what overlaps a range, in order.
type rangeWalk struct {
	first, last uint64
	steps, n    int
	stack       [rangeDepth]uint32
}

func (d *rangeDesk) walk(w *rangeWalk, first, last uint64) *rangeWalk {
	w.first, w.last, w.n, w.steps = first, last, 0, maxSegments*segmentRecords
	d.descend(w, d.b.slot.records.Load())
	return w
}

// descend goes down to the first record of a subtree that may overlap.
func (d *rangeDesk) descend(w *rangeWalk, i uint32) {
	for steps := rangeDepth; i != 0; steps-- {
		r := d.node(i)
		if r == nil || steps == 0 || w.n == rangeDepth {
			d.broken = true
			w.n = 0
			return
		}
		if r.maxLast.Load() < w.first {
			return
		}
		if r.first.Load() <= w.last {
			w.stack[w.n] = i
			w.n++
		}
		i = r.left.Load()
	}
}

// next returns 0 when there is no more, or the tree is broken.
func (d *rangeDesk) next(w *rangeWalk) (uint32, *rangeRecord) {
	for w.n > 0 {
		w.n--
		i := w.stack[w.n]
		r := d.node(i)
		if w.steps--; r == nil || w.steps == 0 {
			d.broken = true
			break
		}
		d.descend(w, r.right.Load())
		if r.last.Load() >= w.first && !d.broken {
			return i, r
		}
	}
	return 0, nil
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

func (d *rangeDesk) insert(i uint32, r *rangeRecord) {
	mine, last := priority(i), r.last.Load()
	at := &d.b.slot.records
	below := at.Load()
	for steps := rangeDepth; below != 0 && priority(below) > mine; steps-- {
		x := d.node(below)
		if x == nil || steps == 0 {
			d.broken = true
			return
		}
		if x.maxLast.Load() < last {
			x.maxLast.Store(last)
		}
		if at = &x.right; isBelow(i, r, below, x) {
			at = &x.left
		}
		below = at.Load()
	}
	// What is below is parted into what comes before and what comes after.
	at.Store(i)
	lower, upper := &r.left, &r.right
	n := 0
	for below != 0 {
		x := d.node(below)
		if x == nil || n == rangeDepth || below == i {
			d.broken = true
			return
		}
		d.path[n] = below
		n++
		if isBelow(i, r, below, x) {
			change(upper, below)
			upper = &x.left
			below = upper.Load()
		} else {
			change(lower, below)
			lower = &x.right
			below = lower.Load()
		}
	}
	change(lower, 0)
	change(upper, 0)
	for n--; n >= 0; n-- {
		d.sum(d.path[n])
	}
	d.sum(i)
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

func (d *rangeDesk) remove(i uint32, r *rangeRecord) {
	at := &d.b.slot.records
	n := 0
	for x := at.Load(); x != i; x = at.Load() {
		above := d.node(x)
		if above == nil || n == rangeDepth {
			d.broken = true
			return
		}
		d.path[n] = x
		n++
		if at = &above.right; isBelow(i, r, x, above) {
			at = &above.left
		}
	}
	left, right := r.left.Load(), r.right.Load()
	above := n
	for left != 0 && right != 0 {
		upper := right
		if priority(left) > priority(right) {
			upper = left
		}
		x := d.node(upper)
		if x == nil || n == rangeDepth {
			d.broken = true
			return
		}
		change(at, upper)
		d.path[n] = upper
		n++
		if upper == left {
			at = &x.right
			left = at.Load()
		} else {
			at = &x.left
			right = at.Load()
		}
	}
	change(at, left|right)
	last := r.last.Load()
	for n--; n >= 0; n-- {
		if n < above {
			// Who has a larger one from elsewhere keeps it, and so do those above.
			if x := d.node(d.path[n]); x == nil || x.maxLast.Load() > last {
				return
			}
		}
		d.sum(d.path[n])
	}
}

// sum makes a record's maxLast anew.
func (d *rangeDesk) sum(i uint32) {
	r := d.node(i)
	if r == nil {
		return
	}
	m := r.last.Load()
	for _, below := range [2]uint32{r.left.Load(), r.right.Load()} {
		if below == 0 {
			continue
		}
		if x := d.node(below); x != nil {
			m = max(m, x.maxLast.Load())
		}
	}
	change64(&r.maxLast, m)
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
	d.broken = false
	s.records.Store(0)
	crash.At("range.emptied")
	waiting := uint64(0)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.rangeAt(i)
		if r == nil {
			break
		}
		// The owner word first: a record that another slot's holder has just
		// begun to use says that slot before it says a kind of a tree.
		owner := r.owner.Load()
		kind := kindOfRecord(owner)
		if !kind.inTree() || r.slot.Load() != d.b.index {
			continue
		}
		if kind == rangeGone || r.first.Load() > r.last.Load() || r.last.Load() > maxOffset {
			r.owner.CompareAndSwap(owner, 0)
			crash.At("range.freed")
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
