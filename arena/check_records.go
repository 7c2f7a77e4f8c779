package arena

import (
	"fmt"

	"lockd/robust"
)

func (c *checker) checkRecords() {
	chained := c.chained
	c.p.records(c.s, func(i uint32, r seenRecord) {
		if c.checkTickets(i, r) || c.checkRange(i, r) || c.checkSession(i, r) || c.checkTally(i, r) {
			return
		}
		where := fmt.Sprintf("record %d", i)
		words := [2]uint64{uint64(r.owner.Generation)<<16 | uint64(r.owner.Index), uint64(r.slot)<<8 | uint64(r.kind)}
		if r.kind == seenVacant {
			if !chained[i] {
				c.report(Unsettled, "cell-loose", where, words, "a readers' cell that belongs to nobody and to no lock")
			}
			return
		}
		if left := c.checkOwner(r.owner, "record-owner", where, words, "owned by"); left != nil {
			if r.kind == seenReaders {
				left.reads += int(r.counts.held())
				left.waits += min(1, int(r.counts.waiting()))
			} else {
				left.waits++
			}
			return
		}
		switch {
		case r.kind == seenReaders && r.counts.isOpen() && !chained[i]:
			words[1] = uint64(r.counts)
			c.report(c.inStripe(c.hash(r.slot)), "cell-lost", where, words, "counts %d readers of slot %d, in whose chain it is not", r.counts.held(), r.slot)
		case r.kind == seenWaiter && r.count != 0 && (r.slot == 0 || r.slot >= c.s.slots() || !c.life(r.slot).isLock()):
			c.report(Damage, "record-slot", where, words, "waits for slot %d, which has no lock", r.slot)
		}
	})
}

// checkCells walks the chain of an rwmutex's readers' cells, which begins at i.
func (c *checker) checkCells(l *LockInfo, i uint32) {
	where := slotPlace(l.Slot)
	c.checkGate(l, where)
	for i != 0 {
		r := c.p.record(i)
		words := [2]uint64{uint64(i), uint64(r.kind)<<32 | uint64(r.slot)}
		if i >= c.s.Segments*segmentRecords || c.chained[i] || r.slot != l.Slot || r.kind != seenReaders && r.kind != seenVacant {
			c.report(c.inStripe(c.hash(l.Slot)), "cell-chain", where, words, "its chain of readers' cells leads to record %d, which is none of it", i)
			break
		}
		c.chained[i] = true
		if held := r.counts.held(); held != 0 && r.kind == seenVacant {
			c.report(Damage, "cell-vacant", fmt.Sprintf("record %d", i), [2]uint64{uint64(r.counts)}, "counts %d readers of nobody", held)
		}
		i = r.next
	}
}

// checkGate: only who holds the word shuts the gate. The dead may have left it
// shut, and a word can change hands between two words of a copy.
func (c *checker) checkGate(l *LockInfo, where string) {
	words := [2]uint64{uint64(l.Gate), uint64(l.Word)}
	if l.Gate != 0 && (l.Word.IsFree() || !l.Gate.SameHolding(l.Word)) {
		c.report(Unsettled, "gate-stray", where, words, "its gate is shut by member %d, who does not hold it; the next who wants it opens the gate", l.Gate.Owner().Index)
	}
	if !l.Word.IsFree() && l.Gate == l.Word&^(robust.Waiters|robust.Abandoned|robust.Starved|robust.Local|robust.Dozing) && l.Readers > 0 {
		words[1] = uint64(l.Readers)
		c.report(Unsettled, "readers-inside", where, words, "%d readers are counted beside a writer, or are about to find out that they may not read", l.Readers)
	}
}
