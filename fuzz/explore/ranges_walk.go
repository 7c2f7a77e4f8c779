package explore

import (
	"lockd/internal/words"
)

// The steps of arena/rangewalk.go, and the survey of
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
