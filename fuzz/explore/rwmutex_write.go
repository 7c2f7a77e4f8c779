package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/writer.go and rwholding.go.

// takeWord takes the owner word, which is the upgradable lock.
func (x *rwmutex) takeWord(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the word", func(s *State) bool {
				w := robust.Word(s.Mem[x.word])
				return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return s.Mem[x.word] }))
			if w.IsFree() && p.CAS(x.word, uint64(w), uint64(w.Taken(x.self(p)))) {
				return 0
			}
			if !w.IsFree() && x.seize(p, w) {
				return 0
			}
		}
	})
	x.reopen(p)
}

func (x *rwmutex) tryWord(p *P) bool {
	if p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			switch {
			case !w.IsFree():
				return flag(x.gone(p, w.Owner()) && x.seize(p, w))
			case p.CAS(x.word, uint64(w), uint64(w.Barged(x.self(p)))):
				return 1
			}
		}
	}) == 0 {
		return false
	}
	x.reopen(p)
	return true
}

// seize takes over the word of a dead. A is set if it wrote.
func (x *rwmutex) seize(p *P, w robust.Word) bool {
	return p.Call(func() uint64 {
		gate := p.Word(x.gate)
		next := w.Inherited(x.self(p))
		if gate != 0 && !gate.Has(robust.Waiters) {
			next = w.Reclaimed(x.self(p))
		}
		if x.setup.Break == "the gate is opened before A is set" {
			if !p.CAS(x.word, uint64(w), uint64(w.Inherited(x.self(p)))) {
				return 0
			}
			x.reopen(p)
			p.Store(x.word, uint64(next))
			return 1
		}
		return flag(p.CAS(x.word, uint64(w), uint64(next)))
	}) != 0
}

func (x *rwmutex) lock(p *P) bool {
	p.Call(func() uint64 { x.takeWord(p); return 0 })
	if x.exclude(p) {
		return true
	}
	x.release(p)
	return false
}

// exclude makes an upgradable holding exclusive; false if it gave up.
func (x *rwmutex) exclude(p *P) bool {
	early := x.setup.Break == "writer looks at the cells before it shuts the gate"
	if early {
		x.drain(p)
	}
	if !p.CAS(x.gate, 0, uint64(x.self(p))) {
		p.Fail("process %d finds the gate shut that it holds", x.process(p)+1)
	}
	if early {
		x.entersWriting(p)
		return true
	}
	if !x.drain(p) {
		x.reopen(p)
		return false
	}
	return true
}

// drain waits until nobody reads.
func (x *rwmutex) drain(p *P) bool {
	return p.Call(func() uint64 {
		for top, waited, k := p.Mark(), uint64(0), uint64(0); ; p.Again(top, waited, k) {
			waited, k = p.Var(waited), p.Var(k)
			last := int(k) == len(x.counts)-1
			if !x.cell(p, int(k)).IsEmpty() {
				p.Store(x.gate, uint64(x.self(p)|robust.Waiters))
				waited = 1
				if p.Call(func() uint64 { return flag(x.drainCell(p, int(k))) }) == 0 {
					return 0
				}
			} else if last && waited == 0 {
				x.entersWriting(p)
			}
			if !last {
				k++
				continue
			}
			if waited != 0 {
				p.Store(x.gate, uint64(x.self(p)))
				x.entersWriting(p)
			}
			return 1
		}
	}) != 0
}

func (x *rwmutex) drainCell(p *P, k int) bool {
	me := x.process(p)
	over := func() {
		p.Ghost(func(s *State) {
			s.Mem[x.drains[me]], s.Mem[x.drainNudged[me]] = 0, 0
			if x.cancelled != nil {
				s.Mem[x.cancelled[me]] = 0
			}
		})
	}
	p.Do("drains", func(s *State) uint64 { s.Mem[x.drains[me]] = uint64(k + 1); return 0 })
	for top := p.Mark(); ; p.Again(top) {
		nudged := p.Swap(x.drainNudged[me], 0) != 0
		n := x.cell(p, k)
		if n.IsEmpty() {
			p.Do("has drained", func(*State) uint64 { return 0 })
			over()
			return true
		}
		owner := p.Load(x.owner[k])
		if x.stopped(p) {
			over()
			return false
		}
		if owner == 0 || k != me && nudged && x.gone(p, memberOf(k)) {
			x.bury(p, k, owner, false)
			continue
		}
		p.Sleep(x.counts[k]|high, uint32(n>>32), x.drainNudged[me])
	}
}

func (x *rwmutex) markConsistent(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if !w.Has(robust.Abandoned) {
			return
		}
		if p.CAS(x.word, uint64(w), uint64(w&^robust.Abandoned)) {
			p.Ghost(func(s *State) { s.Mem[x.died] = 0 })
			return
		}
	}
}

func (x *rwmutex) open(p *P) {
	x.leaves(p)
	if x.setup.Break == "lets in before it opens the gate" {
		x.grantAll(p)
		p.Store(x.gate, 0)
		return
	}
	if !p.CAS(x.gate, uint64(x.self(p)), 0) {
		p.Fail("process %d does not find its gate", x.process(p)+1)
	}
	x.grantAll(p)
}

func (x *rwmutex) unlock(p *P) {
	p.Call(func() uint64 {
		p.Do("writes no more", func(*State) uint64 { return 0 })
		x.open(p)
		return 0
	})
	x.release(p)
}

func (x *rwmutex) uUnlock(p *P) {
	p.Do("holds upgradably no more", func(*State) uint64 { return 0 })
	x.leaves(p)
	x.release(p)
}

// downgrade makes the writer a reader: counted first, then the rest is given up.
func (x *rwmutex) downgrade(p *P) {
	k := x.process(p)
	x.add(p, k, words.OneReader)
	p.Ghost(func(s *State) { s.Mem[x.writer], s.Mem[x.reads[k]] = 0, 1 })
	p.Call(func() uint64 { x.open(p); return 0 })
	x.release(p)
}

// tryUpgrade makes a reader the writer if nobody else holds the lock in any way.
func (x *rwmutex) tryUpgrade(p *P) bool {
	if p.Call(func() uint64 { return flag(x.tryWord(p)) }) == 0 {
		return false
	}
	if p.Call(func() uint64 { return flag(x.tryExclude(p)) }) != 0 {
		return true
	}
	x.release(p)
	return false
}

func (x *rwmutex) tryExclude(p *P) bool {
	me := x.process(p)
	if !p.CAS(x.gate, 0, uint64(x.self(p))) {
		p.Fail("process %d finds the gate shut that it holds", me+1)
	}
	p.Store(x.gate, uint64(x.self(p)|robust.Waiters))
	for k := range x.counts {
		if k != me && p.Call(func() uint64 { return flag(x.cell(p, k).IsEmpty() || x.buryIfGone(p, k)) }) == 0 {
			x.reopen(p)
			return false
		}
	}
	p.Store(x.gate, uint64(x.self(p)))
	return p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			n := x.cell(p, me)
			if !n.IsOpen() || n.Held() != 1 {
				x.reopen(p)
				return 0
			}
			if x.swap(p, me, n, n-words.OneReader) {
				p.Ghost(func(s *State) { s.Mem[x.reads[me]] = 0 })
				x.entersWriting(p)
				return 1
			}
		}
	}) != 0
}

func (x *rwmutex) buryIfGone(p *P, k int) bool {
	owner := p.Load(x.owner[k])
	if owner != 0 && !x.gone(p, memberOf(k)) {
		return false
	}
	x.bury(p, k, owner, false)
	return x.cell(p, k).IsEmpty()
}
