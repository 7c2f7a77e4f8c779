package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/table.go.

func (x *names) lookup(p *P, name int) nameBinding {
	if b := nameBinding(p.Call(func() uint64 { return uint64(x.walk(p, name)) })); b != 0 {
		return b
	}
	return x.insert(p, name)
}

func (x *names) walk(p *P, name int) nameBinding {
	i := int(p.Load(x.head)) - 1
	for steps := 0; i >= 0 && steps <= x.setup.Slots; steps++ {
		generation := uint32(p.Call(func() uint64 { return uint64(x.match(p, i, name)) }))
		if generation != 0 {
			return bindingTo(i, generation)
		}
		i = int(p.Load(x.next[i])) - 1
	}
	return 0
}

// match returns the generation that the name is in the slot in, or 0.
func (x *names) match(p *P, i, name int) uint32 {
	life := x.lifeOf(p, i)
	if p.Load(x.hash[i]) != uint64(name+1) || !life.IsLock() {
		return 0
	}
	if x.setup.Break != "look-up believes a slot that is being evicted" && words.Astray(p.Word(x.word[i]), life) || x.lifeOf(p, i) != life {
		return 0
	}
	return life.Generation()
}

// insert claims a slot, and puts the name into it unless it is there by now.
func (x *names) insert(p *P, name int) nameBinding {
	i := int(p.Call(func() uint64 { return uint64(x.claim(p) + 1) })) - 1
	if i < 0 {
		return 0
	}
	b := nameBinding(p.Call(func() uint64 { return uint64(x.insertClaimed(p, name, i)) }))
	if b.slot() != i {
		p.CAS(x.life[i], uint64(words.ClaimedLife(memberOf(x.process(p)))), words.Empty)
	}
	return b
}

func (x *names) insertClaimed(p *P, name, claimed int) nameBinding {
	x.latchStripe(p)
	if x.setup.Break != "newcomer does not look again under the latch" {
		if b := nameBinding(p.Call(func() uint64 { return uint64(x.walk(p, name)) })); b != 0 {
			x.unlatch(p)
			return b
		}
	}
	generation := uint32(p.Call(func() uint64 { return uint64(x.fill(p, name, claimed)) }))
	p.Call(func() uint64 {
		p.Store(x.next[claimed], p.Load(x.head))
		p.Store(x.head, uint64(claimed+1))
		return 0
	})
	x.unlatch(p)
	return bindingTo(claimed, generation)
}

func (x *names) fill(p *P, name, i int) uint32 {
	generation := p.Word(x.word[i]).Generation() + 1
	if x.setup.Break == "reuse in the same generation" {
		generation = max(generation, 3) - 2
	}
	p.Store(x.hash[i], uint64(name+1))
	if x.setup.Break == "fences begin anew" {
		p.Store(x.fence[i], 0)
	} else {
		p.Store(x.fence[i], p.Load(x.fenceHigh))
	}
	p.Store(x.word[i], uint64(robust.Free(generation)))
	p.Store(x.life[i], uint64(words.LiveLife(generation, 1, 1)))
	return generation
}

// latchStripe takes the latch and brings the chain up to date.
func (x *names) latchStripe(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the latch", func(s *State) bool {
				w := robust.Word(s.Mem[x.latch])
				return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return s.Mem[x.latch] }))
			if x.tryLatch(p, w) {
				return 0
			}
		}
	})
}

// tryLatch takes the latch from nobody, or from a dead.
func (x *names) tryLatch(p *P, w robust.Word) bool {
	if w.IsFree() {
		if !p.CAS(x.latch, uint64(w), uint64(w.Taken(x.self(p)))) {
			return false
		}
		if w.Has(robust.Abandoned) {
			x.rebuild(p)
		}
		return true
	}
	if p.Do("judges the latch's holder", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(w.Owner()))) }) == 0 ||
		!p.CAS(x.latch, uint64(w), uint64(w.Reclaimed(x.self(p)))) {
		return false
	}
	if x.setup.Break != "no rebuild after a death" {
		x.rebuild(p)
	}
	return true
}

func (x *names) unlatch(p *P) { p.Store(x.latch, 0) }

func (x *names) unlink(p *P, i int) {
	link := x.head
	for range x.setup.Slots {
		at := int(p.Load(link)) - 1
		if at < 0 {
			return
		}
		if at == i {
			p.Store(link, p.Load(x.next[at]))
			return
		}
		link = x.next[at]
	}
}

// rebuild makes the chain anew and finishes evictions that were cut short.
func (x *names) rebuild(p *P) {
	p.Call(func() uint64 {
		p.Store(x.head, 0)
		for i := range x.setup.Slots {
			p.Call(func() uint64 {
				life := x.lifeOf(p, i)
				if !life.IsLock() {
					return 0
				}
				if w := p.Word(x.word[i]); words.Astray(w, life) && w.Generation() > life.Generation() && !w.Has(robust.Abandoned) {
					x.emptied(p, i, words.Empty)
					return 0
				}
				p.Store(x.next[i], p.Load(x.head))
				p.Store(x.head, uint64(i+1))
				return 0
			})
		}
		return 0
	})
}
