package explore

import (
	"lockd/robust"
)

// The steps of the ticker's look and of a settler.

// ticker looks at its process's queue from time to time: the ticker's look.
func (x *mutex) ticker(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		p.Await("ticks", func(s *State) bool { return s.Mem[x.agent[k]]|s.Mem[x.list[k]] != 0 },
			func(s *State) uint64 { s.Mem[x.dozing[k]] = flag(x.setup.Doze); return 0 })
		w := p.Word(x.word)
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
		case x.setup.Doze && p.Choose("has waited long", 2) == 1 && x.addFlags(p, w, robust.Dozing):
			if x.doze(p, k, w) {
				nudge()
			}
		}
		x.awaken(p, k)
	}
}

// doze ends when the owner's death is told, or a sleeper of this process stirs.
// The ticks that there are besides are left out.
func (x *mutex) doze(p *P, k int, w robust.Word) (dead bool) {
	return p.Await("dozes", func(s *State) bool {
		return s.Mem[x.stirred[k]] != 0 || x.ProcessDead(s, processOf(w.Owner()))
	}, func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(w.Owner()))) }) != 0
}

// awaken is the end of a tick.
func (x *mutex) awaken(p *P, k int) {
	if x.setup.Doze {
		p.Do("has ticked", func(s *State) uint64 { s.Mem[x.dozing[k]], s.Mem[x.stirred[k]] = 0, 0; return 0 })
	}
}

func (x *mutex) wakeDozing(p *P, w robust.Word) bool {
	if !w.Has(robust.Dozing) || x.setup.Break == "one who dozes is woken" {
		return false
	}
	p.WakeAll(x.word)
	return true
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
