package explore

import (
	"math/bits"

	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/rangewalk.go and rangegrant.go, and the survey of
// rangehold.go. All is done under the latch.

// claimOf is what a record says whose owner word was loaded.
func (x *ranges) claimOf(p *P, i int, owner uint64) RangeClaim {
	b := rangeBody(p.Peek(x.body[i]))
	return RangeClaim{uint64(words.MemberOf(owner).Index), b.first(), b.last(), words.KindOf(owner), b.arrival()}
}

// each calls f with the records that overlap a range, in order, their owner
// words, and what f said last. f says whether to go on.
func (x *ranges) each(p *P, n int, first, last, v uint64, f func(i int, owner, v uint64) (uint64, bool)) uint64 {
	return p.Call(func() uint64 {
		if p.Peek(x.tree[n])&torn != 0 {
			p.Do("walks", func(*State) uint64 { return 0 })
			p.Fail("a tree is walked that is half-changed")
			return v
		}
		for top, at, v := p.Mark(), uint64(0), v; ; p.Again(top, at, v) {
			at, v = p.Var(at), p.Var(v)
			if at = p.Quiet(func(s *State) uint64 { return x.nextIn(s, n, first, last, at) }); at == 0 {
				return v
			}
			i := int(at&15) - 1
			var more bool
			if v, more = f(i, p.Load(x.owner[i]), v); !more {
				return v
			}
		}
	})
}

// nextIn is the next record of the tree, as its first place and its number.
func (x *ranges) nextIn(s *State, n int, first, last, after uint64) (next uint64) {
	for i := range x.owner {
		b := rangeBody(s.Mem[x.body[i]])
		at := b.first()<<4 | uint64(i+1)
		if s.Mem[x.tree[n]]>>i&1 != 0 && b.first() <= last && b.last() >= first && at > after && (next == 0 || at < next) {
			next = at
		}
	}
	return next
}

// survey tells whether anybody is in the way of a request. h says that it is
// this process's, and whether it has pieces that overlap or touch matters.
func (x *ranges) survey(p *P, n int, q RangeClaim, h bool) (barred, own bool) {
	const isBarred, isOwn = 1, 2
	v := p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			v := x.each(p, n, q.First-min(q.First, 1), q.Last+1, 0, func(i int, owner, v uint64) (uint64, bool) {
				c := x.claimOf(p, i, owner)
				switch {
				case c.Kind == rangeGone:
					return v&3 | uint64(i+1)<<2, true
				case c.Party == q.Party:
					return v | isOwn*flag(h && p.Quiet(func(s *State) uint64 { return s.Mem[x.pieces[x.process(p)]] >> i & 1 }) != 0), true
				case v&isBarred == 0:
					return v | isBarred*flag(x.bars(p, n, c, q)), true
				}
				return v, true
			})
			if v>>2 == 0 {
				return v
			}
			x.drop(p, n, int(v>>2)-1)
		}
	})
	return v&isBarred != 0, v&isOwn != 0
}

func (x *ranges) bars(p *P, n int, c, q RangeClaim) bool {
	switch c.StandingTo(q) {
	case rangeInWay:
		return true
	case rangeBefore:
		if x.setup.Break == "conversions queue" {
			return true
		}
		return x.each(p, n, c.First, c.Last, max(c.First, q.First)<<1, func(i int, owner, v uint64) (uint64, bool) {
			next, yes := q.Overtakes(c, x.claimOf(p, i, owner), v>>1)
			return next<<1 | flag(yes), !yes
		})&1 == 0
	}
	return false
}

// pass grants what can be granted of the requests that overlap a range.
func (x *ranges) pass(p *P, n int, first, last uint64, exact bool) {
	p.Call(func() uint64 {
		if !exact && p.Peek(x.count[n]) == 0 {
			return 0
		}
		for top := p.Mark(); ; p.Again(top) {
			batch := x.batch(p, n, first, last)
			if gone := batch >> 60; gone != 0 {
				x.drop(p, n, int(gone)-1)
				continue
			}
			for only := false; batch != 0; batch >>= 4 {
				i := int(batch&15) - 1
				only = p.Call(func() uint64 { return flag(x.consider(p, n, i, first, last, exact, only)) }) != 0
			}
			return 0
		}
	})
}

// batch are the requests that overlap a range, in order of arrival, four bits
// for each, and above them a record that is gone.
func (x *ranges) batch(p *P, n int, first, last uint64) uint64 {
	return x.each(p, n, first, last, 0, func(i int, owner, v uint64) (uint64, bool) {
		switch kind := words.KindOf(owner); {
		case kind == rangeGone:
			return v&^(15<<60) | uint64(i+1)<<60, true
		case isRangeWait(kind):
			return p.Quiet(func(s *State) uint64 { return x.inserted(s, v, i) }), true
		}
		return v, true
	})
}

func (x *ranges) inserted(s *State, batch uint64, i int) uint64 {
	at := 0
	for ; batch>>at&15 != 0; at += 4 {
		if other := batch>>at&15 - 1; rangeBody(s.Mem[x.body[other]]).arrival() > rangeBody(s.Mem[x.body[i]]).arrival() {
			break
		}
	}
	below := batch & (1<<at - 1)
	return batch&(15<<60) | below | uint64(i+1)<<at | batch&^(15<<60)>>at<<(at+4)
}

