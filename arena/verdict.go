package arena

import "lockd/internal/crash"

// The verdict word, in the header: whose wait was ended last. See detector.

// decide names a victim in the verdict word, unless there was a verdict since
// last. That its last victim was quick to end its wait is none: see
// closeVerdict.
func (c *core) decide(last verdictWord, victim *seenSession) (next verdictWord, decided bool) {
	for _, last := range [...]verdictWord{last, last.next(0, 0)} {
		next = last.next(victim.record, victim.wait)
		if variantNoVerdictOrder {
			c.head.verdict.Store(uint64(next))
			return next, true
		}
		if c.head.verdict.CompareAndSwap(uint64(last), uint64(next)) {
			return next, true
		}
	}
	return 0, false
}

// helpVerdict marks the last victim, whose detector may not have come to it.
func (c *core) helpVerdict(v verdictWord) {
	r := recordIs[sessionRecord](c, v.record())
	if r == nil || kindOfRecord(r.owner.Load()) != recordSession {
		return
	}
	if w := sessionWord(r.wait.Load()); w != 0 && w.seq() == v.seq() {
		markVictim(r, w)
		crash.At("detector.helped")
	}
}

// closeVerdict takes the name out of the verdict word when the wait is over, so
// that it is not taken for another's, later.
func (c *core) closeVerdict(record uint32, w sessionWord) {
	if !c.gate.enter() {
		return // the process leaves, and takes its records with it
	}
	defer c.gate.leave()
	v := verdictWord(c.head.verdict.Load())
	if v.record() == record && v.seq() == w.seq() {
		c.head.verdict.CompareAndSwap(uint64(v), uint64(v.next(0, 0)))
		crash.At("session.acquitted")
	}
}

func markVictim(r *sessionRecord, w sessionWord) {
	r.wait.CompareAndSwap(uint64(w), uint64(w|victimBit))
}
