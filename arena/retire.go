package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
	"weak"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Taking an rwmutex's name out of its slot, and finding records for cells.
//
// An eviction first makes the owner word miss, then closes each cell, by a
// compare-and-swap that fails if anybody is counted in it. If one fails, the
// cells are opened again, and then the word is put back: nobody can have
// learned of its next generation, for look-ups pass over a slot whose word is
// ahead. Once all are closed the chain is taken apart. A cell that a member
// owns stays that member's; it frees the record when it can (see reading).
// Killed anywhere, the evictor leaves an abandoned latch, and the rebuild does
// one or the other again.

// retireCells closes all cells of an idle slot. It is false, and all are open
// again, if one is in use. Called with the stripe latched and the word ahead.
func (c *core) retireCells(i uint32, s *slot) bool {
	for _, r := range c.chain(i, s) {
		n := r.load()
		if n == n.epoch() || (n == openCell|n.epoch() || variantEvictReaders) && r.swap(n, n.epoch()) {
			crash.At("retire.closed")
			continue
		}
		if kindOfRecord(r.owner.Load()) == recordVacant {
			continue
		}
		c.reviveCells(i, s)
		return false
	}
	return true
}

// isRead tells whether anybody reads, or waits to. Only who comes between this
// look and the closing of the cells has them closed under him for a moment.
func (c *core) isRead(i uint32, s *slot) bool {
	for _, r := range c.chain(i, s) {
		if n := r.load(); !variantEvictReaders && kindOfRecord(r.owner.Load()) == recordReaders && n != n.epoch() && n != openCell|n.epoch() {
			return true
		}
	}
	return false
}

func (c *core) reviveCells(i uint32, s *slot) {
	for _, r := range c.chain(i, s) {
		if kindOfRecord(r.owner.Load()) == recordReaders && r.load()>>62 == 0 {
			r.counts.Add(uint64(openCell))
			crash.At("retire.revived")
		}
	}
}

// restore puts back the word of a slot that cannot be evicted after all.
func (c *core) restore(s *slot, life slotLife) {
	crash.At("retire.restore")
	s.word.CompareAndSwap(uint64(robust.Free(life.generation()+1)), uint64(robust.Free(life.generation())))
	crash.At("retire.restored")
}

// dismantle takes the closed cells out of the chain. Vacant ones are freed.
func (c *core) dismantle(i uint32, s *slot) {
	for at, r := range c.chain(i, s) {
		s.records.Store(r.next.Load())
		crash.At("retire.unlinked")
		if owner := r.owner.Load(); kindOfRecord(owner) == recordVacant && at != 0 {
			r.owner.CompareAndSwap(owner, 0)
		} else {
			c.head.retired.Add(1)
		}
		crash.At("retire.freed")
	}
	s.records.Store(0)
}

// cellPatience is how long a claim waits for the collector to give back the
// records of retired cells, and retireBatch how many names it retires for one.
const (
	cellPatience = 100 * time.Millisecond
	retireBatch  = 256
)

// claimCell claims a record for a cell: a free one anywhere, one of a new
// segment, one that the dead kept, or one of an idle rwmutex that this process
// alone has read. A retired cell's record can only be had after a collection,
// so many are retired at a time; those that other processes have read come back
// after collections there, which is waited for.
func (c *core) claimCell(ctx context.Context) (uint32, error) {
	deadline := futex.Now() + int64(busyPatience)
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		had := c.segments()
		if i := c.claimFreshRecord(); i != 0 {
			return i, nil
		}
		if grown, err := c.grow(ctx, had); grown {
			continue
		} else if err != nil && !errors.Is(err, ErrNoSpace) {
			return 0, err
		}
		c.settleForRoom()
		if i := c.claimFreshRecord(); i != 0 {
			return i, nil
		}
		c.retireIdle()
		if c.awaitCollection(ctx) || ctx.Err() != nil || c.anyRetired() && futex.Now() < deadline {
			continue
		}
		return 0, fmt.Errorf("arena: %w: %s has %d records, all in use, and no room to count this process's readers of one more lock; open it with a larger Options.MaxLocks",
			ErrTableFull, c.path, c.segments()*segmentRecords-1)
	}
}

func (c *core) claimFreshRecord() uint32 {
	i := c.claimRecord(recordReaders)
	if i == 0 {
		i = c.claimAnyRecord(recordReaders)
	}
	if r := c.recordAt(i); r != nil {
		r.slot.Store(0)
		r.counts.Store(uint64(r.load().epoch()))
		r.count.Store(0)
		r.since.Store(0)
	}
	return i
}

// retireIdle evicts idle rwmutexes.
func (c *core) retireIdle() {
	for left, steps := retireBatch, c.slotCount(); left > 0 && steps > 0; steps-- {
		i := c.head.hand.Add(1) % c.slotCount()
		s := c.slotAt(i)
		if s == nil {
			continue
		}
		life := slotLife(s.life.Load())
		if !life.isLive() || life.kind() != KindRWMutex || !c.calm(s, life) {
			continue
		}
		if evicted, _ := c.evict(i, s, life); evicted {
			c.unclaim(i)
			left--
		}
	}
	c.forgetRetired()
}

// awaitCollection collects, and says whether a record became free.
func (c *core) awaitCollection(ctx context.Context) bool {
	runtime.GC()
	for deadline := futex.Now() + int64(cellPatience); futex.Now() < deadline; {
		if c.anyRecord(func(r *record) bool { return r.owner.Load() == 0 }) {
			return true
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return false
		case <-c.gate.closed:
			return false
		}
	}
	return false
}

// anyRetired tells whether some cell is out of use that is still a member's.
func (c *core) anyRetired() bool {
	return c.anyRecord(func(r *record) bool {
		n := r.load()
		return kindOfRecord(r.owner.Load()) == recordReaders && n == n.epoch()
	})
}

func (c *core) anyRecord(f func(*record) bool) bool {
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		if f(c.recordAt(i)) {
			return true
		}
	}
	return false
}

// forgetAtCollections lets go, whenever the collector has run, of what evictors
// have retired meanwhile; the next collection then frees the records. Even a
// process that does nothing collects every other minute.
func (c *core) forgetAtCollections() {
	runtime.AddCleanup(new(*core), func(w weak.Pointer[core]) {
		c := w.Value()
		if c == nil || !c.gate.enter() {
			return
		}
		defer c.gate.leave()
		if now := c.head.retired.Load(); c.readings.forgotten.Swap(now) != now {
			c.forgetRetired()
		}
		c.forgetAtCollections()
	}, weak.Make(c))
}
