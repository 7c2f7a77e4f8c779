package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/desk.go.

// latched waits for the latch.
func (x *semaphore) latched(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the latch", func(s *State) bool {
				w := robust.Word(s.Mem[x.latch])
				return w.IsFree() || x.dead(s, w.Owner())
			}, func(s *State) uint64 { return s.Mem[x.latch] }))
			next := w.Taken(x.self(p))
			if !w.IsFree() {
				next = w.Reclaimed(x.self(p))
			}
			if p.CAS(x.latch, uint64(w), uint64(next)) {
				return 0
			}
		}
	})
}

func (x *semaphore) tryQueue(p *P) bool {
	return p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.latch)
			switch {
			case w.IsFree():
				if p.CAS(x.latch, uint64(w), uint64(w.Barged(x.self(p)))) {
					return 1
				}
				continue
			case w.SameHolding(x.self(p)) || !x.gone(p, w.Owner()):
				return 0
			}
			return flag(p.CAS(x.latch, uint64(w), uint64(w.Reclaimed(x.self(p)))))
		}
	}) != 0
}

// afterwards is the end of desk.work: the latch goes free, and whoever asked to
// look is answered.
func (x *semaphore) afterwards(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			x.unlatch(p)
			if !x.has(p, words.Look) || !x.tryQueue(p) {
				break
			}
			p.Call(func() uint64 {
				x.mendIfAbandoned(p)
				x.pass(p, x.has(p, words.Ending))
				return 0
			})
		}
		x.ring(p)
		return 0
	})
}

func (x *semaphore) unlatch(p *P) {
	free := uint64(robust.Free(semaphoreGeneration))
	if !p.CAS(x.latch, uint64(x.self(p)), free) {
		p.Fail("the latch was taken from process %d, which lives", x.process(p)+1)
	}
}

func (x *semaphore) serve(p *P, full bool) {
	p.Call(func() uint64 {
		if !x.tryQueue(p) {
			if x.setup.Break == "a busy latch is not asked to look" {
				return 0
			}
			x.askToLook(p)
			if !x.tryQueue(p) {
				return 0
			}
		}
		p.Call(func() uint64 {
			x.mendIfAbandoned(p)
			x.pass(p, full)
			return 0
		})
		x.afterwards(p)
		return 0
	})
}

func (x *semaphore) askToLook(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			st := x.load(p)
			if !st.Exists() || st.Has(words.Look) || p.CAS(x.state, uint64(st), uint64(st|words.Look)) {
				return 0
			}
		}
	})
}

func (x *semaphore) change(p *P, set, clear words.Tickets) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			st := x.load(p)
			next := st&^clear | set
			if !st.Exists() || next == st || p.CAS(x.state, uint64(st), uint64(next)) {
				return 0
			}
		}
	})
}

func (x *semaphore) mendIfAbandoned(p *P) {
	if x.setup.Deaths == 0 {
		return
	}
	p.Call(func() uint64 {
		if !p.Word(x.latch).Has(robust.Abandoned) {
			return 0
		}
		if x.setup.Break != "no mending after a death" {
			x.mend(p)
		}
		p.Call(func() uint64 {
			for top := p.Mark(); ; p.Again(top) {
				w := p.Word(x.latch)
				if p.CAS(x.latch, uint64(w), uint64(w&^robust.Abandoned)) {
					return 0
				}
			}
		})
		x.pass(p, true)
		return 0
	})
}

// eachRequest calls f with the requests in the queue: the link that leads to
// it, its number, and what f said last. f says whether to go on.
func (x *semaphore) eachRequest(p *P, first uint64, f func(link Addr, i int, v uint64) (uint64, bool)) uint64 {
	return p.Call(func() uint64 {
		for top, link, v := p.Mark(), uint64(x.queue), first; ; p.Again(top, link, v) {
			link, v = p.Var(link), p.Var(v)
			i := int(p.Load(Addr(link))) - 1
			if i < 0 {
				return v
			}
			if k := words.KindOf(p.Load(x.owner[i])); k != words.Wanted && k != words.Withdrawn {
				p.Fail("request %d is in the queue, and is none", i+1)
				return v
			}
			var more bool
			if v, more = f(Addr(link), i, v); !more {
				return v
			}
			if int(p.Load(Addr(link)))-1 == i {
				link = uint64(x.next[i])
			}
		}
	})
}

