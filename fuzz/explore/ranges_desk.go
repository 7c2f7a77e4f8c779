package explore

import (
	"math/bits"

	"lockd/robust"
)

// The steps of arena/rangedesk.go.

// latched waits for the latch.
func (x *ranges) latched(p *P, n int) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the latch", func(s *State) bool {
				w := robust.Word(s.Mem[x.latch[n]])
				return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return s.Mem[x.latch[n]] }))
			next := w.Taken(x.self(p))
			if !w.IsFree() {
				next = w.Reclaimed(x.self(p))
			}
			if p.CAS(x.latch[n], uint64(w), uint64(next)) {
				return 0
			}
		}
	})
	x.mendIfAbandoned(p, n)
}

// tryLatched is latchRanges. With nobody's ticker to make up for it, its
// patience is long enough.
func (x *ranges) tryLatched(p *P, n int) bool {
	if !x.setup.Ticks {
		x.latched(p, n)
		return true
	}
	if p.Call(func() uint64 {
		w := p.Word(x.latch[n])
		switch {
		case w.IsFree():
			return flag(p.CAS(x.latch[n], uint64(w), uint64(w.Barged(x.self(p)))))
		case w.SameHolding(x.self(p)) || !x.gone(p, w.Owner()):
			return 0
		}
		return flag(p.CAS(x.latch[n], uint64(w), uint64(w.Reclaimed(x.self(p)))))
	}) == 0 {
		return false
	}
	x.mendIfAbandoned(p, n)
	return true
}

func (x *ranges) mendIfAbandoned(p *P, n int) {
	if x.setup.Deaths == 0 {
		return
	}
	p.Call(func() uint64 {
		w := robust.Word(p.Peek(x.latch[n]))
		if !w.Has(robust.Abandoned) {
			return 0
		}
		if x.setup.Break != "no mending after a death" {
			x.rebuild(p, n)
		}
		p.CAS(x.latch[n], uint64(w), uint64(w&^robust.Abandoned))
		x.pass(p, n, 0, places, true)
		return 0
	})
}

// The desk is private to its actor: whom to ring, and what was freed.
//
//	19  16 15   12    8 7        0
//	| last | first | any | processes |
const anyFreed = 1 << 8

func (x *ranges) freed(p *P, first, last uint64) {
	p.Quiet(func(s *State) uint64 {
		d := s.Mem[x.desk[p.Self]]
		if d&anyFreed != 0 {
			first, last = min(first, d>>12&15), max(last, d>>16&15)
		}
		s.Mem[x.desk[p.Self]] = d&0xff | anyFreed | first<<12 | last<<16
		return 0
	})
}

// leave grants what was freed, frees the latch and wakes those who were answered.
func (x *ranges) leave(p *P, n int) {
	p.Call(func() uint64 {
		if d := p.Peek(x.desk[p.Self]); d&anyFreed != 0 && x.setup.Break != "leaves without granting what it has freed" {
			x.pass(p, n, d>>12&15, d>>16&15, false)
		}
		if !p.CAS(x.latch[n], uint64(x.self(p)), uint64(robust.Free(rangesCurrent))) {
			p.Fail("the latch was taken from process %d, which lives", x.process(p)+1)
		}
		p.Ghost(func(s *State) { s.Mem[x.desk[p.Self]] &= 0xff })
		for top := p.Mark(); ; p.Again(top) {
			rung := p.Peek(x.desk[p.Self])
			if rung == 0 {
				return 0
			}
			k := bits.TrailingZeros64(rung)
			p.Do("rings", func(s *State) uint64 {
				s.Mem[x.desk[p.Self]] &^= 1 << k
				if k == x.process(p) {
					if s.Mem[x.waits[k]] != 0 {
						x.nudge(s, k)
					}
				} else {
					s.Mem[x.bell[k]] = flag(!x.ProcessDead(s, k))
				}
				return 0
			})
			if k != x.process(p) {
				p.WakeAll(x.bell[k])
			}
		}
	})
}
