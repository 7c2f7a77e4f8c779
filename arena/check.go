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
	found, err := lookFor(name)
	for looks := 1; err == nil && len(found) > 0 && (looks < 2 || looks < mostLooks && anyDamage(found)); looks++ {
		time.Sleep(nextLook)
		var again []Problem
		again, err = lookFor(name)
		found = confirmed(found, again)
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

func lookFor(name string) ([]Problem, error) {
	s, err := Skim(name)
	if s == nil {
		return nil, err
	}
	defer s.Close()
	if err != nil {
		return nil, err
	}
	found := s.Problems()
	return found, s.Err()
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
	return s.problems(s.picture, s.picture.slotsFrom)
}

// slotWalk calls f with each slot up to a limit, and a picture that has it.
type slotWalk func(limit uint32, f func(p picture, i uint32))

func (p picture) slotsFrom(limit uint32, f func(picture, uint32)) {
	for i := uint32(1); i < limit; i++ {
		f(p, i)
	}
}

// problems looks at each slot once, in order, and remembers a few words of it.
func (s *Snapshot) problems(p picture, walk slotWalk) []Problem {
	if !s.readable {
		return nil
	}
	c := checker{
		s: s, p: p, walk: walk, outlines: make([]outline, min(s.slots(), (s.imageSegments()+1)*segmentSlots)), chained: make(map[uint32]bool), trees: make(map[uint32]map[uint32]bool),
		latched: make(map[uint32]latchedSlot), named: make(map[uint32]uint32),
	}
	c.names = make([]uint64, 0, len(c.outlines))
	c.checkStripes()
	c.checkMembers()
	c.checkLatches()
	c.checkSlots()
	c.checkNames()
	c.checkChains()
	c.checkRecords()
	c.checkRanges()
	c.reportDead()
	return c.found
}

// checker keeps of the slots what is looked at more than once.
type checker struct {
	s     *Snapshot
	p     picture // of all but the slots
	walk  slotWalk
	found []Problem

	changing [stripeCount]bool // its chains are being changed, or wait to be rebuilt
	dead     [memberLimit + 1]estate
	outlines []outline                  // by slot
	names    []uint64                   // hashes, see checkNames
	named    map[uint32]uint32          // extension: the slot that names it
	claims   []claimedSlot              // slots that somebody fills
	chained  map[uint32]bool            // records in the chains of readers' cells
	trees    map[uint32]map[uint32]bool // records in the trees of ranges, by slot
	latched  map[uint32]latchedSlot     // semaphores and ranges
}

// outline is what chains are made of.
type outline struct {
	life slotLife
	hash uint64
	next uint32
	last uint32
}

type latchedSlot struct {
	word  robust.Word
	state ticketState
}

type claimedSlot struct{ slot, extension uint32 }

func (c *checker) outline(slot uint32) outline {
	if int(slot) >= len(c.outlines) {
		return outline{}
	}
	return c.outlines[slot]
}

func (c *checker) life(slot uint32) slotLife { return c.outline(slot).life }
func (c *checker) hash(slot uint32) uint64   { return c.outline(slot).hash }

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
	if w.IsFree() && w.Has(robust.Dozing) {
		c.report(Damage, "word-flags", where, [2]uint64{uint64(w)}, "word %#016x is free, and says that its sleepers doze (D)", uint64(w))
	}
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
