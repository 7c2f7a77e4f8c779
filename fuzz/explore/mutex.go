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
	n, goroutines := len(setup.Goroutines), 0
	for k, g := range setup.Goroutines {
		for range g {
			goroutines++
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", goroutines), Process: k, Program: x.user})
		}
	}
	x.word = m.ownerWord("word")
	x.mu, x.agent, x.list = m.words(n, "mu of process %d"), m.words(n, "agent of process %d"), m.words(n, "list of process %d")
	x.parked, x.turns, x.nudged = m.words(n, "parked in process %d"), m.words(n, "turns of process %d"), m.words(n, "nudged of process %d")
	x.signal, x.granted, x.cancelled = m.words(goroutines, "signal of user %d"), m.words(goroutines, "granted to user %d"), m.words(goroutines, "cancelled: user %d")
	x.holder, x.died = m.word("who is inside"), m.word("somebody died inside")

	if setup.Cancels {
		for i := range goroutines {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[i].Name, func(s *State) bool { return x.cancel(s, i) }})
		}
	}
	if setup.Ticks {
		for k := range n {
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	if setup.Settler {
		m.Actors = append(m.Actors, Thread{Name: "settler 1", Process: 0, Helper: true, Program: x.settler})
	}
	m.Init = func(s *State) { s.Mem[x.word] = uint64(robust.Free(mutexGeneration)) }
	m.Deaths = setup.Deaths
	m.Killed = x.killed
	m.Spurious = !setup.Quiet
	m.Goal = m.AllIdle
	return m
}

func (x *mutex) process(p *P) int      { return x.Actors[p.Self].Process }
func (x *mutex) self(p *P) robust.Word { return selfOf(x.process(p)) }

// user locks and unlocks, for ever.
func (x *mutex) user(p *P) {
	for top := p.Mark(); ; p.Again(top) {
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
	for _, at := range [][]Addr{x.mu, x.agent, x.list, x.parked, x.turns, x.nudged} {
		s.Mem[at[k]] = 0
	}
	for i, t := range x.Actors {
		if t.Process != k || t.Helper {
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

func (x *mutex) lock(p *P) outcome {
	if p.CAS(x.word, uint64(robust.Free(mutexGeneration)), uint64(x.self(p))) {
		x.entered(p)
		return taken
	}
	return x.take(p)
}

func (x *mutex) tryTake(p *P, patient bool) (outcome, robust.Word) {
	out, w := p.Call2(func() (uint64, uint64) {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			switch {
			case !w.IsFree():
				return uint64(busy), uint64(w)
			case w.Has(robust.Starved) && !patient && (x.setup.Break == "S obeyed unasked" || p.Wake(x.word)):
				return uint64(busy), uint64(w)
			}
			if p.CAS(x.word, uint64(w), uint64(w.Taken(x.self(p)))) {
				x.entered(p)
				return uint64(taken), uint64(w)
			}
		}
	})
	return outcome(out), robust.Word(w)
}

func (x *mutex) take(p *P) outcome {
	if out, _ := x.tryTake(p, false); out != busy {
		return out
	}
	return x.queueUp(p)
}

func (x *mutex) queueUp(p *P) outcome {
	k, me := x.process(p), uint64(p.Self+1)
	agent := p.Await("queues", x.unlocked(k), func(s *State) uint64 {
		if s.Mem[x.agent[k]] == 0 && s.Mem[x.list[k]] == 0 {
			s.Mem[x.agent[k]] = me
			return 1
		}
		s.Mem[x.list[k]] = pushed(s.Mem[x.list[k]], p.Self)
		return 0
	}) != 0
	if agent {
		return x.represent(p)
	}
	const (
		wait = iota
		granted
		appointed
		gaveUp
	)
	switch p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			p.Await("waits in Go", func(s *State) bool { return s.Mem[x.signal[p.Self]]|s.Mem[x.cancelled[p.Self]] != 0 },
				func(s *State) uint64 { s.Mem[x.signal[p.Self]] = 0; return 0 })
			if why := p.Await("looks why", x.unlocked(k), func(s *State) uint64 {
				switch {
				case s.Mem[x.granted[p.Self]] != 0:
					x.depart(s, k, p.Self)
					return granted
				case s.Mem[x.agent[k]] == me:
					return appointed
				case s.Mem[x.cancelled[p.Self]] != 0:
					s.Mem[x.list[k]] = removed(s.Mem[x.list[k]], p.Self)
					x.depart(s, k, p.Self)
					return gaveUp
				}
				return wait
			}); why != wait {
				if why == granted {
					x.entered(p)
				}
				return why
			}
		}
	}) {
	case granted:
		return taken
	case gaveUp:
		return busy
	}
	return x.represent(p)
}

// unlocked tells whether the mutex of a process's queue is free.
func (x *mutex) unlocked(k int) func(*State) bool {
	return func(s *State) bool { return s.Mem[x.mu[k]] == 0 }
}

// depart forgets a goroutine's wait, and the queue if it was the last's.
func (x *mutex) depart(s *State, k, i int) {
	s.Mem[x.signal[i]], s.Mem[x.granted[i]], s.Mem[x.cancelled[i]] = 0, 0, 0
	if s.Mem[x.agent[k]] == 0 && s.Mem[x.list[k]] == 0 {
		s.Mem[x.turns[k]], s.Mem[x.nudged[k]] = 0, 0
	}
}

func (x *mutex) represent(p *P) outcome {
	const (
		succeeded = iota
		resigned
		handedOver
	)
	switch p.Call(func() uint64 {
		k := x.process(p)
		for top := p.Mark(); ; p.Again(top, 1) {
			slept := p.Var(0) != 0
			nudged := p.Swap(x.nudged[k], 0) != 0
			starved := slept && p.Choose("has starved", 2) == 1
			out, word := x.tryTake(p, starved)
			if out == taken {
				return succeeded
			}
			if x.setup.Cancels && p.Do("looks whether to give up", func(s *State) uint64 { return s.Mem[x.cancelled[p.Self]] }) != 0 {
				return resigned
			}
			if word.SameHolding(x.self(p)) {
				if x.addFlags(p, word, robust.Local) && x.park(p) {
					return handedOver
				}
				continue
			}
			if !word.IsFree() && nudged && x.gone(p, word.Owner()) {
				if x.reclaim(p, word) == taken {
					return succeeded
				}
				continue
			}
			flags := robust.Waiters
			if starved {
				flags |= robust.Starved
			}
			if x.addFlags(p, word, flags) {
				p.Sleep(x.word, (word | flags).Low(), x.nudged[k])
			}
		}
	}) {
	case succeeded:
		x.succeed(p)
	case resigned:
		x.resign(p)
		return busy
	}
	return taken
}

func (x *mutex) addFlags(p *P, w, flags robust.Word) bool {
	return w.Has(flags) || p.CAS(x.word, uint64(w), uint64(w|flags))
}

func (x *mutex) park(p *P) (granted bool) {
	k := x.process(p)
	p.Await("parks", x.unlocked(k), func(s *State) uint64 { s.Mem[x.parked[k]] = 1; return 0 })
	p.Await("is parked", func(s *State) bool { return s.Mem[x.signal[p.Self]]|s.Mem[x.cancelled[p.Self]] != 0 },
		func(s *State) uint64 { s.Mem[x.signal[p.Self]] = 0; return 0 })
	granted = p.Await("is parked no more", x.unlocked(k), func(s *State) uint64 {
		granted := s.Mem[x.granted[p.Self]]
		if granted != 0 {
			x.depart(s, k, p.Self)
		} else {
			s.Mem[x.parked[k]] = 0
		}
		return granted
	}) != 0
	if granted {
		x.entered(p)
	}
	return granted
}

func (x *mutex) succeed(p *P) {
	k := x.process(p)
	if p.Await("has it", x.unlocked(k), func(s *State) uint64 {
		s.Mem[x.agent[k]] = 0
		x.depart(s, k, p.Self)
		s.Mem[x.mu[k]] = flag(s.Mem[x.list[k]] != 0)
		return s.Mem[x.mu[k]]
	}) == 0 {
		return
	}
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if !w.SameHolding(x.self(p)) {
			p.Fail("%s has lost the lock", x.Actors[p.Self].Name)
		}
		if x.setup.Break == "no L for those queued" || x.addFlags(p, w, robust.Local) {
			break
		}
	}
	p.Do("unlocks the queue", func(s *State) uint64 { s.Mem[x.mu[k]] = 0; return 0 })
}

