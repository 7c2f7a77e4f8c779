package explore

import (
	"fmt"

	"lockd/robust"
)

// Model is a protocol with a few actors.
type Model struct {
	Name   string
	Actors []Thread
	Init   func(s *State)

	// Deaths is how many processes may be killed; of which, Mortal says.
	Deaths int
	Mortal func(process int) bool
	// Killed changes private memory and ghosts after a process was killed.
	Killed func(s *State, process int)
	// Spurious lets sleepers wake up for no reason.
	Spurious bool
	// Events are what may happen besides: each changes a copy of the state, or
	// says that it cannot happen.
	Events []Event

	// Check says what is wrong with a state, if anything is.
	Check func(s *State) string
	// Goal is where everybody alive has got what he wanted.
	Goal func(s *State) bool

	// latched are words that only a latch's holder touches, in a model where
	// nobody dies: an access to them is part of the step that comes after it.
	latched map[Addr]bool

	Words map[Addr]string // names for traces
	Owner map[Addr]bool   // that are owner words
}

// Thread is an actor: a thread of control in a process, with which it dies.
type Thread struct {
	Name    string
	Process int
	Program func(p *P)
	// Helper marks an actor that goes on for ever by itself, such as a ticker.
	Helper bool
}

// Event is something from outside, such as a context that ends.
type Event struct {
	Name   string
	Happen func(s *State) bool
}

func (m *Model) name(at Addr) string {
	if n := m.Words[at&^high]; n != "" {
		return n
	}
	return fmt.Sprintf("word %d", at)
}

func (m *Model) show(at Addr, v uint64) string {
	if !m.Owner[at] {
		if v > 1<<16 {
			return fmt.Sprintf("%#x", v)
		}
		return fmt.Sprint(v)
	}
	w := robust.Word(v)
	text := ""
	if w.IsFree() {
		text = fmt.Sprintf("free(%d)", w.Generation())
	} else {
		text = fmt.Sprintf("held(%d/%d)", w.Owner().Index, w.Owner().Generation)
	}
	for _, f := range []struct {
		flag robust.Word
		name string
	}{{robust.Waiters, "W"}, {robust.Abandoned, "A"}, {robust.Starved, "S"}, {robust.Local, "L"}, {robust.Dozing, "D"}} {
		if w.Has(f.flag) {
			text += " " + f.name
		}
	}
	return text
}

// Kill kills a process.
func (m *Model) kill(s *State, process int) {
	for i := range m.Actors {
		if m.Actors[i].Process == process {
			s.Actors[i] = Actor{status: dead}
		}
	}
	if m.Killed != nil {
		m.Killed(s, process)
	}
}

func (m *Model) processes() int {
	n := 0
	for _, t := range m.Actors {
		n = max(n, t.Process+1)
	}
	return n
}

// ProcessDead tells whether a process was killed.
func (m *Model) ProcessDead(s *State, process int) bool {
	for i, t := range m.Actors {
		if t.Process == process {
			return s.Actors[i].status == dead
		}
	}
	return false
}

// AllIdle tells whether all actors alive but helpers are idle.
func (m *Model) AllIdle(s *State) bool {
	for i, t := range m.Actors {
		if !t.Helper && !s.Idle(i) {
			return false
		}
	}
	return true
}
