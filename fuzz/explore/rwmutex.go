package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// RWMutexSetup is a situation, and for tests a broken protocol.
type RWMutexSetup struct {
	Name      string
	Processes int
	Roles     []string // what users do: see user
	Deaths    int
	Ticks     bool
	Cancels   bool
	Settle    bool
	Break     string
}

// rwmutex mirrors arena/readers.go, read.go, writer.go and rwholding.go: one
// rwmutex, one goroutine a process, which has a cell, and its ticker. How one
// waits for the owner word is left out, for that is the mutex's model.
//
// The epoch of a cell is kept to one bit, so that there are not states without
// end: one goroutine waits at a cell, and no two waits of it overlap.
type rwmutex struct {
	Model
	setup RWMutexSetup

	word, gate          Addr
	counts, owner       []Addr // of each cell
	waits, nudged       []Addr // of each process: it waits to read; its agent is nudged
	drains, drainNudged []Addr // … a writer of it sleeps, at that cell
	cancelled           []Addr

	writer, upgradable, died Addr // ghosts: who is inside, and whether a writer died there
	reads                    []Addr
}

const rwGeneration = 1

// NewRWMutex makes the model.
func NewRWMutex(setup RWMutexSetup) *Model {
	x := &rwmutex{setup: setup}
	m := &x.Model
	m.Name = "rwmutex: " + setup.Name
	n := setup.Processes
	for k := range n {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	if setup.Ticks {
		for k := range n {
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	x.word, x.gate = m.ownerWord("word"), m.ownerWord("gate")
	x.counts, x.owner = m.words(n, "counts of cell %d"), m.words(n, "owner of cell %d")
	x.waits, x.nudged = m.words(n, "process %d waits to read"), m.words(n, "nudged reader of process %d")
	x.drains, x.drainNudged = m.words(n, "process %d drains cell"), m.words(n, "nudged writer of process %d")
	x.writer, x.upgradable, x.died = m.word("who writes"), m.word("who holds upgradably"), m.word("a writer died inside")
	x.reads = m.words(n, "process %d reads")
	if setup.Cancels {
		x.cancelled = m.words(n, "cancelled: user %d")
		for k := range n {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[k].Name, func(s *State) bool { return x.cancel(s, k) }})
		}
	}
	m.Init = func(s *State) {
		s.Mem[x.word] = uint64(robust.Free(rwGeneration))
		for k := range n {
			s.Mem[x.counts[k]] = uint64(words.Counts(0).Opened())
			s.Mem[x.owner[k]] = uint64(k + 1)
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = x.killed
	m.Spurious = true
	m.Goal = m.AllIdle
	return m
}

func (x *rwmutex) process(p *P) int { return x.Actors[p.Self].Process }

func (x *rwmutex) self(p *P) robust.Word { return selfOf(x.process(p)) }

func (x *rwmutex) cell(p *P, k int) words.Counts { return words.Counts(p.Load(x.counts[k])) }

func (x *rwmutex) swap(p *P, k int, old, new words.Counts) bool {
	return p.CAS(x.counts[k], uint64(old), uint64(new))
}

func (x *rwmutex) add(p *P, k int, d words.Counts) words.Counts {
	return words.Counts(p.Add(x.counts[k], uint64(d)))
}

func (x *rwmutex) killed(s *State, k int) {
	for _, at := range [][]Addr{x.waits, x.nudged, x.drains, x.drainNudged, x.reads, x.cancelled} {
		if at != nil {
			s.Mem[at[k]] = 0
		}
	}
	if s.Mem[x.writer] == uint64(k+1) {
		s.Mem[x.writer], s.Mem[x.died] = 0, 1
	}
	if s.Mem[x.upgradable] == uint64(k+1) {
		s.Mem[x.upgradable] = 0
	}
}

func (x *rwmutex) cancel(s *State, k int) bool {
	if s.Mem[x.waits[k]]|s.Mem[x.drains[k]] == 0 || s.Mem[x.cancelled[k]] != 0 {
		return false
	}
	s.Mem[x.cancelled[k]] = 1
	x.nudge(s, k)
	return true
}

// nudge makes whoever of the process sleeps look again.
func (x *rwmutex) nudge(s *State, k int) {
	if s.Mem[x.waits[k]] != 0 {
		s.Mem[x.nudged[k]] = 1
		s.WakeAll(x.nudged[k])
	}
	if s.Mem[x.drains[k]] != 0 {
		s.Mem[x.drainNudged[k]] = 1
		s.WakeAll(x.drainNudged[k])
	}
}

func (x *rwmutex) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(m))) }) != 0
}

