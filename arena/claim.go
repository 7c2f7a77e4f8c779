package arena

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// idleAge is how long, in seconds, a name must have been in the table before
// its slot is taken while the table could still grow. Taking a slot from a
// name in use costs its next lock a look-up; growing costs memory for good.
const idleAge = 60

// clockSteps is how many slots the clock's hand passes before the table grows.
const clockSteps = 32

// fullPasses is how often the whole table is looked through before it is
// called full: an idle slot may move from before the hand to behind it while
// one looks.
const fullPasses = 4

// busyPatience bounds how long a table counts as busy rather than full.
const busyPatience = 5 * time.Second

// claimSlots claims n empty slots for this member, one or two. While others
// have claims under way, or there are idle slots whose stripes are busy, the
// table is not full: then it looks again. It does not wait with one slot in
// hand, for two who did so could wait for each other.
func (c *core) claimSlots(ctx context.Context, n int) (claimed [2]uint32, err error) {
	deadline := int64(0)
	for pause := 10 * time.Microsecond; ; pause = min(2*pause, 50*time.Millisecond) {
		busy := false
		for k := 0; k < n && !busy && err == nil; k++ {
			claimed[k], busy, err = c.tryClaim(ctx, claimed[0])
		}
		if err == nil && !busy {
			return claimed, nil
		}
		c.unclaim(claimed[0])
		claimed = [2]uint32{}
		if err != nil {
			return claimed, err
		}
		switch now := futex.Now(); {
		case deadline == 0:
			deadline = now + int64(busyPatience)
		case now > deadline:
			return claimed, c.tableFull()
		}
		select {
		case <-time.After(pause):
		case <-c.gate.closed:
			return claimed, ErrClosed
		case <-ctx.Done():
			return claimed, ctx.Err()
		}
	}
}

// tryClaim claims a slot never used, or one whose name has been idle for long,
// or one of a new segment, or one of any idle name, or one that a dead member
// kept from being idle. Else the table is busy, or full but for the claim that
// the caller has in hand.
func (c *core) tryClaim(ctx context.Context, inHand uint32) (claimed uint32, busy bool, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, false, err
		}
		had := c.segments()
		if i := c.claimUnused(); i != 0 {
			return i, false, nil
		}
		if had < min(c.head.limit.Load(), maxSegments) {
			if i, _ := c.claimIdle(clockSteps, idleAge, inHand); i != 0 {
				return i, false, nil
			}
		}
		grown, err := c.grow(ctx, had)
		if grown {
			continue
		}
		// Who grows may be stopped; there may be idle slots all the same.
		busy = errors.Is(err, context.DeadlineExceeded)
		if err != nil && !busy && !errors.Is(err, ErrNoSpace) {
			return 0, false, err
		}
		for pass := range fullPasses {
			i, b := c.claimIdle(c.slotCount(), 0, inHand)
			if i != 0 {
				return i, false, nil
			}
			busy = busy || b
			if pass == 0 {
				c.settleForRoom()
			}
		}
		if busy {
			return 0, true, nil
		}
		return 0, false, c.tableFull()
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

// slotsHandedOut is how many slots there are that were used before, or were
// about to be. Those beyond are for claimUnused: whoever reads a snapshot stops
// there.
func (c *core) slotsHandedOut() uint32 {
	if next := c.head.bump.Load(); next != 0 && !variantClaimAhead {
		return min(next, c.slotCount())
	}
	return c.slotCount()
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
		crash.At("claim.bumped")
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
	if !s.life.CompareAndSwap(lifeEmpty, uint64(claimedLife(c.member))) {
		return false
	}
	crash.At("claim.claimed")
	return true
}

// unclaim gives back a claimed slot; of none, does nothing.
func (c *core) unclaim(i uint32) {
	if s := c.slotAt(i); s != nil && s.life.CompareAndSwap(uint64(claimedLife(c.member)), lifeEmpty) {
		crash.At("claim.unclaimed")
	}
}

// claimIdle lets the clock's hand pass so many slots and claims the first that
// is empty or whose name has been idle and there for so many seconds. If there
// is none, it says whether one could not be had because its stripe was busy, or
// another than the caller's was claimed and may be given back.
func (c *core) claimIdle(steps uint32, age uint32, inHand uint32) (claimed uint32, busy bool) {
	// The hand belongs to all; each looks at a stretch without gaps of his own.
	first, slots, k := c.head.hand.Load(), c.slotsHandedOut(), uint32(0)
	defer func() { c.head.hand.Add(k) }()
	now := c.uptime()
	for ; k < steps; k++ {
		i := (first + k) % slots
		s := c.slotAt(i)
		if s == nil {
			continue
		}
		switch life := slotLife(s.life.Load()); life.phase() {
		case lifeEmpty:
			if c.claimEmpty(i) {
				k++
				return i, false
			}
		case lifeClaimed:
			busy = busy || i != inHand
		case lifeLive:
			// Clocks of two processes may be a second apart.
			if age > 0 && int32(now-s.inserted.Load()) < int32(age) || life.kind() == kindExtension || !c.calm(s, life) {
				continue
			}
			c.askForVictims(i, slots)
			evicted, inTheWay := c.evict(i, s, life)
			if evicted {
				k++ // else the next would take this name, the newest of all
				return i, false
			}
			busy = busy || inTheWay
		}
	}
	return 0, busy
}

