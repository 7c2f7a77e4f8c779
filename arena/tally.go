package arena

import (
	"context"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Counts and hold times, for those who opened with Options.TrackHold.
//
// A lock's tally is a record that belongs to its slot, as tickets do, and is
// found through the slot's field last. It comes when a process that tracks
// first holds the lock, and goes with the name. Who holds the lock, and
// tracks, writes it: after it was taken, and before it is given back. While it
// is held the slot is not evicted, nor is one whose holder was robbed and has
// not noticed; so nothing is written to a record that serves something else.
// Whatever stands there is only shown. Killed in between, a holder leaves a
// sum without his last holding, and a moment since when he held the lock,
// which is believed only while the owner word names him.
//
// Who does not track pays nothing: a binding of one who does has a word of its
// own for the fast paths, where they miss.

// recordTally is a record that belongs to the slot that it names.
const recordTally recordKind = 5

// tallyPlaces: in the rest of each segment there are no tallies, so that some
// records are left to those who need them.
const tallyPlaces = segmentRecords * 3 / 4

// tallyRetry is for how long a process goes without a tally that found no
// record for it.
const tallyRetry = int64(time.Second)

// tracking is what a binding has in a process that tracks.
type tracking struct {
	free, self uint64                      // as a binding's
	tally      atomic.Pointer[tallyRecord] // once it was seen to be the slot's, by a holder
	refused    atomic.Int64                // when there was no record, CLOCK_MONOTONIC ns
	began      atomic.Int64                // when the holding that lasts began, CLOCK_MONOTONIC ns; 0: none, or it is not known
}

// track gives a binding to be tracked a word on which the fast paths miss.
func (c *core) track(b *binding, kind Kind) {
	if !c.options.TrackHold || kind.latched() {
		return
	}
	b.tracking = &tracking{free: b.free, self: b.self}
	b.word, b.free, b.self = new(uint64), unbound.free, unbound.self
}

// takeTracked is the fast path of a tracked lock that is free.
func (h *handle) takeTracked() bool {
	b := h.binding()
	t := b.tracking
	if t == nil || !b.slot.word.CompareAndSwap(t.free, t.self) {
		return false
	}
	c := h.arena.core
	raceAcquire(c, b)
	c.tallyTaken(b, 0)
	return true
}

// giveTracked is the fast path of a release of a tracked lock.
func (h *handle) giveTracked() bool {
	b := h.binding()
	t := b.tracking
	if t == nil || b.slot.word.Load() != t.self {
		return false
	}
	c := h.arena.core
	c.tallyGiven(b)
	raceRelease(c, b)
	return b.slot.word.CompareAndSwap(t.self, t.free)
}

// tallyTaken notes that this process has just taken the lock; after so long a
// wait, if it had to wait, else 0.
func (c *core) tallyTaken(b *binding, waited int64) {
	t := b.tracking
	if t == nil {
		return
	}
	now := futex.Now()
	t.began.Store(now)
	r := t.tally.Load()
	if r == nil {
		if r = c.attachTally(b, now); r == nil {
			return
		}
	}
	if me := tallyHolder(c.member); r.holder.Load() != me {
		r.since.Store(0)
		r.holder.Store(me)
	}
	r.since.Store(uint64(c.wall.at(now)))
	crash.At("tally.since")
	r.acquisitions.Add(1)
	if waited > 0 {
		r.contended.Add(1)
		r.waited.Add(uint64(waited))
	}
}

// tallyGiven notes that this process, which holds the lock, is about to give
// it back.
func (c *core) tallyGiven(b *binding) {
	t := b.tracking
	if t == nil {
		return
	}
	began, r := t.began.Swap(0), t.tally.Load()
	if began == 0 || r == nil {
		return
	}
	held := uint64(max(0, futex.Now()-began))
	r.since.Store(0)
	crash.At("tally.ended")
	r.held.Add(held)
	if held > r.longest.Load() {
		r.longest.Store(held)
	}
}

// tallyAt returns record i if it is the tally of this slot.
func (c *core) tallyAt(i, slot uint32) *tallyRecord {
	r := recordIs[tallyRecord](c, i)
	if r == nil || r.owner.Load() != uint64(recordTally) || r.slot.Load() != slot {
		return nil
	}
	return r
}

// attachTally finds the tally of a slot that this process holds, or makes one.
// It is linked before it is the slot's: killed in between, the holder leaves a
// claimed record, which a settler frees, and a link that is not believed.
func (c *core) attachTally(b *binding, now int64) *tallyRecord {
	t, s := b.tracking, b.slot
	if last := t.refused.Load(); last != 0 && now-last < tallyRetry {
		return nil
	}
	link := s.last.Load()
	if r := c.tallyAt(link, b.index); r != nil {
		t.tally.Store(r)
		return r
	}
	i := c.claimTally()
	if i == 0 {
		t.refused.Store(now)
		c.growForTallies()
		return nil
	}
	crash.At("tally.claimed")
	r := recordIs[tallyRecord](c, i)
	r.clear(b.index)
	if s.last.CompareAndSwap(link, i) {
		crash.At("tally.linked")
		if r.owner.CompareAndSwap(recordOwner(c.member, recordClaimed), uint64(recordTally)) {
			crash.At("tally.made")
			t.tally.Store(r)
			return r
		}
	}
	c.unclaimRecords([]uint32{i})
	return nil
}

// tallyHolder is a member as a tally names it.
func tallyHolder(m robust.Member) uint32 { return uint32(m.Index)<<16 | uint32(m.Generation) }

func (r *tallyRecord) clear(slot uint32) {
	r.slot.Store(slot)
	r.holder.Store(0)
	r.since.Store(0)
	r.acquisitions.Store(0)
	r.contended.Store(0)
	r.held.Store(0)
	r.longest.Store(0)
	r.waited.Store(0)
}

// claimTally claims a record for a tally, if one is found soon: the caller
// holds somebody's lock.
func (c *core) claimTally() uint32 {
	records := c.segments() * segmentRecords
	mine := recordOwner(c.member, recordClaimed)
	for range recordSearch {
		i := c.head.recordHand.Add(1) % records
		if i%segmentRecords >= tallyPlaces {
			continue
		}
		if r := c.recordAt(i); r != nil && r.owner.Load() == 0 && r.owner.CompareAndSwap(0, mine) {
			return i
		}
	}
	return 0
}

// growForTallies makes room for those who come later.
func (c *core) growForTallies() {
	if c.segments() >= min(c.head.limit.Load(), maxSegments) || !c.growing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer c.growing.Store(false)
		if !c.gate.enter() {
			return
		}
		defer c.gate.leave()
		if _, err := c.grow(context.Background(), c.segments()); err != nil {
			c.log.Debug("no room for counts of locks", "error", err)
		}
	}()
}

// dropTally frees the tally of a slot whose name goes. Nobody can take the
// lock any more.
func (c *core) dropTally(i uint32, s *slot) {
	if r := c.tallyAt(s.last.Load(), i); r != nil {
		r.owner.CompareAndSwap(uint64(recordTally), 0)
		crash.At("evict.tally")
	}
	s.last.Store(0)
}

// wallClock tells the time of day of a moment of CLOCK_MONOTONIC without
// reading a second clock each time.
type wallClock struct {
	offset, checked atomic.Int64
}

// wallEvery is how often the two clocks are compared: they run apart by half a
// thousandth at most, unless somebody sets one.
const wallEvery = int64(time.Second)

func (w *wallClock) at(now int64) int64 {
	if last := w.checked.Load(); last == 0 || now-last > wallEvery {
		w.offset.Store(time.Now().UnixNano() - futex.Now())
		w.checked.Store(now)
	}
	return now + w.offset.Load()
}