func (x *rwmutex) stopped(p *P) bool {
	return x.setup.Cancels && p.Do("looks whether to give up", func(s *State) uint64 { return s.Mem[x.cancelled[x.process(p)]] }) != 0
}

func (x *rwmutex) over(p *P) {
	p.Ghost(func(s *State) {
		k := x.process(p)
		s.Mem[x.waits[k]], s.Mem[x.nudged[k]] = 0, 0
		if x.cancelled != nil {
			s.Mem[x.cancelled[k]] = 0
		}
	})
}

// What the ghosts know. Each change is in the step of the access before it.

func (x *rwmutex) told(p *P, s *State) {
	if s.Mem[x.died] != 0 && !robust.Word(s.Mem[x.word]).Has(robust.Abandoned) {
		p.Fail("process %d is not told that a writer died inside", x.process(p)+1)
	}
}

func (x *rwmutex) entersReading(p *P) {
	p.Ghost(func(s *State) {
		if w := s.Mem[x.writer]; w != 0 {
			p.Fail("process %d reads while process %d writes", x.process(p)+1, w)
		}
		x.told(p, s)
		s.Mem[x.reads[x.process(p)]] = 1
	})
}

func (x *rwmutex) entersWriting(p *P) {
	p.Ghost(func(s *State) {
		for k, at := range x.reads {
			if s.Mem[at] != 0 {
				p.Fail("process %d writes while process %d reads", x.process(p)+1, k+1)
			}
		}
		if w := s.Mem[x.writer] | s.Mem[x.upgradable]; w != 0 && w != uint64(x.process(p)+1) {
			p.Fail("process %d writes while process %d holds the lock", x.process(p)+1, w)
		}
		x.told(p, s)
		s.Mem[x.upgradable], s.Mem[x.writer] = 0, uint64(x.process(p)+1)
	})
}

func (x *rwmutex) entersUpgradably(p *P) {
	p.Ghost(func(s *State) {
		if w := s.Mem[x.writer] | s.Mem[x.upgradable]; w != 0 {
			p.Fail("process %d holds upgradably while process %d holds the lock", x.process(p)+1, w)
		}
		x.told(p, s)
		s.Mem[x.upgradable] = uint64(x.process(p) + 1)
	})
}

func (x *rwmutex) leaves(p *P) {
	p.Ghost(func(s *State) { s.Mem[x.writer], s.Mem[x.upgradable] = 0, 0 })
}

// user does one of its roles after the other, for ever.
func (x *rwmutex) user(p *P) {
	call := func(f func() bool) bool { return p.Call(func() uint64 { return flag(f()) }) != 0 }
	do := func(f func(*P)) { p.Call(func() uint64 { f(p); return 0 }) }
	for top := p.Mark(); ; p.Again(top) {
		n := len(x.setup.Roles)
		role := p.Choose("role", n+int(flag(x.setup.Settle)))
		if role == n {
			do(x.settle)
			continue
		}
		switch x.setup.Roles[role] {
		case "read":
			if call(func() bool { return x.rLock(p) }) {
				do(x.rUnlock)
			}
		case "write":
			if call(func() bool { return x.lock(p) }) {
				do(x.markConsistent)
				do(x.unlock)
			}
		case "write, downgrade":
			if call(func() bool { return x.lock(p) }) {
				do(x.downgrade)
				do(x.rUnlock)
			}
		case "upgrade":
			do(x.takeWord)
			x.entersUpgradably(p)
			if call(func() bool { return x.exclude(p) }) {
				do(x.unlock)
			} else {
				do(x.uUnlock)
			}
		case "read, try upgrade":
			if call(func() bool { return x.rLock(p) }) {
				if call(func() bool { return x.tryUpgrade(p) }) {
					do(x.unlock)
				} else {
					do(x.rUnlock)
				}
			}
		}
	}
}

// granted is Granted with a short epoch.
func granted(n words.Counts) words.Counts {
	g := n.Granted()
	return g&^words.EpochMask | g.Epoch()&1
}
