package arena

import (
	"context"
	"errors"
	"fmt"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// idleAge is how long, in seconds, a name must not have been looked up before
// its slot is taken while the table could still grow. Taking a slot from a
// name in use costs its next lock a look-up; growing costs memory for good.
const idleAge = 60

// clockSteps is how many slots the clock's hand passes before the table grows.
const clockSteps = 32

// claimSlot claims an empty slot for this member: one never used, or one whose
// name has been idle for long, or one of a new segment, or one of any idle
// name, or one that a dead member kept from being idle. Then the table is full.
func (c *core) claimSlot(ctx context.Context) (uint32, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if i := c.claimUnused(); i != 0 {
			return i, nil
		}
		if i := c.claimIdle(clockSteps, idleAge); i != 0 {
			return i, nil
		}
		if grown, err := c.grow(ctx); grown {
			continue
		} else if err != nil && !errors.Is(err, ErrNoSpace) {
			return 0, err
		}
		if i := c.claimIdle(c.slotCount(), 0); i != 0 {
			return i, nil
		}
		c.settleDead()
		if i := c.claimIdle(c.slotCount(), 0); i != 0 {
			return i, nil
		}
		return 0, c.tableFull()
	}
}

func (c *core) tableFull() error {
	held, abandoned := 0, 0
	for i := uint32(1); i < c.slotCount(); i++ {
		switch w := robust.Word(c.slotAt(i).word.Load()); {
		case !w.IsFree():
			held++
		case w.Has(robust.Abandoned):
			abandoned++
		}
	}
	hint := "open it with a larger Options.MaxLocks"
	if limit := c.head.limit.Load(); c.segments() < limit {
		hint = "it could grow, but there is no space left for the file"
	} else if limit >= maxSegments {
		hint = "spread the names over several arenas"
	}
	return fmt.Errorf("arena: %w: %s has %d slots, %d held and %d abandoned, the rest waited for; %s",
		ErrTableFull, c.path, c.slotCount()-1, held, abandoned, hint)
}

// claimUnused hands out slots in order until each was used once.
func (c *core) claimUnused() uint32 {
	for {
		next := c.head.bump.Load()
		if next == 0 || next >= c.slotCount() {
			if !c.noticeGrowth() {
				return 0
			}
			continue
		}
		if !c.head.bump.CompareAndSwap(next, next+1) {
			continue
		}
		if c.claimEmpty(next) {
			return next
		}
	}
}

func (c *core) claimEmpty(i uint32) bool {
	s := c.slotAt(i)
	if s == nil || robust.Word(s.word.Load()).Generation() >= robust.MaxGeneration-1 {
		return false
	}
	return s.life.CompareAndSwap(lifeEmpty, uint64(claimedLife(c.member)))
}

// unclaim gives back a claimed slot; of none, does nothing.
func (c *core) unclaim(i uint32) {
	if s := c.slotAt(i); s != nil {
		s.life.CompareAndSwap(uint64(claimedLife(c.member)), lifeEmpty)
	}
}

// claimIdle lets the clock's hand pass so many slots and claims the first that
// is empty or whose name has been idle for so many seconds.
func (c *core) claimIdle(steps uint32, age uint32) uint32 {
	for range steps {
		i := c.head.hand.Add(1) % c.slotCount()
		s := c.slotAt(i)
		if s == nil {
			continue
		}
		switch life := slotLife(s.life.Load()); life.phase() {
		case lifeEmpty:
			if c.claimEmpty(i) {
				return i
			}
		case lifeLive:
			if c.uptime()-s.touched.Load() >= age && c.evict(i, s, life) {
				return i
			}
		}
	}
	return 0
}

// evict claims the slot of an idle name: free, not abandoned, nobody sleeping
// on it, no records, no state. The word goes first, to the next generation,
// after which no handle can take it; killed later, the evictor leaves an
// abandoned latch, and the rebuild finishes.
func (c *core) evict(i uint32, s *slot, life slotLife) bool {
	if life.kind() == kindExtension || !c.calm(s, life) {
		return false
	}
	hash := s.hash.Load()
	stripe := c.stripeAt(hash)
	l, ok := c.tryLatch(&stripe.latch, int(hash%stripeCount))
	if !ok {
		return false
	}
	defer l.release()
	c.freshen(&l, stripe, hash%stripeCount)
	if slotLife(s.life.Load()) != life || s.hash.Load() != hash || s.records.Load() != 0 || s.state.Load() != 0 {
		return false
	}
	if life.generation() >= robust.MaxGeneration-2 {
		return false // the slot is used up and keeps its last name
	}
	free := robust.Free(life.generation())
	if !s.word.CompareAndSwap(uint64(free), uint64(robust.Free(life.generation()+1))) {
		return false
	}
	crash.At("evict.word")
	c.unlink(i, hash)
	crash.At("evict.unlinked")
	c.emptied(i, s, uint64(claimedLife(c.member)))
	futex.Wake(futex.Low(&s.word), 1<<30)
	return true
}

// calm tells whether a slot's word is that of an idle one. A word that still
// says W though nobody sleeps on it is put right.
func (c *core) calm(s *slot, life slotLife) bool {
	w := robust.Word(s.word.Load())
	if w == robust.Free(life.generation())|robust.Waiters || w == robust.Free(life.generation())|robust.Waiters|robust.Starved {
		if futex.Wake(futex.Low(&s.word), 1) == 0 {
			s.word.CompareAndSwap(uint64(w), uint64(w.Calmed()))
			futex.Wake(futex.Low(&s.word), 1)
		}
		w = robust.Word(s.word.Load())
	}
	return w == robust.Free(life.generation())
}

// emptied ends the life of an unlinked slot whose handles are stale. The
// arena's highest fence is raised first, so that the name, should it come
// back, goes on from there. Done again after it was cut short, it does no harm.
func (c *core) emptied(i uint32, s *slot, life uint64) {
	raise(&c.head.fenceHigh, s.fence.Load())
	crash.At("evict.fence")
	c.emptyExtension(i, s)
	crash.At("evict.extension")
	s.life.Store(life)
}

// emptyExtension frees the slot that holds the end of slot i's name. An
// extension says whose it is: what s names may serve another slot by now.
func (c *core) emptyExtension(i uint32, s *slot) {
	if x := c.slotAt(s.extension.Load()); x != nil {
		x.life.CompareAndSwap(uint64(liveLife(i, 0, kindExtension)), lifeEmpty)
	}
}
