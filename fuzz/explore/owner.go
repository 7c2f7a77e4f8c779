package explore

// Why one word tells who holds a lock. In the broken protocol a word says that
// it is held, and a second one by whom: whoever is killed between the two holds
// it for ever, for nobody can say whose death to prove.

type owner struct {
	Model
	two          bool
	word, second Addr
	holder       Addr // ghost
}

// newOwner is a lock of two processes that spin for it, one of which may die.
func newOwner(name string, two bool) *Model {
	x := &owner{two: two}
	m := &x.Model
	m.Name = "owner: " + name
	x.word, x.second, x.holder = m.word("word"), m.word("second word"), m.word("who is inside")
	for k := range 2 {
		m.Actors = append(m.Actors, Thread{Name: []string{"user 1", "user 2"}[k], Process: k, Program: x.user})
	}
	m.Deaths = 1
	m.Killed = func(s *State, k int) {
		if s.Mem[x.holder] == uint64(k+1) {
			s.Mem[x.holder] = 0
		}
	}
	m.Goal = m.AllIdle
	return m
}

func (x *owner) user(p *P) {
	me := uint64(p.Self + 1)
	for top := p.Mark(); ; p.Again(top) {
		p.Choose("locks", 1) // from here on it is not idle
		p.Call(func() uint64 { x.lock(p, me); return 0 })
		p.Call(func() uint64 { x.unlock(p, me); return 0 })
	}
}

func (x *owner) lock(p *P, me uint64) {
	for top := p.Mark(); ; p.Again(top) {
		word, free, taken := x.word, uint64(0), me
		if x.two {
			taken = 1
		}
		if p.CAS(word, free, taken) {
			x.entered(p, me)
			if x.two {
				p.Store(x.second, me)
			}
			return
		}
		if x.two {
			word = x.second
		}
		was := p.Load(word)
		if was == 0 || was == me || p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, int(was-1))) }) == 0 {
			continue
		}
		if p.CAS(word, was, me) {
			x.entered(p, me)
			return
		}
	}
}

func (x *owner) entered(p *P, me uint64) {
	p.Ghost(func(s *State) {
		if s.Mem[x.holder] != 0 {
			p.Fail("two are inside")
		}
		s.Mem[x.holder] = me
	})
}

func (x *owner) unlock(p *P, me uint64) {
	out := func() { p.Ghost(func(s *State) { s.Mem[x.holder] = 0 }) }
	if x.two {
		p.Store(x.second, 0)
		out()
		p.Store(x.word, 0)
		return
	}
	p.CAS(x.word, me, 0)
	out()
}

func ownerVariants() []Variant {
	const what = "the owner in a second word"
	return []Variant{{"owner", what, newOwner(what, true), newOwner("in the word", false)}}
}
