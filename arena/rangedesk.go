package arena

import (
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// rangeDesk is a held latch of a Ranges, and what its holder is to do
// afterwards. Inside nothing blocks, allocates or wakes anybody.
type rangeDesk struct {
	c      *core
	b      *binding
	broken bool // the tree led to what is none of it

	// What others may get now of what they wait for.
	anyFreed              bool
	freedFirst, freedLast uint64

	rung  rangeBells
	walks [2]rangeWalk // the second is for looks inside of the first

	// The last way down the tree: its steps, and those that it left to the left
	// whose leftMax a record at its end may change.
	path, rise    [rangeDepth]uint32
	depth, higher int

	// The record that was put in last, and how many steps of the path are above
	// it: most are taken out next. Others may have changed the tree since.
	last, above uint32
}

// rangeBells is whom to wake once the latch is free, and what was left undone
// because that were too many.
type rangeBells struct {
	answers     [16]answer
	n           int
	more        bool
	first, last uint64
}

// later notes what is to be looked at again.
func (r *rangeBells) later(first, last uint64) {
	if r.more {
		first, last = min(first, r.first), max(last, r.last)
	}
	r.more, r.first, r.last = true, first, last
}

// rangePatience bounds the wait for the latch of who is not told to wait: its
// holder may be stopped.
const rangePatience = 10 * time.Millisecond

// at begins to use the latch, which is held.
func (d *rangeDesk) at(c *core, b *binding) {
	d.c, d.b, d.broken, d.anyFreed, d.depth = c, b, false, false, noWay
	if robust.Word(b.slot.word.Load()).Has(robust.Abandoned) {
		d.mend()
	}
	crash.At("range.latched")
}

// mend puts right what a dead holder of the latch left half-done.
func (d *rangeDesk) mend() {
	s := d.b.slot
	d.rebuild()
	crash.At("range.mended")
	for {
		w := robust.Word(s.word.Load())
		if !w.SameHolding(d.c.self) || s.word.CompareAndSwap(uint64(w), uint64(w&^robust.Abandoned)) {
			break
		}
	}
	crash.At("range.whole")
	d.pass(0, maxOffset, true)
}

// leave grants what was freed, frees the latch and wakes those who were answered.
func (d *rangeDesk) leave() {
	if d.anyFreed {
		d.pass(d.freedFirst, d.freedLast, false)
	}
	if d.rung.n == 0 && !d.rung.more {
		d.unlatch()
		return
	}
	c, b, rung := d.c, d.b, d.rung // another may use the desk at once
	d.rung.n, d.rung.more = 0, false
	d.unlatch()
	c.ringEach(rung.answers[:rung.n])
	if rung.more {
		c.serveRanges(b, nil, rung.first, rung.last)
	}
}

func (d *rangeDesk) unlatch() {
	b := d.b
	crash.At("range.unlatch")
	raceRelease(d.c, b)
	if !b.slot.word.CompareAndSwap(b.self, b.free) {
		d.c.release(b, 0)
	}
	crash.At("range.unlatched")
}

// unlessWhole is deferred by who holds the latch: a panic leaves it to the next
// holder, who rebuilds the tree.
func (d *rangeDesk) unlessWhole(whole *bool, b *binding) {
	if !*whole {
		d.c.release(b, robust.Abandoned)
	}
}

// latchRanges takes the latch for who cannot wait for long.
func (c *core) latchRanges(b *binding) bool {
	if c.tryQueue(b) {
		return true
	}
	for looks, deadline := 0, futex.Now()+int64(rangePatience); futex.Now() < deadline && !c.stale(b); looks++ {
		if looks < latchSpins {
			futex.Pause(spinPauses())
		} else {
			time.Sleep(50 * time.Microsecond)
		}
		if c.tryQueue(b) {
			return true
		}
	}
	return false
}

// serveRanges takes what is gone out of the tree, and grants what can be
// granted of a range. With nobody to do it now, the tickers of those who wait
// do it.
func (c *core) serveRanges(b *binding, gone []uint32, first, last uint64) {
	d := &rangeDesk{c: c, b: b}
	if c.stale(b) || !c.latchRanges(b) {
		return
	}
	whole := false
	defer d.unlessWhole(&whole, b)
	d.at(c, b)
	for _, i := range gone {
		d.drop(i)
	}
	d.pass(first, last, true)
	whole = true
	d.leave()
}

// rangesBinding is for who has no handle.
func (c *core) rangesBinding(index uint32) *binding {
	s := c.slotAt(index)
	if s == nil {
		return nil
	}
	life := slotLife(s.life.Load())
	if !life.isLive() || life.kind() != KindRanges {
		return nil
	}
	b := c.bindingOf(place{index, life.generation(), life.kind(), s})
	return &b
}

// mendSeizedRanges is for a settler who has seized the latch of a dead.
func (c *core) mendSeizedRanges(index uint32, s *slot) {
	b := c.rangesBinding(index)
	if b == nil {
		c.letGo(index, s)
		return
	}
	d := &rangeDesk{}
	whole := false
	d.c, d.b = c, b
	defer d.unlessWhole(&whole, b)
	d.at(c, b)
	whole = true
	d.leave()
}
