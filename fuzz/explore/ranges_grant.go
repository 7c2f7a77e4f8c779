package explore

import (
	"lockd/internal/words"
)

// The steps of arena/rangegrant.go.

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