// consider grants a request of a batch if it can. It says whether from here on
// only those matter whose holders had something when they came.
func (x *ranges) consider(p *P, n, i int, first, last uint64, exact, only bool) bool {
	owner := p.Load(x.owner[i])
	b := rangeBody(p.Peek(x.body[i]))
	if !isRangeWait(words.KindOf(owner)) || only && b.place() != placeHolding {
		return only
	}
	q := x.claimOf(p, i, owner)
	barred, _ := x.survey(p, n, q, false)
	if barred && !x.stillWaits(p, n, i, owner) || !barred && !x.grant(p, n, i, owner) {
		x.drop(p, n, i)
		return only
	}
	return only || !exact && !isSharedKind(q.Kind) && q.First <= first && q.Last >= last
}

func (x *ranges) stillWaits(p *P, n, i int, owner uint64) bool {
	return p.Load(x.owner[i]) == owner && (x.setup.Names == 1 || rangeBody(p.Load(x.body[i])).name() == n)
}

func (x *ranges) grant(p *P, n, i int, owner uint64) bool {
	return p.Call(func() uint64 {
		m := words.MemberOf(owner)
		held := words.OwnerOf(m, grantedAs(words.KindOf(owner)))
		switch x.setup.Break {
		case "grants by a store":
			p.Store(x.owner[i], held)
		case "grants what waits for another name by now":
			if !p.CAS(x.owner[i], owner, held) {
				return 0
			}
		default:
			if !x.stillWaits(p, n, i, owner) || !p.CAS(x.owner[i], owner, held) {
				return 0
			}
		}
		x.uncount(p, n)
		x.do(p, "is to ring", func(s *State) uint64 {
			b := rangeBody(s.Mem[x.body[i]]) // what is held has no place in the queue
			s.Mem[x.body[i]] = uint64(newRangeBody(n, b.first(), b.last(), 0, placeGranted))
			s.Mem[x.desk[p.Self]] |= 1 << processOf(m)
			return 0
		})
		return 1
	}) != 0
}

func (x *ranges) uncount(p *P, n int) {
	if c := p.Peek(x.count[n]); c > 0 {
		p.Store(x.count[n], c-1)
	}
}

// drop takes a record that is gone out of the tree and frees it.
func (x *ranges) drop(p *P, n, i int) {
	p.Call(func() uint64 {
		if x.setup.Names > 1 && rangeBody(p.Load(x.body[i])).name() != n || words.KindOf(p.Load(x.owner[i])) != rangeGone {
			return 0
		}
		b := rangeBody(p.Peek(x.body[i]))
		if b.place() >= placeWaiting {
			x.uncount(p, n)
			p.Store(x.body[i], b.at(placeGranted))
		}
		if x.unlink(p, n, i) {
			return 0
		}
		if p.CAS(x.owner[i], uint64(rangeGone), 0) {
			x.cleared(p, i)
		}
		x.quiet(p, n)
		return 0
	})
}

// cleared forgets, in the step that frees a record, what it said, so that it
// does not tell states apart; but not under which name.
func (x *ranges) cleared(p *P, i int) {
	p.Ghost(func(s *State) { x.clearBody(s, i) })
}

func (x *ranges) clearBody(s *State, i int) {
	s.Mem[x.body[i]] = uint64(newRangeBody(rangeBody(s.Mem[x.body[i]]).name(), 0, 0, 0, 0))
}

// quiet: with nothing in the tree nobody waits, whatever was counted.
func (x *ranges) quiet(p *P, n int) {
	if p.Peek(x.tree[n]) == 0 && p.Peek(x.count[n]) != 0 {
		p.Store(x.count[n], 0)
	}
}

func (x *ranges) link(p *P, n, i int, owner uint64) {
	p.Store(x.owner[i], owner)
	x.insert(p, n, i)
}

func (x *ranges) insert(p *P, n, i int) {
	tree := p.Peek(x.tree[n])
	p.Store(x.tree[n], tree|torn)
	p.Store(x.tree[n], tree|1<<i)
}

// unlink takes a record out of the tree. It says whether the tree was made
// anew instead.
func (x *ranges) unlink(p *P, n, i int) (rebuilt bool) {
	tree := p.Peek(x.tree[n])
	if tree>>i&1 == 0 {
		x.rebuild(p, n)
		return true
	}
	p.Store(x.tree[n], tree|torn)
	p.Store(x.tree[n], tree&^(1<<i))
	return false
}

// rebuild makes the tree anew from the records, and how many wait.
func (x *ranges) rebuild(p *P, n int) {
	p.Call(func() uint64 {
		p.Store(x.tree[n], 0)
		waiting := uint64(0)
		for i := range x.owner {
			waiting += p.Call(func() uint64 { return flag(x.rebuildRecord(p, n, i)) })
		}
		p.Store(x.count[n], waiting)
		return 0
	})
}

func (x *ranges) rebuildRecord(p *P, n, i int) (waits bool) {
	owner := p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			owner := p.Load(x.owner[i])
			if !inTree(words.KindOf(owner)) || x.setup.Names > 1 && rangeBody(p.Load(x.body[i])).name() != n {
				return 0
			}
			if x.setup.Names == 1 || p.Load(x.owner[i]) == owner {
				return owner
			}
		}
	})
	kind := words.KindOf(owner)
	switch b := rangeBody(p.Peek(x.body[i])); {
	case owner == 0:
		return false
	case kind == rangeGone:
		if p.CAS(x.owner[i], owner, 0) {
			x.cleared(p, i)
		}
		return false
	case !isRangeWait(kind) && b.place() >= placeWaiting:
		p.Store(x.body[i], b.at(placeGranted))
	}
	p.Store(x.tree[n], p.Peek(x.tree[n])|1<<i)
	return isRangeWait(kind)
}

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
	if !x.setup.Ticks && !x.setup.Hasty {
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
