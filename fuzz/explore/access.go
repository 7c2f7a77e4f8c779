package explore

import (
	"lockd/robust"
)

// Load is an atomic load.
func (p *P) Load(at Addr) uint64 {
	v, logged := p.begin(at)
	if !logged {
		v = p.s.Mem[at]
		p.say("%s is %s", p.name(at), p.show(at, v))
		p.push(v, 0)
	}
	return v
}

// Word is Load of an owner word.
func (p *P) Word(at Addr) robust.Word { return robust.Word(p.Load(at)) }

// Store is an atomic store.
func (p *P) Store(at Addr, v uint64) {
	if _, logged := p.begin(at); !logged {
		p.say("%s = %s", p.name(at), p.show(at, v))
		p.s.Mem[at] = v
		p.push(0, 0)
	}
}

// CAS is a compare-and-swap.
func (p *P) CAS(at Addr, old, new uint64) bool {
	v, logged := p.begin(at)
	if !logged {
		if p.s.Mem[at] == old {
			v = 1
			p.s.Mem[at] = new
			p.say("%s: %s → %s", p.name(at), p.show(at, old), p.show(at, new))
		} else {
			p.say("%s is not %s but %s", p.name(at), p.show(at, old), p.show(at, p.s.Mem[at]))
		}
		p.push(v, 0)
	}
	return v != 0
}

// Add is an atomic addition; it returns the sum.
func (p *P) Add(at Addr, d uint64) uint64 {
	v, logged := p.begin(at)
	if !logged {
		p.s.Mem[at] += d
		v = p.s.Mem[at]
		p.say("%s += %d, is %s", p.name(at), int64(d), p.show(at, v))
		p.push(v, 0)
	}
	return v
}

// Swap is an atomic exchange; it returns what was there.
func (p *P) Swap(at Addr, to uint64) uint64 {
	v, logged := p.begin(at)
	if !logged {
		v, p.s.Mem[at] = p.s.Mem[at], to
		p.say("%s = %s, was %s", p.name(at), p.show(at, to), p.show(at, v))
		p.push(v, 0)
	}
	return v
}

// Do is one step that does whatever f does, and returns what it returns: what
// is private to a process and guarded by its mutexes, or the kernel.
func (p *P) Do(what string, f func(s *State) uint64) uint64 {
	v, logged := p.begin(0)
	if !logged {
		v = f(p.s)
		p.say("%s: %d", what, v)
		p.push(v, 0)
	}
	return v
}

// Await is Do that blocks until ready.
func (p *P) Await(what string, ready func(s *State) bool, f func(s *State) uint64) uint64 {
	v, logged := p.begin(0)
	if !logged {
		if !ready(p.s) {
			panic(disabled{})
		}
		v = f(p.s)
		p.say("%s: %d", what, v)
		p.push(v, 0)
	}
	return v
}

// Quiet is part of the step that comes after it. It reads what nobody else can
// write now, as the holder of a latch does, or changes what is private to the
// actor's process: so it commutes with all that others do meanwhile, and no
// order of steps is lost. A death before it leaves what one after it does.
func (p *P) Quiet(f func(s *State) uint64) uint64 {
	if p.pos < int(p.a.n) {
		p.pos++
		return p.a.log[p.pos-1]
	}
	if p.fresh {
		panic(stop{})
	}
	v := f(p.s)
	p.push(v, 0)
	return v
}

// Peek is a quiet load.
func (p *P) Peek(at Addr) uint64 {
	return p.Quiet(func(s *State) uint64 { return s.Mem[at] })
}

// Wake wakes one who sleeps at the futex on the word, any one, and says
// whether there was one.
func (p *P) Wake(at Addr) bool {
	v, logged := p.begin(at)
	if !logged {
		sleepers := make([]int, 0, maxActors)
		for i := range p.m.Actors {
			if p.s.sleepsOn(i, at) {
				sleepers = append(sleepers, i)
			}
		}
		if len(sleepers) > 0 {
			who := sleepers[p.choose(len(sleepers))]
			p.s.wake(who)
			p.say("wakes %s at %s", p.m.Actors[who].Name, p.name(at))
			v = 1
		} else {
			p.say("wakes nobody at %s", p.name(at))
		}
		p.push(v, 0)
	}
	return v != 0
}

// WakeAll wakes all who sleep at the futex on the word.
func (p *P) WakeAll(at Addr) {
	if _, logged := p.begin(at); !logged {
		p.s.WakeAll(at)
		p.say("wakes all at %s", p.name(at))
		p.push(0, 0)
	}
}

// WakeAll is for those who act from outside of any program.
func (s *State) WakeAll(at Addr) {
	for i := range s.Actors {
		if s.sleepsOn(i, at) {
			s.wake(i)
		}
	}
}

func (s *State) sleepsOn(actor int, at Addr) bool {
	a := &s.Actors[actor]
	return a.status == asleep && at != 0 && (a.waits[0] == at || a.waits[1] == at)
}

func (s *State) wake(actor int) {
	a := &s.Actors[actor]
	a.status, a.waits = woken, [2]Addr{}
}

// half is the half of a word that is slept on.
func (s *State) half(at Addr) uint32 {
	if at&high != 0 {
		return uint32(s.Mem[at&^high] >> 32)
	}
	return uint32(s.Mem[at])
}

// Sleep sleeps at the futex while the low half of the word, or with high its
// high half, has this value and the other word, if there is one, is 0.
func (p *P) Sleep(at Addr, value uint32, other Addr) {
	if _, logged := p.begin(0); logged {
		return
	}
	switch {
	case p.a.status == woken:
		p.a.status = running
		p.say("is awake")
	case p.s.half(at) == value && p.s.Mem[other] == 0:
		p.a.status, p.a.waits = asleep, [2]Addr{at, other}
		p.say("sleeps on %s", p.name(at))
		panic(stop{})
	default:
		p.say("does not sleep")
	}
	p.push(0, 0)
}
