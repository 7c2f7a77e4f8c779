package explore

import (
	"fmt"
	"math/bits"
	"strings"

	"lockd/internal/words"
	"lockd/robust"
)

// RangesSetup is a situation, and for tests a broken protocol.
type RangesSetup struct {
	Name    string
	Scripts [][]string // of each process: what its holder may do, see rangeOp
	Names   int        // 1 if 0
	Records int
	Deaths  int
	Ticks   bool
	Cancels bool
	Settle  bool
	Late    bool // who was granted a range may fail to get the latch in time
	Hasty   bool // nobody who need not wait for the latch does, and nobody's ticker makes up for it
	Break   string
}

// ranges mirrors arena/rangehold.go, rangegrant.go, rangewait.go, rangedesk.go
// and rangereap.go: a holder in each process takes ranges of a few places, in
// both modes, converts them and gives them back in parts.
//
// The tree is which records are in it, and whether it is half-changed: what
// it looks like inside only the latch's holder sees, and nobody after him, for
// it is made anew. What a record says besides its owner word is written while
// that word says that it is claimed, and is one word here.
type ranges struct {
	Model
	setup   RangesSetup
	scripts [][][]rangeOp

	latch, count, tree           []Addr // of each name
	owner, body                  []Addr // of each record
	spares, pieces               []Addr // of each process: sets of records
	bell, nudged, waits, stopped []Addr // of each process
	desk                         []Addr // of each actor: see rangeDesk
	holds                        []Addr // ghosts, of each process: two bits for each place
}

// rangeOp is one thing that a holder does: "S0-2" takes places 0 to 2 shared,
// "X1" place 1 exclusively, "-1" gives it back; "b:" before it is about the
// second name. In the end all is given back.
type rangeOp struct {
	name        int
	kind        words.Kind // 0: give back
	first, last uint64
}

const (
	places        = 4 // at most
	rangeSpares   = 2
	torn          = 1 << 15
	rangesCurrent = 1 // the slots' generation
)

// rangeBody is what a record says besides its owner word.
//
//	14    13 12   11     8 7   4 3    0
//	| name | place | arrival | last | first |
type rangeBody uint64

// The places of a record: in its holder's list, or not.
const (
	placeListed = iota
	placeGranted
	placeWaiting
	placeHolding
)

func newRangeBody(name int, first, last, arrival, place uint64) rangeBody {
	return rangeBody(uint64(name)<<14 | place<<12 | arrival<<8 | last<<4 | first)
}

func (b rangeBody) first() uint64   { return uint64(b) & 15 }
func (b rangeBody) last() uint64    { return uint64(b) >> 4 & 15 }
func (b rangeBody) arrival() uint64 { return uint64(b) >> 8 & 15 }
func (b rangeBody) place() uint64   { return uint64(b) >> 12 & 3 }
func (b rangeBody) name() int       { return int(b) >> 14 }

func (b rangeBody) at(place uint64) uint64 { return uint64(b)&^(3<<12) | place<<12 }

// NewRanges makes the model.
func NewRanges(setup RangesSetup) *Model {
	setup.Names = max(setup.Names, 1)
	x := &ranges{setup: setup}
	m := &x.Model
	m.Name = "ranges: " + setup.Name
	n := len(setup.Scripts)
	for k, scripts := range setup.Scripts {
		var ops [][]rangeOp
		for _, script := range scripts {
			ops = append(ops, parseRangeOps(script))
		}
		x.scripts = append(x.scripts, ops)
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	if setup.Ticks {
		for k := range n {
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	for i := range setup.Names {
		x.latch = append(x.latch, m.ownerWord("latch %d", i+1))
	}
	x.count, x.tree = m.words(setup.Names, "count %d"), m.words(setup.Names, "tree %d")
	x.owner, x.body = m.words(setup.Records, "owner of record %d"), m.words(setup.Records, "record %d")
	x.spares, x.pieces = m.words(n, "spares of process %d"), m.words(n, "pieces of process %d")
	x.bell, x.nudged, x.waits = m.words(n, "bell of process %d"), m.words(n, "nudged of process %d"), m.words(n, "process %d waits")
	x.desk, x.holds = m.words(len(m.Actors), "desk of actor %d"), m.words(n, "held by process %d")
	if setup.Cancels {
		x.stopped = m.words(n, "cancelled: user %d")
		for k := range n {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[k].Name, func(s *State) bool { return x.cancel(s, k) }})
		}
	}
	m.Init = func(s *State) {
		for _, at := range x.latch {
			s.Mem[at] = uint64(robust.Free(rangesCurrent))
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = x.killed
	if setup.Deaths == 0 {
		m.latched = make(map[Addr]bool)
		for _, all := range [][]Addr{x.count, x.tree, x.body} {
			for _, at := range all {
				m.latched[at] = true
			}
		}
	}
	m.Spurious = true
	m.Check = x.check
	if !setup.Hasty {
		m.Goal = m.AllIdle
	}
	return m
}

func parseRangeOps(script string) (ops []rangeOp) {
	for _, word := range strings.Fields(script) {
		op := rangeOp{}
		word, second := strings.CutPrefix(word, "b:")
		op.name = int(flag(second))
		switch word[0] {
		case 'S':
			op.kind = rangeShared
		case 'X':
			op.kind = rangeExclusive
		}
		op.first = uint64(word[1] - '0')
		op.last = uint64(word[len(word)-1] - '0')
		ops = append(ops, op)
	}
	return ops
}

func (x *ranges) process(p *P) int { return x.Actors[p.Self].Process }

func (x *ranges) self(p *P) robust.Word { return selfOf(x.process(p)) }

func (x *ranges) ownerWord(k int, kind words.Kind) uint64 { return words.OwnerOf(memberOf(k), kind) }

func (x *ranges) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(m))) }) != 0
}

