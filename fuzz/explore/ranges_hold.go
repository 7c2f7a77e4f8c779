package explore

import (
	"math/bits"

	"lockd/internal/words"
)

// The steps of arena/rangehold.go, and of rangeHolder: taking, changing and
// giving back pieces under the latch.

// do is a step that changes what only the latch's holder touches.
func (x *ranges) do(p *P, what string, f func(s *State) uint64) uint64 {
	if x.setup.Deaths == 0 {
		return p.Quiet(f)
	}
	return p.Do(what, f)
}

// stock claims records until the holder has so many at hand.
func (x *ranges) stock(p *P, n int) {
	k := x.process(p)
	claim := func(s *State) []int {
		var some []int
		missing := n - bits.OnesCount64(s.Mem[x.spares[k]])
		for i, at := range x.owner {
			// Those that the dead had at hand a settler would free first.
			m := words.MemberOf(s.Mem[at])
			if len(some) < missing && (s.Mem[at] == 0 || words.KindOf(s.Mem[at]) == rangeClaimed && x.ProcessDead(s, processOf(m))) {
				some = append(some, i)
			}
		}
		return some
	}
	if bits.OnesCount64(p.Peek(x.spares[k])) >= n {
		return
	}
	p.Await("claims records", func(s *State) bool { return len(claim(s)) == n-bits.OnesCount64(s.Mem[x.spares[k]]) }, func(s *State) uint64 {
		for _, i := range claim(s) {
			s.Mem[x.owner[i]] = x.ownerWord(k, rangeClaimed)
			s.Mem[x.spares[k]] |= 1 << i
			x.clearBody(s, i)
		}
		return 0
	})
}

// pick takes a spare record.
func (x *ranges) pick(p *P) int {
	at := x.spares[x.process(p)]
	return int(p.Quiet(func(s *State) uint64 {
		i := bits.TrailingZeros64(s.Mem[at])
		if i == 64 {
			panic(x.Name + ": no spare record")
		}
		s.Mem[at] &^= 1 << i
		return uint64(i)
	}))
}

// put gives a record back that is in no tree and says that it is claimed.
func (x *ranges) put(p *P, i int) {
	at := x.spares[x.process(p)]
	if p.Quiet(func(s *State) uint64 {
		x.clearBody(s, i)
		if bits.OnesCount64(s.Mem[at]) == rangeSpares {
			return 0
		}
		s.Mem[at] |= 1 << i
		return 1
	}) == 0 {
		p.CAS(x.owner[i], x.ownerWord(x.process(p), rangeClaimed), 0)
	}
}

// piece finds a piece of the holder that overlaps a range; -1: none.
func (x *ranges) piece(p *P, n int, first, last uint64) int {
	return int(p.Quiet(func(s *State) uint64 {
		for i := range x.owner {
			b := rangeBody(s.Mem[x.body[i]])
			if s.Mem[x.pieces[x.process(p)]]>>i&1 != 0 && b.name() == n && b.first() <= last && b.last() >= first {
				return uint64(i + 1)
			}
		}
		return 0
	})) - 1
}

// hold makes the holder hold a range in one mode, over whatever it had of it.
// granted is one more than the record that was granted for it, or 0.
func (x *ranges) hold(p *P, op rangeOp, own bool, granted int) {
	p.Call(func() uint64 {
		k := x.process(p)
		owner := x.ownerWord(k, op.kind)
		first, last := op.first, op.last
		if own {
			const holdsIt = 1 << 8
			v := p.Quiet(func(s *State) uint64 { return x.merged(s, k, op, owner, granted == 0, holdsIt) })
			if v == holdsIt {
				return 0
			}
			first, last = v&15, v>>4
		}
		i, arrival := granted-1, uint64(0)
		wider := first != op.first || last != op.last
		if granted == 0 {
			i = x.pick(p)
		} else if arrival = rangeBody(p.Peek(x.body[i])).arrival(); wider {
			p.Store(x.owner[i], x.ownerWord(k, rangeClaimed))
			x.unlink(p, op.name, i)
		}
		if granted == 0 || wider {
			p.Store(x.body[i], uint64(newRangeBody(op.name, first, last, arrival, placeGranted)))
			x.link(p, op.name, i, owner)
		}
		if own {
			x.clear(p, op, first, last)
		}
		// The piece is listed.
		p.Do("has it", func(s *State) uint64 {
			s.Mem[x.body[i]] = rangeBody(s.Mem[x.body[i]]).at(placeListed)
			s.Mem[x.pieces[k]] |= 1 << i
			for place := op.first; place <= op.last; place++ {
				s.Mem[x.holds[k]] = withHeld(s.Mem[x.holds[k]], op.name, place, 1+flag(op.kind == rangeExclusive))
			}
			return 0
		})
		return 0
	})
}

