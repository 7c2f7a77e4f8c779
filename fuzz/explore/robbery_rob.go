package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/robbery.go, of evict in claim.go, and of settle.go.

// robber robs, so often.
func (x *robbery) robber(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		if int(p.Peek(x.left[k])) == x.setup.Robs {
			return
		}
		p.Call(func() uint64 { x.rob(p); return 0 })
		p.Do("is done", func(s *State) uint64 { s.Mem[x.left[k]]++; return 0 })
	}
}

func (x *robbery) rob(p *P) {
	me := memberOf(x.process(p))
	spare := words.OwnerOf(me, recordSpare)
	r := int(p.Await("claims a record", func(s *State) bool { return x.freeRecord(s) >= 0 }, func(s *State) uint64 {
		r := x.freeRecord(s)
		s.Mem[x.owner[r]] = spare
		return uint64(r)
	}))
	x.latchStripe(p)
	p.Call(func() uint64 { x.robLatched(p, r); return 0 })
	p.Store(x.latch, 0)
	p.CAS(x.owner[r], spare, 0)
}

func (x *robbery) freeRecord(s *State) int {
	for i, at := range x.owner {
		if s.Mem[at] == 0 {
			return i
		}
	}
	return -1
}

func (x *robbery) robLatched(p *P, r int) {
	if x.walkLatched(p) == 0 {
		return
	}
	w := p.Word(x.word)
	if w.IsFree() || w.SameHolding(x.self(p)) || x.gone(p, w.Owner()) {
		return
	}
	x.robOwner(p, r, w)
}

func (x *robbery) robOwner(p *P, r int, w robust.Word) {
	victim := w.Owner()
	p.Store(x.victim[r], words.OwnerOf(victim, 0))
	planned := words.OwnerOf(memberOf(x.process(p)), recordRobbery)
	p.Store(x.owner[r], planned)
	p.Store(x.state, hasRobberies)
	life := x.lifeOf(p)
	aged := words.LiveLife(life.Generation()+1, 1, 1)
	if x.setup.Break != "the slot stays in its generation" {
		p.Store(x.life, uint64(aged))
	} else {
		aged = life
	}
	if p.Call(func() uint64 {
		for top, w := p.Mark(), uint64(w); ; p.Again(top, w) {
			w = p.Var(w)
			if p.CAS(x.word, w, uint64(robust.Word(w).Reclaimed(x.self(p)))) {
				x.took(p)
				return 1
			}
			holding := robust.Word(w)
			if w = p.Load(x.word); !robust.Word(w).SameHolding(holding) {
				return 0
			}
		}
	}) == 0 {
		p.CAS(x.owner[r], planned, 0)
		x.bringUp(p, aged)
		return
	}
	if x.setup.Break != "the robber tells nobody" {
		x.handOver(p, r, planned, victim)
	}
	x.letGo(p)
}

// took is when the lock is taken from its owner.
func (x *robbery) took(p *P) {
	p.Ghost(func(s *State) {
		if h := s.Mem[x.holder]; h != 0 {
			s.Mem[x.robbed] |= 1 << (h - 1)
			s.Mem[x.half] = 1
		}
		s.Mem[x.holder] = 0
	})
}

func (x *robbery) handOver(p *P, r int, planned uint64, victim robust.Member) {
	theirs := words.OwnerOf(victim, recordRobbery)
	if !p.CAS(x.owner[r], planned, theirs) {
		return
	}
	if p.Load(x.entry[processOf(victim)]) == 0 && x.setup.Break != "hands over to who was settled" {
		p.CAS(x.owner[r], theirs, 0)
	}
}

// victimOf is whom a record says to be robbed, and its owner word.
func (x *robbery) victimOf(p *P, r int) (victim robust.Member, owner uint64) {
	v, owner := p.Call2(func() (uint64, uint64) {
		owner := p.Load(x.owner[r])
		if words.KindOf(owner) != recordRobbery {
			return 0, 0
		}
		return p.Load(x.victim[r]), owner
	})
	return words.MemberOf(v), owner
}

