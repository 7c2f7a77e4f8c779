package arena

import (
	"fmt"
	"slices"
	"time"

	"lockd/robust"
)

// Severity says what a Problem means for those who use the arena.
type Severity uint8

const (
	// Unsettled is what the dead left and somebody will tidy up, or what a
	// member is changing, or stopped in the middle of changing.
	Unsettled Severity = iota
	// Damage is what no order of events makes out of a whole arena.
	Damage
)

func (v Severity) String() string {
	if v == Damage {
		return "damage"
	}
	return "unsettled"
}

// Problem is one thing that does not fit in a snapshot.
type Problem struct {
	Severity Severity
	Code     string // a short name of the kind of problem, the same in all versions
	Where    string // such as "slot 17" or "member 3"
	Text     string

	words [2]uint64 // what was looked at: the same again is the same problem
}

func (p Problem) String() string {
	return fmt.Sprintf("%v: %s: %s: %s", p.Severity, p.Code, p.Where, p.Text)
}

func (p Problem) sameAs(q Problem) bool {
	return p.Severity == q.Severity && p.Code == q.Code && p.Where == q.Where && p.words == q.words
}

// nextLook is how long after one look Check looks again: long enough for a
// running process to get on with what it was changing.
const nextLook = 20 * time.Millisecond

// mostLooks is how often damage must be seen. A look is not of one moment: what
// a copy shows of a chain that is being changed may lead astray, and in a busy
// arena may do so twice in a row, at a slot that itself stays as it is.
const mostLooks = 10

// Check looks at the arena of this name at least twice and returns what is
// wrong with it in every look. It maps the file read-only, as ReadSnapshot
// does, and returns the errors of that.
func Check(name string) ([]Problem, error) {
	first, err := ReadSnapshot(name)
	if err != nil {
		return nil, err
	}
	found := first.Problems()
	for looks := 1; len(found) > 0 && (looks < 2 || looks < mostLooks && anyDamage(found)); looks++ {
		time.Sleep(nextLook)
		again, err := ReadSnapshot(name)
		if err != nil {
			return nil, err
		}
		found = confirmed(found, again.Problems())
	}
	return found, nil
}

func anyDamage(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Damage })
}

// confirmed returns those of again that were there before.
func confirmed(before, again []Problem) []Problem {
	type place struct{ code, where string }
	known := make(map[place][]Problem, len(before))
	for _, p := range before {
		at := place{p.Code, p.Where}
		known[at] = append(known[at], p)
	}
	var both []Problem
	for _, p := range again {
		for _, q := range known[place{p.Code, p.Where}] {
			if p.sameAs(q) {
				both = append(both, p)
				break
			}
		}
	}
	return both
}

// Problems returns what does not fit together in the snapshot, which may be
// because the arena changed while it was copied. Of a snapshot that came with
// an error it knows nothing.
func (s *Snapshot) Problems() []Problem {
	if !s.readable {
		return nil
	}
	c := checker{s: s, p: s.picture}
	c.checkStripes()
	c.checkMembers()
	c.checkLatches()
	c.checkSlots()
	c.checkChains()
	c.checkRecords()
	c.checkRanges()
	c.reportDead()
	return c.found
}

type checker struct {
	s     *Snapshot
	p     picture
	found []Problem

	changing [stripeCount]bool // its chains are being changed, or wait to be rebuilt
	dead     [memberLimit + 1]estate
	named    map[uint32]uint32 // extension: the slot that names it
}

// estate counts what a dead member left.
type estate struct{ locks, reads, claims, waits, latches, tickets, ranges int }

func (c *checker) report(v Severity, code, where string, words [2]uint64, format string, args ...any) {
	c.found = append(c.found, Problem{v, code, where, fmt.Sprintf(format, args...), words})
}

// inStripe is the severity of what a latch's holder could be about to mend.
func (c *checker) inStripe(hash uint64) Severity {
	if c.changing[hash%stripeCount] {
		return Unsettled
	}
	return Damage
}

func (c *checker) checkStripes() {
	for i := range c.changing {
		at := stripesStart + uint64(i)*stripeSize
		w := robust.Word(c.p.word64(at))
		c.changing[i] = !w.IsFree() || w.Has(robust.Abandoned)
	}
	if most := c.s.Segments * segmentSlots; c.s.Bump < 1 || c.s.Bump > most {
		c.report(Damage, "bump", "header", [2]uint64{uint64(c.s.Bump)}, "the first unused slot is %d, not in 1 … %d", c.s.Bump, most)
	}
}

func (c *checker) checkMembers() {
	for _, m := range c.s.Members {
		if m.Phase != PhaseJoining && m.Phase != PhaseLive {
			c.report(Damage, "member-phase", memberPlace(m.Member), [2]uint64{uint64(m.Phase)}, "phase %d is unknown", uint8(m.Phase))
		}
	}
}

// checkOwner looks at who a word, a claim or a record names. It returns the
// estate to count it in, if that member is dead, else nil.
func (c *checker) checkOwner(m robust.Member, code, where string, words [2]uint64, what string) *estate {
	switch e := c.s.member(m); {
	case e == nil || e.Phase != PhaseLive:
		c.report(Damage, code, where, words, "%s member %d of generation %d, who is not attached", what, m.Index, m.Generation)
	case e.Verdict == robust.Gone:
		return &c.dead[m.Index]
	}
	return nil
}

