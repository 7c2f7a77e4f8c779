package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/table.go and stripe.go that meet a robbery.

// match returns the generation of the slot that has the name, or 0.
func (x *robbery) match(p *P) uint32 {
	return uint32(p.Call(func() uint64 {
		life := x.lifeOf(p)
		if !life.IsLock() || words.Astray(p.Word(x.word), life) || x.lifeOf(p) != life {
			return 0
		}
		return uint64(life.Generation())
	}))
}

// bind looks the name up and binds to its slot, once nobody of the process was
// robbed of it.
func (x *robbery) bind(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		g := x.match(p)
		if g == 0 {
			g = uint32(p.Call(func() uint64 { return uint64(x.insert(p)) }))
		}
		if x.setup.Break != "the robbed bind anew" && x.robbedOf(p) >= 0 {
			// awaitRobbed kicks the settler, and looks again after a while.
			p.Call(func() uint64 { x.settle(p); return 0 })
			continue
		}
		if p.Do("installs", func(s *State) uint64 {
			life := words.Life(s.Mem[x.life])
			if life.Phase() != words.Live || life.Generation() != g {
				return 0
			}
			s.Mem[x.bound[k]] = uint64(g)
			return 1
		}) != 0 {
			return
		}
	}
}

// insert looks the name up under the latch, and puts it into the slot if that
// is empty.
func (x *robbery) insert(p *P) uint32 {
	x.latchStripe(p)
	g := x.walkLatched(p)
	if g == 0 && x.lifeOf(p).Phase() == words.Empty {
		g = p.Word(x.word).Generation() + 1
		p.Store(x.state, 0)
		p.Store(x.word, uint64(robust.Free(g)))
		p.Ghost(func(s *State) { s.Mem[x.half] = 0 })
		p.Store(x.life, uint64(words.LiveLife(g, 1, 1)))
	}
	p.Store(x.latch, 0)
	return g
}

// walkLatched is catchUp, then match.
func (x *robbery) walkLatched(p *P) uint32 {
	p.Call(func() uint64 {
		life := x.lifeOf(p)
		w := p.Word(x.word)
		switch {
		case !life.IsLock() || !words.Astray(w, life):
		case w.Generation() < life.Generation():
			p.CAS(x.word, uint64(w), uint64(robust.Free(life.Generation())|w.Flags()))
		default:
			p.CAS(x.life, uint64(life), uint64(words.LiveLife(w.Generation(), 1, 1)))
		}
		return 0
	})
	return x.match(p)
}

func (x *robbery) latchStripe(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the latch", func(s *State) bool {
				w := robustWord(s, x.latch)
				return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return s.Mem[x.latch] }))
			next := w.Taken(x.self(p))
			if !w.IsFree() {
				next = w.Reclaimed(x.self(p))
			}
			if p.CAS(x.latch, uint64(w), uint64(next)) {
				if next.Has(robust.Abandoned) {
					x.rebuild(p)
				}
				return 0
			}
		}
	})
}

// rebuild finishes an eviction that was cut short, and a robbery.
func (x *robbery) rebuild(p *P) {
	p.Call(func() uint64 {
		life := x.lifeOf(p)
		if !life.IsLock() {
			return 0
		}
		w := p.Word(x.word)
		if words.Astray(w, life) && w.Generation() > life.Generation() && !w.Has(robust.Abandoned) {
			if p.Load(x.state) == 0 {
				p.Store(x.life, words.Empty)
				return 0
			}
			p.CAS(x.word, uint64(robust.Free(life.Generation()+1)), uint64(robust.Free(life.Generation())))
		}
		x.bringUp(p, life)
		return 0
	})
}

// bringUp brings a free word up to the generation of its slot's life.
func (x *robbery) bringUp(p *P, life words.Life) {
	if w := p.Word(x.word); words.Astray(w, life) && w.Generation() < life.Generation() {
		p.CAS(x.word, uint64(w), uint64(robust.Free(life.Generation())|w.Flags()))
	}
}
