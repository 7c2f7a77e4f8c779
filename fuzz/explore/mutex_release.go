package explore

import (
	"lockd/robust"
)

// The steps of arena/release.go.

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
	if x.wakeDozing(p, w) {
		return
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
