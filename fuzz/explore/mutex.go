package explore

import (
	"fmt"

	"lockd/robust"
)

// MutexSetup is a situation, and for tests a broken protocol.
type MutexSetup struct {
	Name       string
	Goroutines []int // of each process
	Deaths     int
	Ticks      bool
	Cancels    bool
	Tries      bool // some only try
	Settler    bool // process 1 settles in the background
	Quiet      bool // nobody wakes up for no reason
	Doze       bool // who dozes has no more ticks
	Eaten      bool // process 1 begins inside and only leaves; process 2 eats the wake that it gets
	Once       bool // each user locks once
	Break      string
}

// mutex mirrors arena/acquire.go, release.go, reclaim.go, and the ticker's
// look: one slot, whose generation is 1, taken and given back for ever.
//
// What a process guards by its queue's mutex is one step, unless shared memory
// is touched meanwhile; then mu is held.
type mutex struct {
	Model
	setup MutexSetup
	word  Addr // the slot's owner word

	mu, agent, list, parked, turns, nudged []Addr // of each process: its queue
	dozing, stirred                        []Addr // of each process: its ticker
	signal, granted, cancelled             []Addr // of each goroutine

	holder, died Addr // ghosts: who is inside, and whether somebody died there
}

const (
	mutexGeneration = 1
	turnsAtMost     = 2 // maxTurns
)

type outcome uint64

const (
	busy outcome = iota
	taken
	stale
)

// NewMutex makes the model.
func NewMutex(setup MutexSetup) *Model {
	x := &mutex{setup: setup}
	m := &x.Model
	m.Name = "mutex: " + setup.Name
	m.addUsers(setup.Goroutines, x.user)
	for k := range setup.Goroutines {
		m.Actors[k].Helper = setup.Eaten && k < 2 // both are sure to come, and need nothing
	}
	n, goroutines := len(setup.Goroutines), len(m.Actors)
	x.word = m.ownerWord("word")
	x.mu, x.agent, x.list = m.words(n, "mu of process %d"), m.words(n, "agent of process %d"), m.words(n, "list of process %d")
	x.parked, x.turns, x.nudged = m.words(n, "parked in process %d"), m.words(n, "turns of process %d"), m.words(n, "nudged of process %d")
	x.dozing, x.stirred = m.words(n, "dozing in process %d"), m.words(n, "stirred in process %d")
	x.signal, x.granted, x.cancelled = m.words(goroutines, "signal of user %d"), m.words(goroutines, "granted to user %d"), m.words(goroutines, "cancelled: user %d")
	x.holder, x.died = m.word("who is inside"), m.word("somebody died inside")

	if setup.Cancels {
		for i := range goroutines {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[i].Name, func(s *State) bool { return x.cancel(s, i) }})
		}
	}
	if setup.Ticks {
		for k := range n {
			if setup.Eaten && k < 2 {
				continue // nobody to look for
			}
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	if setup.Settler {
		m.Actors = append(m.Actors, Thread{Name: "settler 1", Process: 0, Helper: true, Program: x.settler})
	}
	m.Init = func(s *State) {
		s.Mem[x.word] = uint64(robust.Free(mutexGeneration))
		if setup.Eaten {
			s.Mem[x.word], s.Mem[x.holder] = uint64(selfOf(0)), 1
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = x.killed
	m.Spurious = !setup.Quiet
	m.Goal = m.AllIdle
	return m
}

func (x *mutex) process(p *P) int { return x.Actors[p.Self].Process }

func (x *mutex) self(p *P) robust.Word { return selfOf(x.process(p)) }

// user locks and unlocks, for ever.
func (x *mutex) user(p *P) {
	if x.setup.Eaten && x.process(p) == 0 {
		p.Call(func() uint64 { x.unlock(p); return 0 })
		return
	}
	if x.setup.Eaten && x.process(p) == 1 {
		x.eat(p)
		return
	}
	for top := p.Mark(); ; p.Again(top) { // the beginning is where it is idle
		try := x.setup.Tries && p.Choose("Lock or TryLock", 2) == 1
		out := outcome(p.Call(func() uint64 {
			if try {
				return uint64(x.tryLock(p))
			}
			return uint64(x.lock(p))
		}))
		if out != taken {
			continue
		}
		if x.setup.Deaths > 0 {
			x.inside(p)
		}
		p.Call(func() uint64 { x.unlock(p); return 0 })
		if x.setup.Once {
			return
		}
	}
}

// eat is a waiter who is killed by the wake that he gets, and is gone.
func (x *mutex) eat(p *P) {
	w := p.Word(x.word)
	if !w.IsFree() && x.addFlags(p, w, robust.Waiters) {
		p.Sleep(x.word, (w | robust.Waiters).Low(), 0)
	}
}

// entered checks, in the step that takes the lock, that nobody else is inside,
// and that whoever died there is told of.
func (x *mutex) entered(p *P) {
	p.Ghost(func(s *State) {
		if h := s.Mem[x.holder]; h != 0 {
			p.Fail("%s and %s are both inside", x.Actors[h-1].Name, x.Actors[p.Self].Name)
		}
		if s.Mem[x.died] != 0 && !robust.Word(s.Mem[x.word]).Has(robust.Abandoned) {
			p.Fail("%s is not told that somebody died inside", x.Actors[p.Self].Name)
		}
		s.Mem[x.holder] = uint64(p.Self + 1)
	})
}

func (x *mutex) left(p *P) { p.Ghost(func(s *State) { s.Mem[x.holder] = 0 }) }

// killed is what a death does besides: who dies inside leaves it half-changed.
func (x *mutex) killed(s *State, k int) {
	for _, at := range [][]Addr{x.mu, x.agent, x.list, x.parked, x.turns, x.nudged, x.dozing, x.stirred} {
		s.Mem[at[k]] = 0
	}
	for i, t := range x.Actors {
		if t.Process != k || i >= len(x.signal) {
			continue
		}
		s.Mem[x.signal[i]], s.Mem[x.granted[i]], s.Mem[x.cancelled[i]] = 0, 0, 0
		if s.Mem[x.holder] == uint64(i+1) {
			s.Mem[x.holder], s.Mem[x.died] = 0, 1
		}
	}
}

// cancel ends a waiting goroutine's context.
func (x *mutex) cancel(s *State, i int) bool {
	k := x.Actors[i].Process
	waits := s.Mem[x.agent[k]] == uint64(i+1) || inList(s.Mem[x.list[k]], i)
	if !waits || s.Mem[x.cancelled[i]] != 0 {
		return false
	}
	s.Mem[x.cancelled[i]] = 1
	x.nudge(s, k)
	return true
}

// nudge makes the agent of a process look again.
func (x *mutex) nudge(s *State, k int) {
	s.Mem[x.nudged[k]] = 1
	s.WakeAll(x.nudged[k])
	x.signalAgent(s, k)
}

func (x *mutex) signalAgent(s *State, k int) {
	if a := s.Mem[x.agent[k]]; a != 0 {
		s.Mem[x.signal[a-1]] = 1
	}
}

// inside: MarkConsistent, or not.
func (x *mutex) inside(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if !w.Has(robust.Abandoned) || p.Choose("MarkConsistent", 2) == 0 {
				return 0
			}
			if p.CAS(x.word, uint64(w), uint64(w&^robust.Abandoned)) {
				p.Ghost(func(s *State) { s.Mem[x.died] = 0 })
				return 0
			}
		}
	})
}
