package arena

import (
	"iter"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/internal/words"
	"lockd/robust"
)

// The readers of an rwmutex. Each member that has ever read has one cell on
// the slot's chain, a record, whose counts say how many of its goroutines read
// and how many wait. A count that is one member's own dies with the member.
//
// Against writers two words are checked both ways: a reader adds itself to its
// cell and then looks at the gate, a writer shuts the gate and then looks at
// the cells. All these are sequentially consistent, so one of the two sees the
// other; a reader that finds the gate shut takes its addition back.
//
// The chain only grows while the name is in its slot: under the stripe's
// latch, at its head. Cells of members that are gone become vacant, and serve
// the next member that reads. So who holds the owner word, which keeps the
// name from being evicted, may walk the chain without a latch.
//
// Who may die where:
//
//	claimed, not in the chain      a settler finds that out and frees the record
//	added, before looking          a writer that waits proves the death and zeroes the counts
//	taken back, before telling     the writer's ticker
//	granted, before waking         the ticker of those who wait
//	waiting                        granted like the living, then zeroed
//	vacant, taken out by eviction  a settler: its generation is not the slot's

// counts is the word of a cell: see words.Counts. The low half is the futex
// word of those who wait, for it changes when they are let in; the high half
// that of a writer, for it changes with the readers.
type counts words.Counts

const (
	openCell  = counts(words.OpenCell)
	oneReader = counts(words.OneReader)
	oneWaits  = counts(words.OneWaits)

	peopleMask = words.MaxPeople
)

func (n counts) isOpen() bool              { return words.Counts(n).IsOpen() }
func (n counts) low() uint32               { return uint32(n) }
func (n counts) high() uint32              { return uint32(n >> 32) }
func (n counts) isEmpty() bool             { return words.Counts(n).IsEmpty() }
func (n counts) isFull() bool              { return words.Counts(n).IsFull() }
func (n counts) isReadFrom() bool          { return words.Counts(n).IsReadFrom() }
func (n counts) held() uint32              { return words.Counts(n).Held() }
func (n counts) waiting() uint32           { return words.Counts(n).Waiting() }
func (n counts) epoch() counts             { return counts(words.Counts(n).Epoch()) }
func (n counts) opened() counts            { return counts(words.Counts(n).Opened()) }
func (n counts) granted() counts           { return counts(words.Counts(n).Granted()) }
func (n counts) regretted(k uint32) counts { return counts(words.Counts(n).Regretted(k)) }

func (r *record) load() counts { return counts(r.counts.Load()) }
func (r *record) swap(old, new counts) bool {
	return r.counts.CompareAndSwap(uint64(old), uint64(new))
}

func kindOfRecord(owner uint64) recordKind { return recordKind(owner) }

// vacantCell is the owner of a cell in the chain of a slot in this generation
// that belongs to nobody.
func vacantCell(generation uint32) uint64 {
	return uint64(generation)<<32 | uint64(recordVacant)
}

// chain yields the cells of slot i. Who calls keeps the name in the slot, or
// bears with a walk that ends early.
func (c *core) chain(i uint32, s *slot) iter.Seq2[uint32, *record] {
	return func(yield func(uint32, *record) bool) {
		at := s.records.Load()
		for steps := c.segments() * segmentRecords; at != 0 && steps > 0; steps-- {
			r := c.recordAt(at)
			if r == nil && c.noticeGrowth() {
				r = c.recordAt(at)
			}
			if r == nil || r.slot.Load() != i {
				return
			}
			if kind := kindOfRecord(r.owner.Load()); kind != recordReaders && kind != recordVacant {
				return
			}
			next := r.next.Load()
			if !yield(at, r) {
				return
			}
			at = next
		}
	}
}

// isChained tells whether record i is in the chain of the slot that it names.
func (c *core) isChained(i uint32, r *record) bool {
	index := r.slot.Load()
	s := c.slotAt(index)
	if s == nil {
		return false
	}
	for at := range c.chain(index, s) {
		if at == i {
			return true
		}
	}
	return false
}

