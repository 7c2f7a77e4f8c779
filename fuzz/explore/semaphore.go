package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// SemaphoreSetup is a situation, and for tests a broken protocol.
type SemaphoreSetup struct {
	Name      string
	Processes int
	Tickets   int
	Most      int // that one acquires at once
	Deaths    int
	Ticks     bool
	Cancels   bool
	Settle    bool
	Sizes     []int // that it is given, by each
	Waits     bool  // until the tickets beyond the new size are back
	Destroys  bool
	Last      uint32 // incarnation; 1 if 0
	Break     string
}

// semaphore mirrors arena/hall.go, holding.go, grant.go, desk.go, request.go,
// reap.go and mend.go: one semaphore, one goroutine a process that acquires and
// releases, and its ticker; and capacity.go, incarnation.go and ending.go where
// it changes its size, is destroyed and made anew. How one waits for the latch
// is left out, for that is the mutex's model.
//
// A record of tickets has one ticket. Those that are in the chain are counted:
// one that was made and is not in it has a word that is not 0 behind them.
//
// A bell is 1 if it was rung since its owner last loaded it: one goroutine
// sleeps at it, so that is all that its count can tell.
type semaphore struct {
	Model
	setup SemaphoreSetup

	latch, state, queue    Addr
	ticket                 []Addr
	owner, next, count     []Addr // of each request
	arrival, mode          []Addr
	made, born             Addr   // tickets in the chain; the last incarnation
	bell, nudged, waits    []Addr // of each process
	cancelled, holds, rung []Addr // of each actor; holds is its Tickets, rung its desk's
}

const semaphoreGeneration = 1

