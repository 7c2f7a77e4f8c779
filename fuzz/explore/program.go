package explore

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// P runs one step of an actor's program. A program is an ordinary function
// that does nothing but what P offers. It is run again for each of its steps:
// what it did before is answered from a log, then one access is done, and at
// the next one it is stopped. So the log is all that an actor knows, and two
// states are one if the logs are. To keep it to what still matters:
//
//	Call     what a function has read is forgotten for what it returns
//	Again    a loop that begins anew forgets what it has read
//	Var      what a loop carries over from one round to the next
//
// A program must be a pure function of what it reads.
type P struct {
	Self int // the actor

	m      *Model
	s      *State
	a      *Actor
	pos    int
	depth  uint8
	fresh  bool // the step's access is done
	script []choice
	chosen int // how many of these were used
	fault  string
	said   *string // what the step did, if somebody wants to know

	saidBefore string
}

// choice is one of so many outcomes.
type choice struct{ taken, among int }

type stop struct{}

type disabled struct{}

// The kinds of log entries: an access is 0, a call's result its depth.
const varKind = 0xff

func (p *P) push(v uint64, kind uint8) {
	if int(p.a.n) == logSize {
		panic(fmt.Sprintf("%s: the log of actor %d is too short", p.m.Name, p.Self))
	}
	p.a.log[p.a.n], p.a.kinds[p.a.n] = v, kind
	p.a.n++
	p.pos++
}

// truncate forgets all entries from n on.
func (p *P) truncate(n int) {
	for i := n; i < int(p.a.n); i++ {
		p.a.log[i], p.a.kinds[i] = 0, 0
	}
	p.a.n, p.pos = uint8(n), n
}

// begin answers an access from the log, or says that it is to be done.
func (p *P) begin(at Addr) (v uint64, logged bool) {
	if p.pos < int(p.a.n) {
		v = p.a.log[p.pos]
		p.pos++
		return v, true
	}
	if p.fresh {
		panic(stop{})
	}
	p.fresh = !p.m.latched[at]
	return 0, false
}

func (p *P) say(format string, args ...any) {
	if p.said == nil {
		return
	}
	// The functions of the model that are under way, outermost first.
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	where := ""
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndex(f.Function, ".")+1:]
		if strings.Contains(f.Function, "(*P)") || strings.HasPrefix(name, "func") || name[0] <= '9' {
			if !more {
				break
			}
			continue
		}
		where = fmt.Sprintf("%s (%s:%d)", name, filepath.Base(f.File), f.Line)
		break
	}
	*p.said = where + ": " + p.saidBefore + fmt.Sprintf(format, args...)
	p.saidBefore = ""
}

func (p *P) name(at Addr) string {
	if p.said == nil {
		return ""
	}
	return p.m.name(at)
}

func (p *P) show(at Addr, v uint64) string {
	if p.said == nil {
		return ""
	}
	return p.m.show(at, v)
}

// Choose is any number below n: what depends on time or chance. It is part of
// the step that comes after it.
func (p *P) Choose(what string, n int) int {
	if p.pos < int(p.a.n) {
		p.pos++
		return int(p.a.log[p.pos-1])
	}
	if p.fresh {
		panic(stop{})
	}
	v := p.choose(n)
	p.push(uint64(v), varKind)
	if p.said != nil {
		p.saidBefore += fmt.Sprintf("(%s: %d) ", what, v)
	}
	return v
}

// choose takes one of n outcomes, as the script says.
func (p *P) choose(n int) int {
	if p.chosen == len(p.script) {
		p.script = append(p.script, choice{0, n})
	}
	p.chosen++
	return p.script[p.chosen-1].taken
}

// another goes on to the next script; false if there is none.
func (p *P) another() bool {
	for n := len(p.script) - 1; n >= 0; n-- {
		if p.script[n].taken++; p.script[n].taken < p.script[n].among {
			return true
		}
		p.script = p.script[:n]
	}
	return false
}

// Call runs a function, and forgets what it read once it has returned.
func (p *P) Call(f func() uint64) uint64 {
	start, depth, v, over := p.enter()
	if over {
		return v
	}
	v = f()
	p.leave(start, depth, v)
	return v
}

// Call2 is Call for two results.
func (p *P) Call2(f func() (uint64, uint64)) (uint64, uint64) {
	start, depth, v, over := p.enter()
	if over {
		p.pos++
		return v, p.a.log[p.pos-1]
	}
	v, w := f()
	p.leave(start, depth, v)
	p.push(w, depth)
	return v, w
}

// enter begins a call, or says that it is over and what it returned.
func (p *P) enter() (start int, depth uint8, v uint64, over bool) {
	depth = p.depth + 1
	if p.pos < int(p.a.n) && p.a.kinds[p.pos] == depth {
		p.pos++
		return 0, 0, p.a.log[p.pos-1], true
	}
	p.depth = depth
	return p.pos, depth, 0, false
}

func (p *P) leave(start int, depth uint8, v uint64) {
	p.depth = depth - 1
	p.truncate(start)
	p.push(v, depth)
}

// Mark is the place of a loop's beginning.
func (p *P) Mark() int { return p.pos }

// Again begins a loop anew, with these values in its variables.
func (p *P) Again(mark int, vars ...uint64) {
	p.truncate(mark)
	for _, v := range vars {
		p.push(v, varKind)
	}
	p.pos = mark
}

// Var is a variable of the loop that has just begun.
func (p *P) Var(first uint64) uint64 {
	if p.pos < int(p.a.n) {
		p.pos++
		return p.a.log[p.pos-1]
	}
	if p.fresh {
		panic(stop{})
	}
	p.push(first, varKind)
	return first
}

// Ghost changes what only invariants look at, in the same step as the access
// before it.
func (p *P) Ghost(f func(s *State)) {
	if p.fresh && p.pos == int(p.a.n) {
		f(p.s)
	}
}

// Fail says that what must not be is.
func (p *P) Fail(format string, args ...any) {
	if p.fresh && p.fault == "" {
		p.fault = fmt.Sprintf(format, args...)
	}
}

// step runs one step of an actor in s, with the outcomes that the script says.
// It is false if the actor cannot go on.
func (p *P) step(s *State, actor int) (done bool) {
	p.s, p.a, p.Self = s, &s.Actors[actor], actor
	p.pos, p.depth, p.fresh, p.chosen, p.fault = 0, 0, false, 0, ""
	p.saidBefore = ""
	defer func() {
		switch r := recover().(type) {
		case nil, stop:
			done = true
		case disabled:
			done = false
		default:
			panic(r)
		}
	}()
	p.m.Actors[actor].Program(p)
	p.truncate(0)
	p.a.status = ended
	return true
}