func (x *ranges) killed(s *State, k int) {
	for _, at := range [][]Addr{x.spares, x.pieces, x.bell, x.nudged, x.waits, x.holds, x.stopped} {
		if at != nil {
			s.Mem[at[k]] = 0
		}
	}
	for i, t := range x.Actors {
		if t.Process == k {
			s.Mem[x.desk[i]] = 0
		}
	}
}

func (x *ranges) cancel(s *State, k int) bool {
	if s.Mem[x.waits[k]] == 0 || s.Mem[x.stopped[k]] != 0 {
		return false
	}
	s.Mem[x.stopped[k]] = 1
	x.nudge(s, k)
	return true
}

func (x *ranges) nudge(s *State, k int) {
	s.Mem[x.nudged[k]] = 1
	s.WakeAll(x.nudged[k])
}

// heldBits is what holds says of a place: 0, 1 shared, or 2 exclusively.
func heldBits(holds uint64, name int, place uint64) uint64 {
	return holds >> (8*name + 2*int(place)) & 3
}

func withHeld(holds uint64, name int, place, mode uint64) uint64 {
	shift := 8*name + 2*int(place)
	return holds&^(3<<shift) | mode<<shift
}

// check looks for a place that two hold, and for one that was taken from the
// living.
func (x *ranges) check(s *State) string {
	for n := range x.setup.Names {
		for place := range uint64(places) {
			all, most := uint64(0), uint64(0)
			for _, at := range x.holds {
				v := heldBits(s.Mem[at], n, place)
				all, most = all+v, max(most, v)
			}
			if most == 2 && all > 2 {
				return fmt.Sprintf("place %d is held exclusively, and by another", place)
			}
		}
		if w := robust.Word(s.Mem[x.latch[n]]); w.IsFree() {
			if wrong := x.checkWhole(s, n); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

// checkWhole looks at what a latch guards while nobody holds it.
func (x *ranges) checkWhole(s *State, n int) string {
	waiting := false
	for i, at := range x.owner {
		kind := words.KindOf(s.Mem[at])
		listed := s.Mem[x.tree[n]]>>i&1 != 0
		if listed && !inTree(kind) {
			return fmt.Sprintf("record %d is in the tree, and is none of it", i+1)
		}
		if inTree(kind) && rangeBody(s.Mem[x.body[i]]).name() == n {
			if !listed {
				return fmt.Sprintf("record %d is not in the tree", i+1)
			}
			waiting = waiting || isRangeWait(kind)
		}
	}
	if waiting && s.Mem[x.count[n]] == 0 {
		return "somebody waits, and nobody is counted"
	}
	for k, at := range x.holds {
		for place := range uint64(places) {
			if mode := heldBits(s.Mem[at], n, place); mode != 0 && !x.covered(s, k, n, place, mode) {
				return fmt.Sprintf("place %d was taken from process %d, which lives", place, k+1)
			}
		}
	}
	return ""
}

// covered tells whether a record says that a process holds a place.
func (x *ranges) covered(s *State, k, n int, place, mode uint64) bool {
	for i, at := range x.owner {
		b := rangeBody(s.Mem[x.body[i]])
		if words.MemberOf(s.Mem[at]) != memberOf(k) || b.name() != n || b.first() > place || b.last() < place {
			continue
		}
		if kind := words.KindOf(s.Mem[at]); kind == rangeExclusive || kind == rangeShared && mode == 1 {
			return true
		}
	}
	return false
}

// user does one of its scripts, or settles, for ever.
func (x *ranges) user(p *P) {
	scripts := x.scripts[x.process(p)]
	for top := p.Mark(); ; p.Again(top) {
		which := p.Choose("what to do", len(scripts)+int(flag(x.setup.Settle)))
		if which == len(scripts) {
			p.Call(func() uint64 { x.settle(p); return 0 })
		} else {
			x.perform(p, scripts[which])
		}
		p.Do("is done", func(*State) uint64 { return 0 })
	}
}

func (x *ranges) perform(p *P, script []rangeOp) {
	used := uint64(0)
	for _, op := range script {
		used |= 1 << op.name
		if p.Call(func() uint64 {
			if op.kind == 0 {
				x.release(p, op)
				return 1
			}
			return flag(x.lock(p, op))
		}) == 0 {
			break
		}
	}
	for ; used != 0; used &= used - 1 {
		n := bits.TrailingZeros64(used)
		p.Call(func() uint64 { x.releaseAll(p, n); return 0 })
	}
}