// NewSemaphore makes the model.
func NewSemaphore(setup SemaphoreSetup) *Model {
	x := &semaphore{setup: setup}
	m := &x.Model
	m.Name = "semaphore: " + setup.Name
	n := setup.Processes
	for k := range n {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	if setup.Ticks {
		for k := range n {
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	x.latch, x.state, x.queue = m.ownerWord("latch"), m.word("state"), m.word("queue")
	x.ticket = m.words(setup.Tickets, "ticket %d")
	requests := n + int(flag(setup.Cancels)) // one that is withdrawn may still be queued
	if x.changes() {
		x.made, x.born, x.mode = m.word("tickets in the chain"), m.word("last incarnation"), m.words(requests, "mode of request %d")
	}
	x.owner, x.next = m.words(requests, "owner of request %d"), m.words(requests, "next of request %d")
	x.count, x.arrival = m.words(requests, "count of request %d"), m.words(requests, "arrival of request %d")
	x.bell, x.nudged, x.waits = m.words(n, "bell of process %d"), m.words(n, "nudged of process %d"), m.words(n, "process %d waits")
	x.holds, x.rung = m.words(n, "held by user %d"), m.words(len(m.Actors), "rung by actor %d")
	if setup.Cancels {
		x.cancelled = m.words(n, "cancelled: user %d")
		for k := range n {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[k].Name, func(s *State) bool { return x.cancel(s, k) }})
		}
	}
	m.Init = func(s *State) {
		s.Mem[x.latch] = uint64(robust.Free(semaphoreGeneration))
		size := setup.Tickets
		if x.changes() {
			size = setup.Most
			s.Mem[x.made], s.Mem[x.born] = uint64(size), 1
		}
		st := words.NewTickets(1, size)
		s.Mem[x.state] = uint64(st)
		for _, at := range x.ticket[:size] {
			s.Mem[at] = uint64(st.Free())
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = func(s *State, k int) {
		s.Mem[x.nudged[k]], s.Mem[x.waits[k]], s.Mem[x.holds[k]], s.Mem[x.bell[k]] = 0, 0, 0, 0
		if x.cancelled != nil {
			s.Mem[x.cancelled[k]] = 0
		}
		for i, t := range m.Actors {
			if t.Process == k {
				s.Mem[x.rung[i]] = 0
			}
		}
	}
	if setup.Deaths == 0 {
		m.latched = map[Addr]bool{x.queue: true}
		for i := range requests {
			m.latched[x.next[i]], m.latched[x.count[i]] = true, true
			if x.changes() {
				m.latched[x.mode[i]] = true
			}
		}
	}
	m.Spurious = true
	m.Check = x.check
	m.Goal = m.AllIdle
	return m
}

// changes tells whether it does not stay as it is.
func (x *semaphore) changes() bool { return len(x.setup.Sizes) > 0 || x.setup.Destroys }

func (x *semaphore) process(p *P) int { return x.Actors[p.Self].Process }

func (x *semaphore) self(p *P) robust.Word { return selfOf(x.process(p)) }

func (x *semaphore) has(p *P, flags words.Tickets) bool {
	return p.Call(func() uint64 { return flag(x.load(p).Has(flags)) }) != 0
}

func (x *semaphore) load(p *P) words.Tickets { return words.Tickets(p.Load(x.state)) }

func (x *semaphore) dead(s *State, m robust.Member) bool { return x.ProcessDead(s, processOf(m)) }

// check looks for a ticket that was taken from the living.
func (x *semaphore) check(s *State) string {
	for k := range x.setup.Processes {
		for t := range x.setup.Tickets {
			if s.Mem[x.holds[k]]>>t&1 != 0 && s.Mem[x.ticket[t]] != uint64(selfOf(k)) {
				return fmt.Sprintf("ticket %d was taken from process %d, which lives", t, k+1)
			}
		}
	}
	if w := robust.Word(s.Mem[x.latch]); w.IsFree() && !w.Has(robust.Abandoned) {
		return x.checkWhole(s)
	}
	return ""
}

// checkWhole looks at what the latch guards while nobody holds it.
func (x *semaphore) checkWhole(s *State) string {
	queued := make([]bool, len(x.owner))
	for i := s.Mem[x.queue]; i != 0; i = s.Mem[x.next[i-1]] {
		if queued[i-1] {
			return "the queue runs in a circle"
		}
		queued[i-1] = true
	}
	for i, at := range x.owner {
		if words.KindOf(s.Mem[at]) == words.Wanted && !queued[i] {
			return fmt.Sprintf("request %d waits and is not in the queue", i+1)
		}
	}
	for t, at := range x.ticket {
		w := words.Ticket(s.Mem[at])
		i := w.Request()
		if m, _ := w.Owner(); i != 0 && !x.dead(s, m) && s.Mem[x.owner[i-1]] != words.OwnerOf(m, words.Granted) {
			return fmt.Sprintf("ticket %d is given to a request that was not granted", t)
		}
	}
	if !x.changes() {
		return ""
	}
	st := words.Tickets(s.Mem[x.state])
	for t, at := range x.ticket {
		switch there := t < int(s.Mem[x.made]); {
		case st.Exists() && there && s.Mem[at] == 0:
			return fmt.Sprintf("ticket %d is closed, and the semaphore is not destroyed", t)
		case st.Exists() && t < st.Capacity() && !there:
			return fmt.Sprintf("ticket %d is missing", t)
		case !st.Exists() && s.Mem[at] != 0:
			return fmt.Sprintf("ticket %d is left of a semaphore that is gone", t)
		}
	}
	return ""
}

func (x *semaphore) cancel(s *State, k int) bool {
	if s.Mem[x.waits[k]] == 0 || s.Mem[x.cancelled[k]] != 0 {
		return false
	}
	s.Mem[x.cancelled[k]] = 1
	x.nudge(s, k)
	return true
}

func (x *semaphore) nudge(s *State, k int) {
	s.Mem[x.nudged[k]] = 1
	s.WakeAll(x.nudged[k])
}

func (x *semaphore) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.dead(s, m)) }) != 0
}

// user acquires and releases, settles, resizes, or destroys.
func (x *semaphore) user(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		n := p.Choose("how many, settle, resize, destroy", x.setup.Most+int(flag(x.setup.Settle))+len(x.setup.Sizes)+int(flag(x.setup.Destroys))) + 1
		if n <= x.setup.Most {
			x.use(p, n)
			continue
		}
		if n -= x.setup.Most + 1; x.setup.Settle {
			if n == 0 {
				p.Call(func() uint64 { x.settle(p); return 0 })
				continue
			}
			n--
		}
		if n < len(x.setup.Sizes) {
			p.Call(func() uint64 { x.resize(p, x.setup.Sizes[n]); return 0 })
		} else {
			p.Call(func() uint64 { x.destroy(p); return 0 })
		}
		p.Do("is done", func(*State) uint64 { return 0 })
	}
}

func (x *semaphore) use(p *P, n int) {
	j := x.join(p, true)
	if j.incarnation == 0 {
		return
	}
	if p.Call(func() uint64 {
		return flag(n == 1 && p.Call(func() uint64 { return flag(x.takeOne(p, j)) }) != 0 || x.acquire(p, n, j))
	}) != 0 {
		p.Call(func() uint64 { x.release(p, j); return 0 })
	}
}

func casIn(s *State, at Addr, old, new uint64) bool {
	if s.Mem[at] != old {
		return false
	}
	s.Mem[at] = new
	return true
}
