package arena

import (
	"math/bits"
	"sync/atomic"
)

// Reading the tree: whether a range is clear, and what overlaps it.

// rangeSight is where this process sees the records, a segment at a time.
type rangeSight struct {
	numbers rangeNumbers
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
	if i < maxSegments*segmentRecords {
		if block := d.c.ranges.blocks[i/segmentRecords].Load(); block != nil {
			r := &block[i%segmentRecords]
			if r.slot.Load() == d.b.index && kindOfRecord(r.owner.Load()).inTree() && i != 0 {
				return r
			}
		}
	}
	return d.unseen(i)
}

// unseen is node for a record in a segment that was not used before.
//
//go:noinline
func (d *rangeDesk) unseen(i uint32) *rangeRecord {
	r := d.c.rangeAt(i)
	if r == nil || r.slot.Load() != d.b.index || !kindOfRecord(r.owner.Load()).inTree() {
		d.broken = true
		return nil
	}
	return r
}

// isClear tells, in one way down, whether nothing overlaps a range. If so, a
// record that lies inside of it can be inserted where the way ended. What it
// meets that is broken is for the walk to say.
//
// Which way it goes at each step is as good as random. So that is no branch,
// for the processor would guess wrong at every other step.
func (d *rangeDesk) isClear(first, last uint64) bool {
	d.depth, d.higher, d.last = 0, 0, 0
	blocks, slot := &d.c.ranges.blocks, d.b.index
	depth, higher := 0, 0
	for i := d.b.slot.records.Load(); i != 0; depth++ {
		if i >= maxSegments*segmentRecords || depth == rangeDepth {
			return d.lost()
		}
		block := blocks[i/segmentRecords].Load()
		if block == nil {
			if block = d.c.sightBlock(i); block == nil {
				return d.lost()
			}
		}
		r := &block[i%segmentRecords]
		if r.slot.Load() != slot || !kindOfRecord(r.owner.Load()).inTree() {
			return d.lost()
		}
		d.path[depth] = i
		leftMax, left, right := r.leftMax.Load(), r.left.Load(), r.right.Load()
		_, before := bits.Sub64(last, r.first.Load(), 0)
		toLeft := -before // all bits, or none
		if (max(r.last.Load(), leftMax)+1)&^toLeft > first {
			return d.lost()
		}
		if leftMax|^toLeft < last {
			d.rise[higher] = i
			higher++
		}
		i = right ^ (left^right)&uint32(toLeft)
	}
	d.depth, d.higher = depth, higher
	return true
}

// lost forgets the way that isClear went.
func (d *rangeDesk) lost() bool {
	d.depth = noWay
	return false
}

const noWay = -1

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
		if r.first.Load() <= w.last {
			w.stack[w.n] = i
			w.n++
		}
		if r.leftMax.Load() < w.first {
			return
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
