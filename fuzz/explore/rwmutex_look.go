package explore

import (
	"lockd/robust"
)

// The steps of the looks of a reading and a draining, and of a settler.

// ticker is the look of a reading and of a draining.
func (x *rwmutex) ticker(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		p.Await("ticks", func(s *State) bool { return s.Mem[x.waits[k]]|s.Mem[x.drains[k]] != 0 },
			func(s *State) uint64 { x.nudge(s, k); return 0 })
	}
}

// settle gives back what the dead left: the word, then the cells.
func (x *rwmutex) settle(p *P) {
	w := robust.Word(p.Await("settles", func(s *State) bool {
		if w := robust.Word(s.Mem[x.word]); !w.IsFree() && x.ProcessDead(s, processOf(w.Owner())) {
			return true
		}
		for k, at := range x.owner {
			if s.Mem[at] != 0 && x.ProcessDead(s, k) {
				return true
			}
		}
		return false
	}, func(s *State) uint64 { return s.Mem[x.word] }))
	if !w.IsFree() && x.gone(p, w.Owner()) && x.seize(p, w) {
		p.Call(func() uint64 { x.letGo(p); return 0 })
	}
	for k, at := range x.owner {
		p.Call(func() uint64 {
			owner := p.Load(at)
			if owner != 0 && x.gone(p, memberOf(k)) {
				x.bury(p, k, owner, true)
				p.CAS(at, owner, 0)
			}
			return 0
		})
	}
}