// isLoose tells a vacant cell whose slot has another name by now, or is about to.
func (c *core) isLoose(r *record, owner uint64) bool {
	s := c.slotAt(r.slot.Load())
	if s == nil {
		return true
	}
	life := slotLife(s.life.Load())
	return !life.isLive() || life.kind() != KindRWMutex || life.generation() != uint32(owner>>32) ||
		astray(robust.Word(s.word.Load()), life)
}

// grantAll lets in all who wait. The caller holds the owner word and has
// opened the gate, so whoever comes to wait after it has passed his cell finds
// the gate open.
func (c *core) grantAll(i uint32, s *slot) {
	for _, r := range c.chain(i, s) {
		for {
			n := r.load()
			if n.waiting() == 0 {
				break
			}
			if r.swap(n, n.granted()) {
				crash.At("grant.counted")
				futex.Wake(futex.Low(&r.counts), futex.All)
				crash.At("grant.woken")
				break
			}
		}
	}
}

// leave takes one reader out of a cell.
func (c *core) leave(s *slot, r *record) counts {
	n := counts(r.counts.Add(^uint64(oneReader - 1)))
	crash.At("read.left")
	c.tellWriter(s, r, n)
	return n
}

// tellWriter wakes the writer that waits for the last reader of this cell. The
// gate says that it waits before it looks at the cell for the last time.
//
// It stores nothing: once the reader is out, the name may be evicted and the
// record serve something else, and a wake too many does no harm there.
func (c *core) tellWriter(s *slot, r *record, n counts) {
	if n.isEmpty() && robust.Word(s.state.Load()).Has(robust.Waiters) {
		futex.Wake(futex.High(&r.counts), futex.All)
		crash.At("read.told")
	}
}

// bury subtracts the readers of a cell's owner that is gone, and those it let
// wait. Doing it again does no harm.
func (c *core) bury(s *slot, r *record, owner uint64) {
	for {
		n := r.load()
		if r.owner.Load() != owner {
			return
		}
		if n == n.epoch() || r.swap(n, n.epoch()) {
			break
		}
	}
	crash.At("bury.closed")
	if s != nil {
		c.tellWriter(s, r, 0)
	}
}

// settleRecord gives back what a dead member's record stands for.
func (c *core) settleRecord(i uint32, r *record, d dead) {
	owner := r.owner.Load()
	if owner == 0 {
		return
	}
	if kindOfRecord(owner) == recordVacant {
		c.freeLoose(i, r, owner)
		return
	}
	if _, gone := d.has(ownerOfRecord(owner)); !gone {
		return
	}
	if kindOfRecord(owner) >= recordTickets {
		d.settleRequest(r)
		return
	}
	left := uint64(0)
	if kindOfRecord(owner) == recordReaders && variantSharedReaderCount {
		return
	}
	if kindOfRecord(owner) == recordReaders {
		c.bury(c.slotAt(r.slot.Load()), r, owner)
		if c.isChained(i, r) {
			left = vacantCell(r.generation.Load())
			crash.At("settle.cell")
		}
	}
	if r.owner.CompareAndSwap(owner, left) && left != 0 {
		c.freeLoose(i, r, left) // an evictor may have come by and found it owned
	}
	crash.At("settle.record")
}

// freeLoose frees a vacant cell that is in no chain.
func (c *core) freeLoose(i uint32, r *record, vacant uint64) {
	if c.isLoose(r, vacant) && !c.isChained(i, r) {
		r.owner.CompareAndSwap(vacant, 0)
		crash.At("settle.loosened")
	}
}

// giveBackCells takes this process's readers out of its cells. Nobody of it
// can add to them any more, if its mapping was retired; else it keeps them.
func (c *core) giveBackCells(read *list, retired bool) {
	mine := recordOwner(c.member, recordReaders)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		if r.owner.Load() != mine {
			continue
		}
		s := c.slotAt(r.slot.Load())
		if s != nil && r.load().held() > 0 {
			read.add(c.slotName(s))
		}
		c.bury(s, r, mine)
		if !retired {
			continue
		}
		left := uint64(0)
		if c.isChained(i, r) {
			left = vacantCell(r.generation.Load())
		}
		r.owner.CompareAndSwap(mine, left)
		crash.At("give.cell")
	}
}
