package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// RobberySetup is a situation, and for tests a broken protocol.
type RobberySetup struct {
	Name       string
	Goroutines []int // of each process that locks
	Robbers    int   // processes
	Robs       int   // how often each robs
	Evictions  int
	Deaths     int
	Mortal     func(process int) bool
	Settle     bool
	Break      string
}

// robbery mirrors arena/robbery.go, with what of handle.go, reclaim.go,
// stripe.go and claim.go meets it: one name, which others lock, robbers take
// from them, and an evictor takes out of its slot. How one waits is the
// mutex's model.
type robbery struct {
	Model
	setup RobberySetup

	word, life, state, latch Addr
	owner, victim            []Addr // of each record
	entry                    []Addr // of each process: 1 while its member entry is its
	bound                    []Addr // of each process: the generation that it is bound to
	left                     []Addr // of each robber: how often he has robbed; of the evictor

	holder, robbed, half Addr // ghosts: who is inside, who was robbed and has not noticed, whether it is half-changed
}

const (
	recordSpare   words.Kind = 3 // claimed
	recordRobbery words.Kind = 4
	hasRobberies             = 1
)

// NewRobbery makes the model.
func NewRobbery(setup RobberySetup) *Model {
	x := &robbery{setup: setup}
	m := &x.Model
	m.Name = "robbery: " + setup.Name
	n, goroutines := len(setup.Goroutines), 0
	for k, g := range setup.Goroutines {
		for range g {
			goroutines++
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", goroutines), Process: k, Program: x.user})
		}
	}
	for k := range setup.Robbers {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("robber %d", k+1), Process: n + k, Program: x.robber})
	}
	processes := n + setup.Robbers
	if setup.Evictions > 0 {
		m.Actors = append(m.Actors, Thread{Name: "evictor", Process: processes, Program: x.evictor})
		processes++
	}
	x.word, x.life, x.state, x.latch = m.ownerWord("word"), m.word("life"), m.word("state"), m.ownerWord("latch")
	x.owner, x.victim = m.words(max(setup.Robbers, 1)*2, "owner of record %d"), m.words(max(setup.Robbers, 1)*2, "victim of record %d")
	x.entry, x.bound, x.left = m.words(processes, "entry of process %d"), m.words(n, "binding of process %d"), m.words(processes, "rounds of process %d")
	x.holder, x.robbed, x.half = m.word("who is inside"), m.word("who was robbed"), m.word("is half-changed")
	m.Init = func(s *State) {
		s.Mem[x.word], s.Mem[x.life] = uint64(robust.Free(1)), uint64(words.LiveLife(1, 1, 1))
		for _, at := range x.entry {
			s.Mem[at] = 1
		}
	}
	m.Deaths, m.Mortal = setup.Deaths, setup.Mortal
	m.Killed = func(s *State, k int) {
		if k < n {
			s.Mem[x.bound[k]] = 0
		}
		s.Mem[x.left[k]] = 0
		for i, t := range m.Actors {
			if t.Process != k {
				continue
			}
			s.Mem[x.robbed] &^= 1 << i
			if s.Mem[x.holder] == uint64(i+1) {
				s.Mem[x.holder], s.Mem[x.half] = 0, 1
			}
		}
	}
	m.Goal = m.AllIdle
	return m
}

func (x *robbery) process(p *P) int { return x.Actors[p.Self].Process }

func (x *robbery) self(p *P) robust.Word { return selfOf(x.process(p)) }

func (x *robbery) lifeOf(p *P) words.Life { return words.Life(p.Load(x.life)) }

func (x *robbery) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(m))) }) != 0
}

// user locks, marks the lock consistent, and unlocks, or settles.
func (x *robbery) user(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		if x.setup.Settle && p.Choose("lock or settle", 2) == 1 {
			p.Await("is kicked", func(s *State) bool { return x.unsettled(s) > 0 }, func(*State) uint64 { return 0 })
			p.Call(func() uint64 { x.settle(p); return 0 })
			continue
		}
		p.Call(func() uint64 { x.lock(p); return 0 })
		p.Call(func() uint64 { x.mark(p); return 0 })
		told := p.Call(func() uint64 { return flag(x.unlock(p)) }) != 0
		p.Do("is done", func(s *State) uint64 {
			if was := s.Mem[x.robbed]>>p.Self&1 != 0; was != told {
				p.fault = fmt.Sprintf("%s was robbed: %v, and is told: %v", x.Actors[p.Self].Name, was, told)
			}
			s.Mem[x.robbed] &^= 1 << p.Self
			return 0
		})
	}
}