func (x *mutex) resign(p *P) {
	k := x.process(p)
	alone := p.Await("resigns", x.unlocked(k), func(s *State) uint64 {
		s.Mem[x.agent[k]] = 0
		x.depart(s, k, p.Self)
		x.appoint(s, k)
		return flag(s.Mem[x.agent[k]] == 0)
	}) != 0
	if w := p.Word(x.word); alone && x.setup.Break != "cancelled waiter keeps the wake" && w.IsFree() && w.Has(robust.Waiters) {
		p.Wake(x.word)
	}
}

func (x *mutex) appoint(s *State, k int) {
	if l := s.Mem[x.list[k]]; s.Mem[x.agent[k]] == 0 && l != 0 {
		first := int(l&0xf) - 1
		s.Mem[x.agent[k]] = uint64(first + 1)
		s.Mem[x.list[k]] = removed(l, first)
	}
	x.signalAgent(s, k)
}

// gone is the judgement: the kernel knows who is dead.
func (x *mutex) gone(p *P, m robust.Member) bool {
	return p.Do("judges the owner", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(m))) }) != 0
}

func (x *mutex) reclaim(p *P, w robust.Word) outcome {
	if !x.seize(p, w) {
		return busy
	}
	x.entered(p)
	return taken
}

func (x *mutex) seize(p *P, w robust.Word) bool {
	next := w.Reclaimed(x.self(p))
	switch x.setup.Break {
	case "reclaim without A":
		next &^= robust.Abandoned
	case "reclaim by a store":
		p.Store(x.word, uint64(next))
		return true
	case "reclaim drops W":
		next &^= robust.Waiters
	}
	return p.CAS(x.word, uint64(w), uint64(next))
}