// answer takes a request out of the queue and says so to its owner.
func (x *semaphore) answer(p *P, link Addr, i int, owner uint64, kind words.Kind) bool {
	return p.Call(func() uint64 {
		m := words.MemberOf(owner)
		if x.setup.Break == "granted before it is out of the queue" {
			if !p.CAS(x.owner[i], owner, words.OwnerOf(m, kind)) {
				return 0
			}
			p.Store(link, p.Load(x.next[i]))
		} else {
			p.Store(link, p.Load(x.next[i]))
			if !p.CAS(x.owner[i], owner, words.OwnerOf(m, kind)) {
				p.CAS(x.owner[i], uint64(words.Withdrawn), 0)
				return 0
			}
		}
		p.Ghost(func(s *State) {
			s.Mem[x.rung[p.Self]] |= 1 << processOf(m)
			if x.changes() && kind == words.Granted && s.Mem[x.mode[i]] == wantBack {
				x.checkBack(p, s, int(s.Mem[x.count[i]]))
			}
		})
		return 1
	}) != 0
}

// checkBack looks whether no ticket is held from a number on.
func (x *semaphore) checkBack(p *P, s *State, from int) {
	for k, at := range x.holds {
		if s.Mem[at]>>from != 0 {
			p.Fail("the tickets from %d on are said to be back, and process %d holds one", from, k+1)
		}
	}
}

func (x *semaphore) enqueue(p *P, i, n int, mode uint64, flags words.Tickets) {
	p.Call(func() uint64 {
		p.Store(x.count[i], uint64(n))
		if x.changes() {
			p.Store(x.mode[i], mode)
		}
		p.Store(x.next[i], 0)
		p.Do("arrives", func(s *State) uint64 { return x.arrive(s, i) })
		if x.setup.Break != "queues before it says so" {
			x.change(p, flags, 0)
		}
		p.Store(x.owner[i], words.OwnerOf(memberOf(x.process(p)), words.Wanted))
		end := x.eachRequest(p, uint64(x.queue), func(_ Addr, last int, _ uint64) (uint64, bool) { return uint64(x.next[last]), true })
		p.Store(Addr(end), uint64(i+1))
		return 0
	})
}

// arrive draws from the slot's fence. Only the order matters, so the numbers
// of those that are queued are made small again.
func (x *semaphore) arrive(s *State, i int) uint64 {
	s.Mem[x.arrival[i]] = 0
	rank := uint64(1)
	for _, at := range x.ranked(s) {
		s.Mem[at] = rank
		rank++
	}
	s.Mem[x.arrival[i]] = rank
	return rank
}

// ranked are the arrivals of queued requests, in order; of others, they are 0.
func (x *semaphore) ranked(s *State) (all []Addr) {
	for n := uint64(1); n < 8; n++ {
		for i, at := range x.arrival {
			if s.Mem[at] != n {
				continue
			}
			if k := words.KindOf(s.Mem[x.owner[i]]); k == words.Wanted || k == words.Withdrawn {
				all = append(all, at)
			} else {
				s.Mem[at] = 0
			}
		}
	}
	return all
}

// ring tells the owners of answered requests.
func (x *semaphore) ring(p *P) {
	p.Call(func() uint64 {
		for k := range x.setup.Processes {
			if p.Do("rings", func(s *State) uint64 {
				if s.Mem[x.rung[p.Self]]>>k&1 == 0 {
					return 0
				}
				s.Mem[x.rung[p.Self]] &^= 1 << k
				if k == x.process(p) {
					if s.Mem[x.waits[k]] != 0 {
						x.nudge(s, k)
					}
					return 0
				}
				s.Mem[x.bell[k]] = flag(!x.dead(s, memberOf(k)))
				return 1
			}) != 0 {
				p.WakeAll(x.bell[k])
			}
		}
		return 0
	})
}
