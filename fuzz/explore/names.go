package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// NamesSetup is a situation, and for tests a broken protocol.
type NamesSetup struct {
	Name      string
	Processes int
	Slots     int
	Names     int
	Last      uint32 // generation of a slot, after which it is used up
	Fences    uint64 // how many are drawn under a name at most
	Deaths    int
	Settle    bool
	Break     string
}

// names mirrors arena/handle.go, table.go, claim.go and reclaim.go: processes
// lock and unlock names, of which there are more than the table has room for,
// so that slots go from name to name. All names are of one stripe and one
// chain. How one waits is left out, for that is the mutex's model: who finds
// a word held goes on when it has changed, or its owner is dead.
type names struct {
	Model
	setup NamesSetup

	word, life, hash, next, fence []Addr // of each slot
	head, latch, fenceHigh        Addr
	bound                         []Addr // of each process and name: the binding

	holder, drawn []Addr // ghosts, of each name: who is inside, the highest fence
}

// NewNames makes the model.
func NewNames(setup NamesSetup) *Model {
	x := &names{setup: setup}
	m := &x.Model
	m.Name = "names: " + setup.Name
	for k := range setup.Processes {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	for i := range setup.Slots {
		x.word = append(x.word, m.ownerWord("word of slot %d", i+1))
	}
	x.life, x.hash = m.words(setup.Slots, "life of slot %d"), m.words(setup.Slots, "hash of slot %d")
	x.next, x.fence = m.words(setup.Slots, "next of slot %d"), m.words(setup.Slots, "fence of slot %d")
	x.head, x.latch, x.fenceHigh = m.word("chain"), m.ownerWord("latch"), m.word("fenceHigh")
	x.bound = m.words(setup.Processes*setup.Names, "binding %d")
	x.holder, x.drawn = m.words(setup.Names, "who is inside name %d"), m.words(setup.Names, "highest fence of name %d")
	m.Deaths = setup.Deaths
	m.Killed = func(s *State, k int) {
		for n := range setup.Names {
			s.Mem[x.bindingAt(k, n)] = 0
			if s.Mem[x.holder[n]] == uint64(k+1) {
				s.Mem[x.holder[n]] = 0
			}
		}
	}
	m.Check = x.check
	m.Goal = m.AllIdle
	return m
}

// nameBinding is a process's binding of a name: slot and generation, 0 unbound.
type nameBinding uint64

func bindingTo(slot int, generation uint32) nameBinding {
	return nameBinding(slot+1)<<32 | nameBinding(generation)
}

func (b nameBinding) slot() int { return int(b>>32) - 1 }

func (b nameBinding) generation() uint32 { return uint32(b) }

func (x *names) bindingAt(process, name int) Addr { return x.bound[process*x.setup.Names+name] }

func (x *names) process(p *P) int { return x.Actors[p.Self].Process }

func (x *names) self(p *P) robust.Word { return selfOf(x.process(p)) }

func (x *names) lifeOf(p *P, i int) words.Life { return words.Life(p.Load(x.life[i])) }

// check looks for a name in two slots. A slot whose word is ahead has lost its
// name already.
func (x *names) check(s *State) string {
	seen := make([]int, x.setup.Names+1)
	for i := range x.setup.Slots {
		life := words.Life(s.Mem[x.life[i]])
		if !life.IsLock() || words.Astray(robust.Word(s.Mem[x.word[i]]), life) {
			continue
		}
		if seen[s.Mem[x.hash[i]]]++; seen[s.Mem[x.hash[i]]] > 1 {
			return fmt.Sprintf("name %d is in two slots", s.Mem[x.hash[i]])
		}
	}
	return ""
}

// user locks one name after the other, or settles.
func (x *names) user(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		what := p.Choose("which name, or settle", x.setup.Names+int(flag(x.setup.Settle)))
		if what == x.setup.Names {
			p.Call(func() uint64 { x.settle(p); return 0 })
			continue
		}
		b := nameBinding(p.Call(func() uint64 { return uint64(x.lock(p, what)) }))
		if b == 0 {
			continue
		}
		p.Call(func() uint64 { x.drawFence(p, what, b); return 0 })
		p.Call(func() uint64 { x.unlock(p, what, b); return 0 })
	}
}

func (x *names) entered(p *P, name int, b nameBinding) {
	p.Ghost(func(s *State) {
		if life := words.Life(s.Mem[x.life[b.slot()]]); s.Mem[x.hash[b.slot()]] != uint64(name+1) || life.Generation() != b.generation() {
			p.Fail("process %d takes name %d, and has the slot of another", x.process(p)+1, name+1)
		}
		if h := s.Mem[x.holder[name]]; h != 0 {
			p.Fail("process %d and %d both hold name %d", h, x.process(p)+1, name+1)
		}
		s.Mem[x.holder[name]] = uint64(x.process(p) + 1)
	})
}

