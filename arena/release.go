package arena

import (
	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Releasing, when the fast path missed because the word has a flag.
//
//	W  free it with W, wake one sleeper; W goes when a wake finds nobody
//	L  hand over to a goroutine of this process that has starved, else free it
//	   and signal the agent
//	A  stays: the next owner is told too
//	S  stays for the newcomers to see; it ends hand-overs in this process
//	D  wake all who sleep: see doze

// maxTurns is how many releases in a row may go to this process's own
// goroutines, by hand-over or by waking only them, while others sleep.
const maxTurns = 16

// release gives back what this process holds of the binding's slot, with more
// flags if the holder ended badly. It is false if the process does not hold it.
func (c *core) release(b *binding, extra robust.Word) bool { return c.releaseAs(b, extra, false) }

// releaseAs guards itself against passing if it has to: see there.
func (c *core) releaseAs(b *binding, extra robust.Word, guarded bool) bool {
	raceRelease(c, b)
	s := b.slot
	marked := false
	for {
		w := robust.Word(s.word.Load())
		if !w.SameHolding(c.self) {
			return false
		}
		if w.Has(robust.Abandoned) && !guarded && !variantRobbedPasses {
			c.passing.Lock()
			done := c.releaseAs(b, extra, true)
			c.passing.Unlock()
			return done
		}
		c.tallyGiven(b)
		if extra != 0 && !marked {
			storeDeath(s, Panicked, c.identity.PID, c.options.Label)
			crash.At("release.marked")
			marked = true
		}
		if w.Has(robust.Local) && extra == 0 && c.handOver(b, w) {
			return true
		}
		next := (w | extra).Released(b.generation)
		if variantClearW {
			next &^= robust.Waiters
		}
		if s.word.CompareAndSwap(uint64(w), uint64(next)) {
			crash.At("release.freed")
			c.wakeAfter(b.key(), s, w, true)
			return true
		}
	}
}

// wakeAfter wakes who waits for a slot that was just freed from the word w.
// With goroutines of this process waiting too, they get a few turns first.
func (c *core) wakeAfter(key lotKey, s *slot, w robust.Word, turns bool) {
	local := false
	if w.Has(robust.Local) {
		local = c.signalLocal(key, turns)
	}
	if c.wakeDozing(s, w) {
		return
	}
	if w.Has(robust.Waiters) && (!local || w.Has(robust.Starved)) {
		c.wakeOne(s)
	}
}

// wakeOne wakes one who sleeps on a free word. Nobody there: W and S go, and
// one more wake is for who slipped in between the first and the change.
func (c *core) wakeOne(s *slot) {
	low := futex.Low(&s.word)
	if variantWokenBit && silenced(s) {
		return
	}
	n := futex.Wake(low, 1)
	crash.At("wake.done")
	if n > 0 {
		return
	}
	for {
		w := robust.Word(s.word.Load())
		if !w.IsFree() || !w.Has(robust.Waiters) {
			return
		}
		if s.word.CompareAndSwap(uint64(w), uint64(w.Calmed())) {
			crash.At("wake.calmed")
			futex.Wake(low, 1)
			crash.At("wake.again")
			return
		}
	}
}

// silenced is for the variant with a bit that says "one is woken".
func silenced(s *slot) bool {
	const woken = 1 << 63
	return s.state.Or(woken)&woken != 0
}

// signalLocal signals the agent of this process, appointing one if need be. It
// is true if that is enough for this time.
func (c *core) signalLocal(key lotKey, turns bool) bool {
	q := c.lot.find(key)
	if q == nil {
		return false
	}
	defer c.lot.leave(q)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.appoint()
	if q.agent == nil {
		return false
	}
	crash.At("release.signalled")
	if q.turns++; !turns || q.turns >= maxTurns {
		q.turns = 0
		return false
	}
	return true
}

// handOver gives the lock, still held, to a goroutine of this process that has
// starved, if nobody in another process has. Direct hand-over costs a switch
// each time, so it is not for those who wait their normal time.
func (c *core) handOver(b *binding, w robust.Word) bool {
	if w.Has(robust.Starved) {
		return false
	}
	q := c.lot.find(b.key())
	if q == nil {
		return false
	}
	defer c.lot.leave(q)
	q.mu.Lock()
	defer q.mu.Unlock()
	heir := q.agent
	if heir == nil {
		heir = q.list.first
	} else if !heir.parked {
		return false
	}
	if heir == nil || heir.waited() < starvation {
		return false
	}
	if q.turns++; q.turns >= maxTurns && w.Has(robust.Waiters) {
		q.turns = 0
		return false
	}
	// The word may have been taken from us since it was loaded.
	if !b.slot.word.CompareAndSwap(uint64(w), uint64(w)) {
		q.turns--
		return false
	}
	if heir == q.agent {
		q.agent = nil
	} else {
		q.list.remove(heir)
	}
	heir.granted = true
	c.departed(q)
	crash.At("release.handed")
	heir.signal()
	return true
}