func (x *robbery) entered(p *P) {
	p.Ghost(func(s *State) {
		if h := s.Mem[x.holder]; h != 0 {
			p.Fail("%s and %s are both inside", x.Actors[h-1].Name, x.Actors[p.Self].Name)
		}
		if s.Mem[x.half] != 0 && !robustWord(s, x.word).Has(robust.Abandoned) {
			p.Fail("%s is not told that it is half-changed", x.Actors[p.Self].Name)
		}
		s.Mem[x.holder] = uint64(p.Self + 1)
	})
}

// lock is Lock, and acquire when its fast path misses.
func (x *robbery) lock(p *P) {
	at := x.bound[x.process(p)]
	for top := p.Mark(); ; p.Again(top) {
		b := uint32(p.Load(at))
		if b != 0 && p.CAS(x.word, uint64(robust.Free(b)), uint64(x.self(p))) {
			x.entered(p)
			return
		}
		if !x.stale(p, b) {
			switch outcome(p.Call(func() uint64 { return uint64(x.take(p, b)) })) {
			case taken:
				return
			case busy:
				continue
			}
		}
		p.Call(func() uint64 { x.bind(p); return 0 })
	}
}

func (x *robbery) stale(p *P, b uint32) bool {
	if b == 0 {
		return true
	}
	life := x.lifeOf(p)
	return life.Phase() != words.Live || life.Generation() != b
}

// take is tryTake, reclaim, or waiting. Busy: look again at everything.
func (x *robbery) take(p *P, b uint32) outcome {
	w := p.Word(x.word)
	if w.IsFree() {
		if w.Generation() != b {
			return stale
		}
		if p.CAS(x.word, uint64(w), uint64(w.Taken(x.self(p)))) {
			x.entered(p)
			return taken
		}
		return busy
	}
	if p.Await("waits", func(s *State) bool {
		return robustWord(s, x.word) != w || x.ProcessDead(s, processOf(w.Owner()))
	}, func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(w.Owner()))) }) == 0 {
		return busy
	}
	x.passRobberies(p, w.Owner())
	if !p.CAS(x.word, uint64(w), uint64(w.Reclaimed(x.self(p)))) {
		return busy
	}
	if x.stale(p, b) {
		x.letGo(p)
		return stale
	}
	x.entered(p)
	return taken
}

func (x *robbery) letGo(p *P) {
	p.Call(func() uint64 {
		life := x.lifeOf(p)
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if !w.SameHolding(x.self(p)) {
				if x.setup.Break != "who lets go does not notice that he was robbed" {
					p.Call(func() uint64 { x.noticeRobbery(p); return 0 })
				}
				return 0
			}
			if p.CAS(x.word, uint64(w), uint64(w.Released(life.Generation()))) {
				return 0
			}
		}
	})
}

// mark is MarkConsistent.
func (x *robbery) mark(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if !w.SameHolding(x.self(p)) || !w.Has(robust.Abandoned) {
			return
		}
		if p.CAS(x.word, uint64(w), uint64(w&^robust.Abandoned)) {
			p.Ghost(func(s *State) {
				if s.Mem[x.holder] == uint64(p.Self+1) {
					s.Mem[x.half] = 0
				}
			})
			return
		}
	}
}

// freed is called in the step that gives the lock back.
func (x *robbery) freed(p *P) {
	p.Ghost(func(s *State) {
		if h := s.Mem[x.holder]; h != uint64(p.Self+1) {
			p.Fail("%s, which was robbed, frees what actor %d holds", x.Actors[p.Self].Name, h)
		}
		s.Mem[x.holder] = 0
	})
}

// unlock is Unlock, and release when its fast path misses. It says whether it
// was told of a robbery.
func (x *robbery) unlock(p *P) (told bool) {
	at := x.bound[x.process(p)]
	b := uint32(p.Load(at))
	if b != 0 && p.CAS(x.word, uint64(x.self(p)), uint64(robust.Free(b))) {
		x.freed(p)
		return false
	}
	b = uint32(p.Call(func() uint64 { return uint64(x.present(p)) }))
	if !x.stale(p, b) && p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if !w.SameHolding(x.self(p)) {
				return 0
			}
			if p.CAS(x.word, uint64(w), uint64(w.Released(b))) {
				x.freed(p)
				return 1
			}
		}
	}) != 0 {
		return false
	}
	return p.Call(func() uint64 { return flag(x.noticeRobbery(p)) }) != 0
}

// present is the binding, or one for the generation in which the lock is held
// now.
func (x *robbery) present(p *P) uint32 {
	b := uint32(p.Load(x.bound[x.process(p)]))
	if b == 0 || !x.stale(p, b) || p.Load(x.state) != hasRobberies {
		return b
	}
	g := x.match(p)
	if g == 0 || !p.Word(x.word).SameHolding(x.self(p)) {
		return b
	}
	return g
}

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
