package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/claim.go, and of settling a slot.

// claim is claimIdle; the hand may stand anywhere. -1: none was to be had.
func (x *names) claim(p *P) int {
	i := p.Choose("which slot", x.setup.Slots)
	life := x.lifeOf(p, i)
	switch life.Phase() {
	case words.Empty:
		if p.Word(x.word[i]).Generation() < x.setup.Last && p.CAS(x.life[i], words.Empty, uint64(words.ClaimedLife(memberOf(x.process(p))))) {
			return i
		}
	case words.Live:
		if p.Word(x.word[i]) == robust.Free(life.Generation()) && x.evict(p, i, life) {
			return i
		}
	}
	return -1
}

func (x *names) evict(p *P, i int, life words.Life) bool {
	hash := p.Load(x.hash[i])
	if p.Call(func() uint64 { return flag(x.tryLatch(p, p.Word(x.latch))) }) == 0 {
		return false
	}
	free := robust.Free(life.Generation())
	if x.lifeOf(p, i) != life || p.Load(x.hash[i]) != hash || life.Generation() >= x.setup.Last ||
		x.setup.Break != "evict without the word" && !p.CAS(x.word[i], uint64(free), uint64(robust.Free(life.Generation()+1))) {
		x.unlatch(p)
		return false
	}
	p.Call(func() uint64 { x.unlink(p, i); return 0 })
	p.Call(func() uint64 { x.emptied(p, i, words.ClaimedLife(memberOf(x.process(p)))); return 0 })
	x.unlatch(p)
	return true
}

func (x *names) emptied(p *P, i int, life words.Life) {
	fence := p.Load(x.fence[i])
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			old := p.Load(x.fenceHigh)
			if old >= fence || p.CAS(x.fenceHigh, old, fence) {
				return 0
			}
		}
	})
	p.Store(x.life[i], uint64(life))
}

// settle is settleSlot and settleClaim for one slot.
func (x *names) settle(p *P) {
	i := p.Choose("which slot", x.setup.Slots)
	dead := func(s *State, m robust.Member) bool { return m.Index != 0 && x.ProcessDead(s, processOf(m)) }
	life := words.Life(p.Await("settles", func(s *State) bool {
		life, w := words.Life(s.Mem[x.life[i]]), robust.Word(s.Mem[x.word[i]])
		return life.Phase() == words.Claimed && dead(s, life.Claimer()) || dead(s, w.Owner())
	}, func(s *State) uint64 { return s.Mem[x.life[i]] }))
	if life.Phase() == words.Claimed && p.Do("judges the claimer", func(s *State) uint64 { return flag(dead(s, life.Claimer())) }) != 0 {
		p.CAS(x.life[i], uint64(life), words.Empty)
	}
	w := p.Word(x.word[i])
	if w.IsFree() || p.Do("judges the owner", func(s *State) uint64 { return flag(dead(s, w.Owner())) }) == 0 {
		return
	}
	if p.CAS(x.word[i], uint64(w), uint64(w.Reclaimed(x.self(p)))) {
		x.letGo(p, i)
	}
}