// checkWord looks at an owner word by itself.
func (c *checker) checkWord(w robust.Word, where string) {
	if w.IsFree() && w.Has(robust.Local) {
		c.report(Damage, "word-flags", where, [2]uint64{uint64(w)}, "word %#016x is free, and has an owner's local queue (L)", uint64(w))
	}
	if w.Has(robust.Starved) && !w.Has(robust.Waiters) {
		c.report(Damage, "word-flags", where, [2]uint64{uint64(w)}, "word %#016x says that somebody starves (S), not that anybody waits (W)", uint64(w))
	}
}

func (c *checker) checkLatches() {
	for _, l := range c.s.Latches {
		where, words := "latch "+l.Name, [2]uint64{uint64(l.Word)}
		c.checkWord(l.Word, where)
		if l.Owner == nil {
			c.report(Unsettled, "latch-rebuild", where, words, "its last holder died; the next one rebuilds what it guards")
			continue
		}
		if left := c.checkOwner(l.Owner.Member, "latch-owner", where, words, "held by"); left != nil {
			left.latches++
			c.report(Unsettled, "latch-dead", where, words, "held by pid %d (%q), which is dead", l.Owner.PID, l.Owner.Label)
		}
	}
}

func (c *checker) checkRecords() {
	chained := c.checkCells()
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
			c.report(c.inStripe(c.p.hash(r.slot)), "cell-lost", where, words, "counts %d readers of slot %d, in whose chain it is not", r.counts.held(), r.slot)
		case r.kind == seenWaiter && r.count != 0 && (r.slot == 0 || r.slot >= c.s.slots() || !c.p.life(r.slot).isLock()):
			c.report(Damage, "record-slot", where, words, "waits for slot %d, which has no lock", r.slot)
		}
	})
}

// checkCells walks the chains of readers' cells and returns what is in them.
func (c *checker) checkCells() map[uint32]bool {
	chained := make(map[uint32]bool)
	for _, l := range c.s.Locks {
		if l.Kind != KindRWMutex {
			continue
		}
		where := slotPlace(l.Slot)
		c.checkGate(l, where)
		for i := c.p.word32(slotStart(l.Slot) + atSlotRecords); i != 0; {
			r := c.p.record(i)
			words := [2]uint64{uint64(i), uint64(r.kind)<<32 | uint64(r.slot)}
			if i >= c.s.Segments*segmentRecords || chained[i] || r.slot != l.Slot || r.kind != seenReaders && r.kind != seenVacant {
				c.report(c.inStripe(c.p.hash(l.Slot)), "cell-chain", where, words, "its chain of readers' cells leads to record %d, which is none of it", i)
				break
			}
			chained[i] = true
			if held := r.counts.held(); held != 0 && r.kind == seenVacant {
				c.report(Damage, "cell-vacant", fmt.Sprintf("record %d", i), [2]uint64{uint64(r.counts)}, "counts %d readers of nobody", held)
			}
			i = r.next
		}
	}
	return chained
}

// checkGate: only who holds the word shuts the gate. The dead may have left it
// shut, and a word can change hands between two words of a copy.
func (c *checker) checkGate(l LockInfo, where string) {
	words := [2]uint64{uint64(l.Gate), uint64(l.Word)}
	if l.Gate != 0 && (l.Word.IsFree() || !l.Gate.SameHolding(l.Word)) {
		c.report(Unsettled, "gate-stray", where, words, "its gate is shut by member %d, who does not hold it; the next who wants it opens the gate", l.Gate.Owner().Index)
	}
	if !l.Word.IsFree() && l.Gate == l.Word&^(robust.Waiters|robust.Abandoned|robust.Starved|robust.Local) && l.Readers > 0 {
		words[1] = uint64(l.Readers)
		c.report(Unsettled, "readers-inside", where, words, "%d readers are counted beside a writer, or are about to find out that they may not read", l.Readers)
	}
}

// reportDead reports each dead member once, however much it left.
func (c *checker) reportDead() {
	for _, m := range c.s.Members {
		if m.Verdict != robust.Gone {
			continue
		}
		left := c.dead[m.Index]
		tickets := ""
		if left.tickets > 0 {
			tickets = fmt.Sprintf(", and %d tickets", left.tickets)
		}
		if left.ranges > 0 {
			tickets += fmt.Sprintf(", and %d records of ranges", left.ranges)
		}
		c.report(Unsettled, "member-dead", memberPlace(m.Member), [2]uint64{uint64(m.Generation), uint64(m.PID)},
			"pid %d (%q) is dead and not settled yet; it left %d locks, %d read locks, %d waits, %d claimed slots and %d latches%s",
			m.PID, m.Label, left.locks, left.reads, left.waits, left.claims, left.latches, tickets)
	}
}

func memberPlace(m robust.Member) string { return fmt.Sprintf("member %d", m.Index) }
func slotPlace(i uint32) string          { return fmt.Sprintf("slot %d", i) }