// merged is how far a range reaches with the pieces of its mode that it
// overlaps or touches.
func (x *ranges) merged(s *State, k int, op rangeOp, owner uint64, fresh bool, holdsIt uint64) uint64 {
	first, last := op.first, op.last
	for i := range x.owner {
		b := rangeBody(s.Mem[x.body[i]])
		if s.Mem[x.pieces[k]]>>i&1 == 0 || s.Mem[x.owner[i]] != owner || b.name() != op.name || b.first() > op.last+1 || b.last()+1 < op.first {
			continue
		}
		if fresh && b.first() <= op.first && b.last() >= op.last {
			return holdsIt
		}
		first, last = min(first, b.first()), max(last, b.last())
	}
	return last<<4 | first
}

// clear makes room for a piece that was just put in.
func (x *ranges) clear(p *P, op rangeOp, first, last uint64) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			i := x.piece(p, op.name, first, last)
			if i < 0 {
				return 0
			}
			p.Call(func() uint64 {
				if words.KindOf(p.Peek(x.owner[i])) == op.kind {
					x.discard(p, op.name, i)
					return 0
				}
				x.trim(p, op.name, i, op.first, op.last)
				if isSharedKind(op.kind) {
					x.freed(p, op.first, op.last)
				}
				return 0
			})
		}
	})
}

// trim takes a range out of a piece.
func (x *ranges) trim(p *P, n, i int, first, last uint64) {
	k := x.process(p)
	owner, b := p.Peek(x.owner[i]), rangeBody(p.Peek(x.body[i]))
	a, z := b.first(), b.last()
	if a >= first && z <= last {
		x.discard(p, n, i)
		return
	}
	p.Store(x.owner[i], x.ownerWord(k, rangeClaimed))
	x.unlink(p, n, i)
	if a < first && z > last {
		j := x.pick(p)
		x.do(p, "writes the rest", func(s *State) uint64 {
			s.Mem[x.body[j]] = uint64(newRangeBody(n, last+1, z, 0, placeListed))
			s.Mem[x.pieces[k]] |= 1 << j
			return 0
		})
		x.link(p, n, j, owner)
	}
	if a < first {
		z = first - 1
	} else {
		a = last + 1
	}
	p.Store(x.body[i], uint64(newRangeBody(n, a, z, 0, placeListed)))
	x.link(p, n, i, owner)
}

// discard gives up a piece.
func (x *ranges) discard(p *P, n, i int) {
	p.Quiet(func(s *State) uint64 { s.Mem[x.pieces[x.process(p)]] &^= 1 << i; return 0 })
	p.Store(x.owner[i], x.ownerWord(x.process(p), rangeClaimed))
	x.unlink(p, n, i)
	x.put(p, i)
	x.quiet(p, n)
}

// release gives back what the holder has of a range.
func (x *ranges) release(p *P, op rangeOp) {
	x.stock(p, 1)
	x.giveUp(p, op, 0)
	x.latched(p, op.name)
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			i := x.piece(p, op.name, op.first, op.last)
			if i < 0 {
				return 0
			}
			b := rangeBody(p.Peek(x.body[i]))
			x.freed(p, max(op.first, b.first()), min(op.last, b.last()))
			p.Call(func() uint64 { x.trim(p, op.name, i, op.first, op.last); return 0 })
		}
	})
	x.leave(p, op.name)
}

// giveUp is when a holder begins to give back, or to convert to shared.
func (x *ranges) giveUp(p *P, op rangeOp, to uint64) {
	at := x.holds[x.process(p)]
	p.Do("gives up", func(s *State) uint64 {
		for place := op.first; place <= min(op.last, places-1); place++ {
			s.Mem[at] = withHeld(s.Mem[at], op.name, place, min(heldBits(s.Mem[at], op.name, place), to))
		}
		return 0
	})
}

func (x *ranges) releaseAll(p *P, n int) {
	k := x.process(p)
	x.giveUp(p, rangeOp{n, 0, 0, places}, 0)
	x.latched(p, n)
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			i := x.piece(p, n, 0, places)
			if i < 0 {
				break
			}
			b := rangeBody(p.Peek(x.body[i]))
			x.freed(p, b.first(), b.last())
			p.Call(func() uint64 { x.discard(p, n, i); return 0 })
		}
		for top := p.Mark(); ; p.Again(top) { // giveBackSpares
			if p.Peek(x.spares[k]) == 0 {
				return 0
			}
			p.CAS(x.owner[x.pick(p)], x.ownerWord(k, rangeClaimed), 0)
		}
	})
	x.leave(p, n)
}