// evict claims the slot of an idle name: free, not abandoned, nobody sleeping
// on it, no records but cells without readers, no state. The word goes first,
// to the next generation, after which no handle can take it; killed later, the
// evictor leaves an abandoned latch, and the rebuild finishes.
//
// It does not wait for the stripe's latch; inTheWay says that it would have had to.
func (c *core) evict(i uint32, s *slot, life slotLife) (evicted, inTheWay bool) {
	hash := s.hash.Load()
	stripe := c.stripeAt(hash)
	l, ok := c.tryLatch(&stripe.latch, int(hash%stripeCount))
	if !ok {
		return false, true
	}
	defer l.end()
	c.freshen(&l, stripe, hash%stripeCount)
	if life.kind() == KindMutex && slotLife(s.life.Load()) == life {
		c.forgetRobberies(i, s)
	}
	if slotLife(s.life.Load()) != life || s.hash.Load() != hash || s.state.Load() != 0 ||
		s.records.Load() != 0 && life.kind() != KindRWMutex || life.kind() == KindRWMutex && c.isRead(i, s) {
		l.whole = true
		return false, false
	}
	if life.generation() >= robust.MaxGeneration-2 {
		l.whole = true
		return false, false // the slot is used up and keeps its last name
	}
	crash.At("evict.looked")
	free := robust.Free(life.generation())
	if !s.word.CompareAndSwap(uint64(free), uint64(robust.Free(life.generation()+1))) {
		l.whole = true
		return false, false
	}
	crash.At("evict.word")
	if !c.evictable(i, s, life) {
		c.restore(s, life)
		l.whole = true
		return false, false
	}
	c.unlink(i, hash)
	crash.At("evict.unlinked")
	c.emptied(i, s, life, uint64(claimedLife(c.member)))
	crash.At("evict.claimed")
	l.whole = true
	futex.Wake(futex.Low(&s.word), futex.All)
	return true, false
}

// evictable decides, once nobody can take the slot any more, whether it is
// still as idle as it looked: between that look and the swap of the word, which
// is free again, it may have been taken to make a semaphore of it.
func (c *core) evictable(i uint32, s *slot, life slotLife) bool {
	if life.kind() == KindRWMutex {
		return c.retireCells(i, s)
	}
	return s.state.Load() == 0 && s.records.Load() == 0
}

// calm tells whether a slot's word is that of an idle one. A word that still
// says W though nobody sleeps on it is put right.
func (c *core) calm(s *slot, life slotLife) bool {
	w := robust.Word(s.word.Load())
	if w == robust.Free(life.generation())|robust.Waiters || w == robust.Free(life.generation())|robust.Waiters|robust.Starved {
		if futex.Wake(futex.Low(&s.word), 1) == 0 {
			s.word.CompareAndSwap(uint64(w), uint64(w.Calmed()))
			crash.At("evict.calmed")
			futex.Wake(futex.Low(&s.word), 1)
		}
		w = robust.Word(s.word.Load())
	}
	return w == robust.Free(life.generation())
}

// emptied ends the life of an unlinked slot whose handles are stale. The
// arena's highest fence is raised first, so that the name, should it come
// back, goes on from there. Done again after it was cut short, it does no harm.
func (c *core) emptied(i uint32, s *slot, was slotLife, life uint64) {
	if !variantFenceAnew {
		raise(&c.head.fenceHigh, s.fence.Load())
	}
	crash.At("evict.fence")
	if was.kind() == KindRWMutex {
		c.dismantle(i, s)
	}
	if !was.kind().latched() {
		c.dropTally(i, s)
	}
	c.emptyExtension(i, s, was.generation())
	crash.At("evict.extension")
	s.life.Store(life)
}

// emptyExtension frees the slot that holds the end of the name that slot i
// had, or was to have, in this generation. An extension says whose it is: what
// s names may serve another slot, or another name of this one, by now.
func (c *core) emptyExtension(i uint32, s *slot, generation uint32) {
	if x := c.slotAt(s.extension.Load()); x != nil {
		x.life.CompareAndSwap(uint64(extensionLife(i, generation)), lifeEmpty)
	}
}
