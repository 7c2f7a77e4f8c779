package arena

import (
	"fmt"

	"lockd/internal/crash"
	"lockd/robust"
)

// meetRangeHolders sees to it that the deaths of those are noticed that a
// request waits for.
func (c *core) meetRangeHolders(w *rangeWait) {
	var gone []robust.Member
	for _, m := range w.met[:w.n] {
		if m == c.member || c.watch(m) {
			continue
		}
		if _, verdict := c.judge(m); verdict == robust.Gone {
			gone = append(gone, m)
		}
	}
	c.buryRanges(w.binding, gone)
}

// reapRanges takes away what those of the members have who are gone, and says
// whether any is.
func (c *core) reapRanges(b *binding, members []robust.Member) bool {
	var gone []robust.Member
	for _, m := range members {
		if _, verdict := c.judge(m); verdict == robust.Gone {
			gone = append(gone, m)
		}
	}
	return c.buryRanges(b, gone)
}

// buryRanges takes away all that the dead hold or wait for in a slot. Each word
// is swapped as it was judged: of many who do this, one does.
func (c *core) buryRanges(b *binding, gone []robust.Member) bool {
	if len(gone) == 0 {
		return false
	}
	dead := make(map[robust.Member]bool, len(gone))
	for _, m := range gone {
		dead[m] = true
	}
	c.noticeGrowth()
	var records []uint32
	first, last := uint64(maxOffset), uint64(0)
	c.eachRange(func(i uint32, r *rangeRecord, owner uint64) {
		kind := kindOfRecord(owner)
		if !dead[ownerOfRecord(owner)] || r.slot.Load() != b.index || !kind.isRangeWait() && !kind.isRangeHeld() {
			return
		}
		a, z := r.first.Load(), r.last.Load()
		for !r.owner.CompareAndSwap(owner, uint64(rangeGone)) {
			// It was granted, or somebody else is quicker.
			if owner = r.owner.Load(); !dead[ownerOfRecord(owner)] || !kindOfRecord(owner).isRangeHeld() {
				return
			}
		}
		crash.At("range.reaped")
		records = append(records, i)
		first, last = min(first, a), max(last, z)
	})
	c.settling.kick()
	if len(records) > 0 {
		c.serveRanges(b, records, first, last)
	}
	return true
}

// eachRange calls f with every record that may be of ranges.
func (c *core) eachRange(f func(i uint32, r *rangeRecord, owner uint64)) {
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.rangeAt(i)
		if r == nil {
			return
		}
		if owner := r.owner.Load(); kindOfRecord(owner) >= rangeClaimed && kindOfRecord(owner) <= rangeGone {
			f(i, r, owner)
		}
	}
}

// rangeHolder names a member that holds ranges, another than this one if there
// is one.
func (c *core) rangeHolder(b *binding) (pid int, label string) {
	var found robust.Member
	c.eachRange(func(_ uint32, r *rangeRecord, owner uint64) {
		if kindOfRecord(owner).isRangeHeld() && r.slot.Load() == b.index && (found == robust.Member{} || found == c.member) {
			found = ownerOfRecord(owner)
		}
	})
	if found == (robust.Member{}) {
		return 0, ""
	}
	return c.nameOf(found, 0)
}

// tendRanges does for each Ranges that this process waits for what a death may
// have left undone. The ticker calls it, and who learns of a death.
func (c *core) tendRanges() {
	c.porter.mu.Lock()
	var waits []*rangeWait
	bindings := make(map[uint32]*binding)
	for _, w := range c.porter.waits {
		if w.ranges != nil {
			waits = append(waits, w.ranges)
			bindings[w.binding.index] = w.binding
		}
	}
	c.porter.mu.Unlock()
	if len(waits) == 0 {
		return
	}
	// Whoever has anything there may be in the way of somebody.
	members := make(map[uint32]map[robust.Member]bool, len(bindings))
	c.noticeGrowth()
	c.eachRange(func(_ uint32, r *rangeRecord, owner uint64) {
		index := r.slot.Load()
		if m := ownerOfRecord(owner); bindings[index] != nil && m != c.member && m != (robust.Member{}) {
			if members[index] == nil {
				members[index] = make(map[robust.Member]bool)
			}
			members[index][m] = true
		}
	})
	judged := make(map[robust.Member]bool)
	for index, b := range bindings {
		var gone []robust.Member
		for m := range members[index] {
			dead, known := judged[m]
			if !known {
				_, verdict := c.judge(m)
				dead = verdict == robust.Gone
				judged[m] = dead
			}
			if dead {
				gone = append(gone, m)
			}
		}
		// The dead may have had nothing but records at hand, or have been buried
		// by one who died before he served.
		c.buryRanges(b, gone)
		c.serveRanges(b, nil, 0, maxOffset)
	}
	c.porter.signalAnswered()
}

// settleRanges takes what is gone out of the trees.
func (c *core) settleRanges() {
	gone := make(map[uint32][]uint32)
	c.eachRange(func(i uint32, r *rangeRecord, owner uint64) {
		if kindOfRecord(owner) == rangeGone {
			gone[r.slot.Load()] = append(gone[r.slot.Load()], i)
		}
	})
	crash.At("range.settle")
	for index, records := range gone {
		if b := c.rangesBinding(index); b != nil {
			c.serveRanges(b, records, 0, maxOffset)
		}
	}
}

// settleForRoom is for who finds no room: also what is gone, and nobody could
// take out when it went, makes some.
func (c *core) settleForRoom() {
	c.settleDead()
	c.settleRanges()
}

// giveBackRanges gives back, when the process leaves, all that it holds, and
// says how many of what. Nobody of this process can take any more.
func (c *core) giveBackRanges(given *list) {
	held := make(map[uint32]int)
	c.eachRange(func(_ uint32, r *rangeRecord, owner uint64) {
		for ownerOfRecord(owner) == c.member && owner != 0 {
			if r.owner.CompareAndSwap(owner, ownerAfterDeath(owner)) {
				crash.At("give.range")
				if kindOfRecord(owner).isRangeHeld() {
					held[r.slot.Load()]++
				}
				return
			}
			owner = r.owner.Load() // granted meanwhile
		}
	})
	c.settleRanges()
	for index, n := range held {
		if s := c.slotAt(index); s != nil {
			given.addSome(n, fmt.Sprintf("%d ranges of %q", n, c.slotName(s)))
		}
	}
}