func (x *names) drawFence(p *P, name int, b nameBinding) {
	at := x.fence[b.slot()]
	if p.Choose("draws a fence", 2) == 0 {
		return
	}
	fence := p.Do("draws a fence", func(s *State) uint64 {
		if s.Mem[at] >= x.setup.Fences {
			return 0
		}
		s.Mem[at]++
		return s.Mem[at]
	})
	p.Ghost(func(s *State) {
		if fence != 0 && fence <= s.Mem[x.drawn[name]] {
			p.Fail("fence %d of name %d after %d", fence, name+1, s.Mem[x.drawn[name]])
		}
		s.Mem[x.drawn[name]] = max(s.Mem[x.drawn[name]], fence)
	})
}

// lock is Lock, and acquire when its fast path misses. 0: the table is full.
func (x *names) lock(p *P, name int) nameBinding {
	at := x.bindingAt(x.process(p), name)
	for top := p.Mark(); ; p.Again(top) {
		b := nameBinding(p.Do("has binding", func(s *State) uint64 { return s.Mem[at] }))
		if b != 0 && p.CAS(x.word[b.slot()], uint64(robust.Free(b.generation())), uint64(x.self(p))) {
			x.entered(p, name, b)
			return b
		}
		if !x.stale(p, b) {
			switch outcome(p.Call(func() uint64 { return uint64(x.take(p, name, b)) })) {
			case taken:
				return b
			case busy:
				continue
			}
		}
		if p.Call(func() uint64 { return flag(x.bind(p, name)) }) == 0 {
			return 0
		}
	}
}

func (x *names) stale(p *P, b nameBinding) bool {
	if b == 0 {
		return true
	}
	life := x.lifeOf(p, b.slot())
	return life.Phase() != words.Live || life.Generation() != b.generation()
}

// take is tryTake, reclaim, or waiting. Busy: look again at everything.
func (x *names) take(p *P, name int, b nameBinding) outcome {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word[b.slot()])
		switch {
		case w.IsFree() && w.Generation() != b.generation():
			return stale
		case w.IsFree():
			if p.CAS(x.word[b.slot()], uint64(w), uint64(w.Taken(x.self(p)))) {
				x.entered(p, name, b)
				return taken
			}
		default:
			if p.Await("waits", func(s *State) bool {
				return robust.Word(s.Mem[x.word[b.slot()]]) != w || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(w.Owner()))) }) == 0 {
				return busy
			}
			return x.reclaim(p, name, b, w)
		}
	}
}

func (x *names) reclaim(p *P, name int, b nameBinding, w robust.Word) outcome {
	if !p.CAS(x.word[b.slot()], uint64(w), uint64(w.Reclaimed(x.self(p)))) {
		return busy
	}
	if x.setup.Break == "reclaim trusts its binding" {
		x.entered(p, name, b)
		return taken
	}
	if x.stale(p, b) {
		x.letGo(p, b.slot())
		return stale
	}
	x.entered(p, name, b)
	return taken
}

func (x *names) letGo(p *P, i int) {
	life := x.lifeOf(p, i)
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word[i])
		if !w.SameHolding(x.self(p)) || p.CAS(x.word[i], uint64(w), uint64(w.Released(life.Generation()))) {
			return
		}
	}
}

func (x *names) unlock(p *P, name int, b nameBinding) {
	left := func() { p.Ghost(func(s *State) { s.Mem[x.holder[name]] = 0 }) }
	if p.CAS(x.word[b.slot()], uint64(x.self(p)), uint64(robust.Free(b.generation()))) {
		left()
		return
	}
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word[b.slot()])
		if !w.SameHolding(x.self(p)) {
			p.Fail("process %d has lost name %d while it held it", x.process(p)+1, name+1)
			return
		}
		if p.CAS(x.word[b.slot()], uint64(w), uint64(w.Released(b.generation())&^robust.Abandoned)) {
			left()
			return
		}
	}
}

// bind looks the name up and binds to its slot; false if the table is full.
func (x *names) bind(p *P, name int) bool {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		b := nameBinding(p.Call(func() uint64 { return uint64(x.lookup(p, name)) }))
		if b == 0 {
			return false
		}
		// install: who binds a slot ends the binding that another name has to it.
		if p.Do("installs", func(s *State) uint64 {
			life := words.Life(s.Mem[x.life[b.slot()]])
			if life.Phase() != words.Live || life.Generation() != b.generation() {
				return 0
			}
			for n := range x.setup.Names {
				if nameBinding(s.Mem[x.bindingAt(k, n)]).slot() == b.slot() {
					s.Mem[x.bindingAt(k, n)] = 0
				}
			}
			s.Mem[x.bindingAt(k, name)] = uint64(b)
			return 1
		}) != 0 {
			return true
		}
	}
}