// tryLock is arena's try.
func (x *mutex) tryLock(p *P) outcome {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		switch {
		case w.IsFree():
			if p.CAS(x.word, uint64(w), uint64(w.Barged(x.self(p)))) {
				x.entered(p)
				return taken
			}
			continue
		case w.SameHolding(x.self(p)):
			return busy
		}
		if x.gone(p, w.Owner()) {
			return x.reclaim(p, w)
		}
		return busy
	}
}

func (x *mutex) unlock(p *P) {
	if p.CAS(x.word, uint64(x.self(p)), uint64(robust.Free(mutexGeneration))) {
		x.left(p)
		return
	}
	x.release(p)
}

func (x *mutex) release(p *P) {
	if w := robust.Word(p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if !w.SameHolding(x.self(p)) {
				p.Fail("%s releases what it does not hold", x.Actors[p.Self].Name)
			}
			if w.Has(robust.Local) && x.handOver(p, w) {
				return 0
			}
			next := w.Released(mutexGeneration)
			if x.setup.Break == "W cleared at unlock" {
				next &^= robust.Waiters
			}
			if p.CAS(x.word, uint64(w), uint64(next)) {
				x.left(p)
				return uint64(w)
			}
		}
	})); w != 0 {
		x.wakeAfter(p, w, true)
	}
}

func (x *mutex) wakeAfter(p *P, w robust.Word, turns bool) {
	local := false
	if w.Has(robust.Local) {
		local = x.signalLocal(p, turns)
	}
	if w.Has(robust.Waiters) && (!local || w.Has(robust.Starved)) {
		x.wakeOne(p)
	}
}

func (x *mutex) wakeOne(p *P) {
	if p.Wake(x.word) {
		return
	}
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if !w.IsFree() || !w.Has(robust.Waiters) {
			return
		}
		if p.CAS(x.word, uint64(w), uint64(w.Calmed())) {
			if x.setup.Break != "no second wake after W is cleared" {
				p.Wake(x.word)
			}
			return
		}
	}
}

func (x *mutex) signalLocal(p *P, turns bool) bool {
	k := x.process(p)
	return p.Await("signals its own", x.unlocked(k), func(s *State) uint64 {
		x.appoint(s, k)
		if s.Mem[x.agent[k]] == 0 {
			return 0
		}
		if s.Mem[x.turns[k]]++; !turns || s.Mem[x.turns[k]] >= turnsAtMost {
			s.Mem[x.turns[k]] = 0
			return 0
		}
		return 1
	}) != 0
}

