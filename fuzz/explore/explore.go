package explore

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Result is what an exploration came to.
type Result struct {
	Model       string
	Actors      int
	States      int
	Transitions int
	Deaths      int  // transitions that are one
	Depth       int  // steps to the states farthest from the beginning
	Complete    bool // all states were seen
	Took        time.Duration
	Violation   string // empty: none
	Trace       []string
}

// Header names the columns of a Result.
const Header = "model                                             actors     states transitions    deaths  steps  seen  seconds"

func (r Result) String() string {
	all := "all"
	if !r.Complete {
		all = "cut"
	}
	text := fmt.Sprintf("%-50s%6d %10d %11d %9d %6d %5s %8.1f", r.Model, r.Actors, r.States, r.Transitions, r.Deaths, r.Depth, all, r.Took.Seconds())
	if r.Violation != "" {
		text += fmt.Sprintf("\n  %s, after %d steps:\n    %s", r.Violation, len(r.Trace), strings.Join(r.Trace, "\n    "))
	}
	return text
}

// edge is how a state was reached first.
type edge struct {
	from uint32
	move move
}

// move is one way to go on from a state: an actor's step with one outcome, a
// death, a spurious wake-up, or an event.
type move struct {
	kind, who, outcome uint8
}

const (
	moveStep uint8 = iota
	moveKill
	moveSpurious
	moveEvent
)

type search struct {
	m       *Model
	p       P
	seen    *visited
	edges   []edge
	forward links // the sure ways on
	goals   bitmap
	initial State
	result  Result
}

// Explore visits the states of a model, breadth first, up to so many.
func (m *Model) Explore(limit int) Result {
	began := time.Now()
	x := &search{m: m, p: P{m: m}, seen: newVisited()}
	x.result = Result{Model: m.Name, Actors: len(m.Actors), Complete: true}
	if m.Init != nil {
		m.Init(&x.initial)
	}
	x.run(limit)
	x.result.States = int(x.seen.count)
	x.result.Took = time.Since(began)
	return x.result
}

func (x *search) run(limit int) {
	level := queue{}
	data := x.initial.encode(nil)
	x.seen.add(printOf(data))
	x.edges = append(x.edges, edge{})
	level.push(data)
	var next queue
	number := uint32(0)
	for ; level.count > 0; level, next = next, (queue{}) {
		for data := range level.all {
			var s State
			s.decode(data)
			x.forward.begin()
			if x.m.Goal == nil || x.m.Goal(&s) {
				x.goals.set(number)
			}
			if int(x.seen.count) >= limit {
				x.result.Complete = false
				x.goals.set(number) // what comes after it is not known
			} else if !x.expand(&s, number, &next) {
				return
			}
			number++
		}
		x.result.Depth++
	}
	x.result.Depth--
	x.findStranded()
}

// expand visits what follows a state; false if it must not be.
func (x *search) expand(s *State, number uint32, next *queue) bool {
	good := true
	stuck := true
	x.moves(s, func(v move, t *State, fault string) bool {
		x.result.Transitions++
		if v.kind == moveKill {
			x.result.Deaths++
		}
		data := t.encode(next.buffer[:0])
		next.buffer = data
		n, fresh := x.seen.add(printOf(data))
		if fresh {
			x.edges = append(x.edges, edge{number, v})
			next.push(data)
		}
		if x.sure(s, v) {
			x.forward.add(n)
			stuck = stuck && n == number
		}
		if fault == "" && fresh && x.m.Check != nil {
			fault = x.m.Check(t)
		}
		if fault != "" {
			x.result.Complete = false
			x.result.Violation = fault
			x.result.Trace = x.trace(number, v)
			good = false
		}
		return good
	})
	if good && stuck && !x.goals.has(number) {
		x.result.Complete = false
		x.result.Violation = "nobody can go on, and somebody waits"
		x.result.Trace = x.trace(number)
		return false
	}
	return good
}

// sure tells whether a move comes by itself. Nobody has to die for it, nobody
// has luck, and nobody comes back to lock once more.
func (x *search) sure(s *State, v move) bool {
	return v.kind == moveStep && (x.m.Actors[v.who].Helper || !s.Idle(int(v.who)))
}

// moves calls visit with all that can happen next.
func (x *search) moves(s *State, visit func(v move, t *State, fault string) bool) {
	m := x.m
	var t State
	for i := range m.Actors {
		if st := s.Actors[i].status; st != running && st != woken {
			continue
		}
		x.p.script = x.p.script[:0]
		for outcome := uint8(0); outcome == 0 || x.p.another(); outcome++ {
			t = *s
			if x.p.step(&t, i) && !visit(move{moveStep, uint8(i), outcome}, &t, x.p.fault) {
				return
			}
		}
	}
	if m.Deaths > 0 {
		deaths := 0
		for k := range m.processes() {
			if m.ProcessDead(s, k) {
				deaths++
			}
		}
		for k := range m.processes() {
			if deaths >= m.Deaths || m.ProcessDead(s, k) || m.Mortal != nil && !m.Mortal(k) {
				continue
			}
			t = *s
			m.kill(&t, k)
			if !visit(move{moveKill, uint8(k), 0}, &t, "") {
				return
			}
		}
	}
	for i := range m.Actors {
		if m.Spurious && s.Asleep(i) {
			t = *s
			t.wake(i)
			if !visit(move{moveSpurious, uint8(i), 0}, &t, "") {
				return
			}
		}
	}
	for k := range m.Events {
		t = *s
		if m.Events[k].Happen(&t) && !visit(move{moveEvent, uint8(k), 0}, &t, "") {
			return
		}
	}
}

// follow makes a move, and tells what it does.
func (x *search) follow(s *State, v move) (t State, told string) {
	var said string
	if v.kind == moveStep {
		x.p.said = &said
		defer func() { x.p.said = nil }()
	}
	x.moves(s, func(w move, n *State, _ string) bool {
		if w == v {
			t = *n
			return false
		}
		return true
	})
	switch v.kind {
	case moveKill:
		return t, fmt.Sprintf("process %d is killed", v.who+1)
	case moveSpurious:
		return t, fmt.Sprintf("%s wakes up for no reason", x.m.Actors[v.who].Name)
	case moveEvent:
		return t, x.m.Events[v.who].Name
	}
	return t, fmt.Sprintf("%-10s %s", x.m.Actors[v.who].Name, said)
}

// trace tells how a state is reached.
func (x *search) trace(number uint32, more ...move) (told []string) {
	var moves []move
	for ; number != 0; number = x.edges[number].from {
		moves = append(moves, x.edges[number].move)
	}
	slices.Reverse(moves)
	s := x.initial
	for _, v := range append(moves, more...) {
		var text string
		s, text = x.follow(&s, v)
		told = append(told, text)
	}
	return told
}
