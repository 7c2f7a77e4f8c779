package arena

import (
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// reclaim takes over the holding w of a member that was judged gone. It is one
// compare-and-swap on the word that was judged. Who it was is read before, for
// the entry may be reused once nothing names it; who died is written after,
// while the slot is held.
//
// A binding can be older than the slot's name. A slot is not evicted while it
// is held, so what is true of it after the swap stays true: if it is not the
// binding's slot any more, it is let go, abandoned as it is.
func (c *core) reclaim(b *binding, w robust.Word) outcome {
	p, verdict := c.judge(w.Owner())
	if verdict != robust.Gone {
		return busy
	}
	return c.inherit(b, w, p)
}

// inherit is reclaim of whom the caller has judged.
func (c *core) inherit(b *binding, w robust.Word, p peer) outcome {
	c.passRobberies(b.index, b.slot, p.member)
	c.passing.Lock()
	defer c.passing.Unlock()
	if !c.seize(b.slot, w, p) {
		return busy
	}
	if c.stale(b) && !variantTrustBinding {
		c.letGo(b.index, b.slot)
		return stale
	}
	return taken
}

// takeAndLetGo passes on what the dead peer holds.
//
// Meanwhile the word says that this process holds it; and so it looks to a
// goroutine that was robbed of the mutex and has not noticed: were it to release
// it now, it would not be told, and were another to take it then, that one's
// holding would be let go here. So who takes a mutex that he does not keep holds
// passing, from the swap to the release. The word has A then, and with A nobody
// marks or releases it but with passing, too.
func (c *core) takeAndLetGo(i uint32, s *slot, w robust.Word, p peer) bool {
	c.passing.Lock()
	defer c.passing.Unlock()
	if !c.seize(s, w, p) {
		return false
	}
	c.letGo(i, s)
	return true
}

// seize makes the holding w of the dead peer ours and writes down whose it was.
func (c *core) seize(s *slot, w robust.Word, p peer) bool {
	// What is read of the gate is true if the swap succeeds: only who holds the
	// word changes it.
	// A semaphore's or ranges' word is a latch: whoever died in it left what it
	// guards to be mended, which A says.
	// With A, too, no fast path takes it for that of a holder who was robbed.
	kind := slotLife(s.life.Load()).kind()
	contested := kind == KindMutex && s.state.Load() == hasRobberies
	abandoned := kind.latched() || (!p.leftInOrder() || contested) && halfChanged(s) && !variantReclaimUntold
	next := w.Inherited(c.self)
	if abandoned {
		next = w.Reclaimed(c.self)
	}
	if variantTakeAnyWord {
		s.word.Store(uint64(next))
	} else if !s.word.CompareAndSwap(uint64(w), uint64(next)) {
		return false
	}
	crash.At("reclaim.taken")
	c.wakeDozing(s, w)
	if abandoned {
		storeDeath(s, Died, w.PID(), p.label)
	}
	crash.At("reclaim.told")
	c.settling.kick()
	return true
}

// letGo releases a slot that this process holds without having a handle to it.
// If it was robbed of it, that is noticed here: nobody else ever would, and
// until then the process could not take the lock.
func (c *core) letGo(index uint32, s *slot) {
	life := slotLife(s.life.Load())
	c.reopen(index, s)
	for {
		w := robust.Word(s.word.Load())
		if !w.SameHolding(c.self) {
			if life.kind() == KindMutex {
				c.consumeRobbery(index, s)
			}
			return
		}
		if s.word.CompareAndSwap(uint64(w), uint64(w.Released(life.generation()))) {
			crash.At("letgo.freed")
			c.wakeAfter(lotKey{index, life.generation()}, s, w, false)
			return
		}
	}
}

// judgeEvery is how often, at most, failed tries of one handle judge the owner.
const judgeEvery = time.Millisecond

// try is one attempt that does not wait. It takes the slot past the starved,
// and from an owner that is gone: whoever only ever polls must get it too.
func (c *core) try(b *binding, judged *atomic.Int64) outcome {
	for {
		w := robust.Word(b.slot.word.Load())
		switch {
		case w.IsFree() && w.Generation() != b.generation:
			return stale
		case w.IsFree():
			if b.slot.word.CompareAndSwap(uint64(w), uint64(w.Barged(c.self))) {
				crash.At("try.taken")
				return taken
			}
			continue
		case w.SameHolding(c.self), variantTryNeverJudges:
			return busy
		}
		last, now := judged.Load(), futex.Now()
		if now-last < int64(judgeEvery) || !judged.CompareAndSwap(last, now) {
			return busy
		}
		return c.reclaim(b, w)
	}
}