// passRobberies hands over what a robber who is gone had taken.
func (x *robbery) passRobberies(p *P, robber robust.Member) {
	if x.setup.Break == "the heir of a robber passes nothing on" {
		return
	}
	p.Call(func() uint64 {
		if p.Load(x.state) != hasRobberies {
			return 0
		}
		for r := range x.owner {
			p.Call(func() uint64 {
				victim, owner := x.victimOf(p, r)
				if owner != 0 && victim != robber && words.MemberOf(p.Load(x.owner[r])) == robber {
					x.handOver(p, r, words.OwnerOf(robber, recordRobbery), victim)
				}
				return 0
			})
		}
		return 0
	})
}

// robbedOf is a record that says that somebody in this process was robbed, or
// may just be about to be; -1: there is none.
func (x *robbery) robbedOf(p *P) int {
	return int(p.Call(func() uint64 {
		if p.Load(x.state) != hasRobberies {
			return 0
		}
		for r := range x.owner {
			if victim, _ := x.victimOf(p, r); victim == memberOf(x.process(p)) {
				return uint64(r + 1)
			}
		}
		return 0
	})) - 1
}

// noticeRobbery is consumeRobbery: what the robbed is told, once.
func (x *robbery) noticeRobbery(p *P) bool {
	for top := p.Mark(); ; p.Again(top) {
		r := x.robbedOf(p)
		if r < 0 {
			return false
		}
		owner := p.Load(x.owner[r])
		if victim, _ := x.victimOf(p, r); victim == memberOf(x.process(p)) && p.CAS(x.owner[r], owner, 0) {
			return true
		}
	}
}

// evictor takes the name out of its slot, if that is idle.
func (x *robbery) evictor(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		if int(p.Peek(x.left[k])) == x.setup.Evictions {
			return
		}
		p.Call(func() uint64 { x.evict(p); return 0 })
		p.Do("is done", func(s *State) uint64 { s.Mem[x.left[k]]++; return 0 })
	}
}

func (x *robbery) evict(p *P) {
	life := x.lifeOf(p)
	if life.Phase() != words.Live || p.Word(x.word) != robust.Free(life.Generation()) {
		return
	}
	x.latchStripe(p)
	p.Call(func() uint64 {
		x.forgetRobberies(p)
		free := robust.Free(life.Generation())
		if x.lifeOf(p) != life || p.Load(x.state) != 0 && x.setup.Break != "a slot with robberies is evicted" ||
			!p.CAS(x.word, uint64(free), uint64(robust.Free(life.Generation()+1))) {
			return 0
		}
		if p.Load(x.state) != 0 && x.setup.Break != "a slot with robberies is evicted" {
			p.CAS(x.word, uint64(robust.Free(life.Generation()+1)), uint64(free))
			return 0
		}
		p.Store(x.life, words.Empty)
		return 0
	})
	p.Store(x.latch, 0)
}

func (x *robbery) forgetRobberies(p *P) {
	p.Call(func() uint64 {
		if p.Load(x.state) != hasRobberies || !p.Word(x.word).IsFree() {
			return 0
		}
		for r := range x.owner {
			if _, owner := x.victimOf(p, r); owner != 0 {
				return 0
			}
		}
		p.Store(x.state, 0)
		return 0
	})
}

// settle is a pass over the slot, the records and the latch of one of the dead.
func (x *robbery) settle(p *P) {
	dead := robust.Member{Index: uint16(p.Do("settles", func(s *State) uint64 { return uint64(x.unsettled(s)) })), Generation: 1}
	if dead.Index == 0 {
		return
	}
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if w.Owner() != dead {
				return 0
			}
			x.passRobberies(p, dead)
			if p.CAS(x.word, uint64(w), uint64(w.Reclaimed(x.self(p)))) {
				x.letGo(p)
			}
		}
	})
	for r := range x.owner {
		p.Call(func() uint64 {
			if owner := p.Load(x.owner[r]); words.MemberOf(owner) == dead {
				p.CAS(x.owner[r], owner, 0)
			}
			return 0
		})
	}
	if w := p.Word(x.latch); w.Owner() == dead && p.CAS(x.latch, uint64(w), uint64(w.Reclaimed(x.self(p)))) {
		p.Store(x.latch, uint64(robust.Abandoned))
	}
	p.CAS(x.entry[processOf(dead)], 1, 0)
}

// unsettled is one more than the first process that is dead and has its entry.
func (x *robbery) unsettled(s *State) int {
	for k, at := range x.entry {
		if s.Mem[at] != 0 && x.ProcessDead(s, k) {
			return k + 1
		}
	}
	return 0
}