func (x *mutex) handOver(p *P, w robust.Word) bool {
	if w.Has(robust.Starved) {
		return false
	}
	k := x.process(p)
	heir := p.Await("looks for an heir", x.unlocked(k), func(s *State) uint64 {
		heir := s.Mem[x.agent[k]]
		if heir == 0 {
			heir = s.Mem[x.list[k]] & 0xf
		} else if s.Mem[x.parked[k]] == 0 {
			return 0
		}
		s.Mem[x.mu[k]] = flag(heir != 0)
		return heir
	})
	if heir == 0 {
		return false
	}
	decline := func(why string) bool {
		p.Do(why, func(s *State) uint64 { s.Mem[x.mu[k]] = 0; return 0 })
		return false
	}
	if p.Choose("the heir has starved", 2) == 0 {
		return decline("has not waited for long")
	}
	if p.Do("counts turns", func(s *State) uint64 {
		if s.Mem[x.turns[k]]++; s.Mem[x.turns[k]] >= turnsAtMost {
			if w.Has(robust.Waiters) {
				s.Mem[x.turns[k]] = 0
				return 1
			}
			s.Mem[x.turns[k]] = turnsAtMost // more is the same
		}
		return 0
	}) != 0 {
		return decline("others come first")
	}
	if !p.CAS(x.word, uint64(w), uint64(w)) {
		p.Do("has changed", func(s *State) uint64 { s.Mem[x.turns[k]]--; return 0 })
		return decline("has changed")
	}
	p.Do("hands over", func(s *State) uint64 {
		if heir == s.Mem[x.agent[k]] {
			s.Mem[x.agent[k]], s.Mem[x.parked[k]] = 0, 0
		} else {
			s.Mem[x.list[k]] = removed(s.Mem[x.list[k]], int(heir-1))
		}
		s.Mem[x.granted[heir-1]], s.Mem[x.signal[heir-1]] = 1, 1
		s.Mem[x.mu[k]], s.Mem[x.holder] = 0, 0
		return heir
	})
	return true
}

// ticker looks at its process's queue from time to time: the ticker's look.
func (x *mutex) ticker(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		w := robust.Word(p.Await("ticks", func(s *State) bool { return s.Mem[x.agent[k]]|s.Mem[x.list[k]] != 0 },
			func(s *State) uint64 { return s.Mem[x.word] }))
		ours := w.SameHolding(x.self(p))
		const (
			there = 1 << iota
			parked
		)
		agent := p.Await("looks at the agent", x.unlocked(k), func(s *State) uint64 {
			v := flag(s.Mem[x.agent[k]] != 0) * there
			v |= flag(s.Mem[x.parked[k]] != 0) * parked
			if v&there == 0 && !(ours && w.Has(robust.Local)) {
				x.appoint(s, k)
			}
			return v
		})
		nudge := func() { p.Do("nudges", func(s *State) uint64 { x.nudge(s, k); return 0 }) }
		switch {
		case w.IsFree():
			nudge()
		case agent == 0:
		case (agent&parked != 0) != ours, !ours && !w.Has(robust.Waiters):
			nudge()
		case ours:
		case p.Choose("the word has changed", 2) == 1:
			if w.Has(robust.Waiters) && !w.Has(robust.Starved) {
				p.CAS(x.word, uint64(w), uint64(w|robust.Starved))
			}
		case x.gone(p, w.Owner()):
			nudge()
		}
	}
}

// settler is what a settler does with a slot: settleSlot, and letGo.
func (x *mutex) settler(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		w := robust.Word(p.Await("settles", func(s *State) bool {
			w := robust.Word(s.Mem[x.word])
			return !w.IsFree() && x.ProcessDead(s, processOf(w.Owner()))
		}, func(s *State) uint64 { return s.Mem[x.word] }))
		if x.seize(p, w) {
			x.letGo(p)
		}
	}
}

func (x *mutex) letGo(p *P) {
	x.wakeAfter(p, robust.Word(p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if !w.SameHolding(x.self(p)) {
				p.Fail("the settler has lost what it seized")
			}
			if p.CAS(x.word, uint64(w), uint64(w.Released(mutexGeneration))) {
				return uint64(w)
			}
		}
	})), false)
}

// A list of goroutines is one in each four bits, the first in the lowest.

func pushed(list uint64, i int) uint64 {
	for shift := 0; ; shift += 4 {
		if list>>shift&0xf == 0 {
			return list | uint64(i+1)<<shift
		}
	}
}

func removed(list uint64, i int) (rest uint64) {
	for shift := 0; list != 0; list >>= 4 {
		if g := list & 0xf; g != uint64(i+1) {
			rest |= g << shift
			shift += 4
		}
	}
	return rest
}

func inList(list uint64, i int) bool { return removed(list, i) != list }
