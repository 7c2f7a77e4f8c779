package explore

import (
	"lockd/robust"
)

// The steps of arena/acquire.go, and of try and reclaim in arena/reclaim.go.

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
				if x.setup.Doze {
					p.Do("stirs the ticker", func(s *State) uint64 { s.Mem[x.stirred[k]] = s.Mem[x.dozing[k]]; return 0 })
				}
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
	if !p.CAS(x.word, uint64(w), uint64(next)) {
		return false
	}
	x.wakeDozing(p, w)
	return true
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
