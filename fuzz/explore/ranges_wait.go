package explore

import (
	"lockd/internal/words"
)

// The steps of arena/ranges.go, rangewait.go and rangereap.go.

// lock takes a range, waiting for it; false if the context has ended.
func (x *ranges) lock(p *P, op rangeOp) bool {
	if isSharedKind(op.kind) {
		x.giveUp(p, op, 1)
	}
	x.stock(p, 2)
	i := int(p.Call(func() uint64 {
		x.latched(p, op.name)
		v := p.Call(func() uint64 { return uint64(x.lockOrQueue(p, op) + 1) })
		x.leave(p, op.name)
		return v
	})) - 1
	return i < 0 || x.await(p, op, i) && x.collect(p, op, i)
}

func (x *ranges) claim(p *P, op rangeOp) RangeClaim {
	return RangeClaim{uint64(memberOf(x.process(p)).Index), op.first, op.last, waitingAs(op.kind), 15}
}

// lockOrQueue returns the request that waits, or -1.
func (x *ranges) lockOrQueue(p *P, op rangeOp) int {
	barred, own := x.survey(p, op.name, x.claim(p, op), true)
	if !barred || x.setup.Break == "an upgrade goes beside other readers" && own {
		x.hold(p, op, own, 0)
		return -1
	}
	i := x.enqueue(p, op)
	x.pass(p, op.name, op.first, op.last, true)
	return i
}

func (x *ranges) enqueue(p *P, op rangeOp) int {
	i, k := x.pick(p), x.process(p)
	x.do(p, "writes the request", func(s *State) uint64 {
		place := uint64(placeWaiting)
		if s.Mem[x.pieces[k]] != 0 {
			place = placeHolding
		}
		s.Mem[x.body[i]] = uint64(newRangeBody(op.name, op.first, op.last, x.arrive(s, op.name), place))
		return 0
	})
	if x.setup.Break != "queues and is not counted" {
		p.Store(x.count[op.name], p.Peek(x.count[op.name])+1)
	}
	p.Call(func() uint64 { x.link(p, op.name, i, x.ownerWord(k, waitingAs(op.kind))); return 0 })
	return i
}

// arrive draws from the slot's fence. Only the order of those that wait
// matters, so the numbers are made small again.
func (x *ranges) arrive(s *State, n int) (rank uint64) {
	rank = 1
	for arrival := uint64(1); arrival < 15; arrival++ {
		for i, at := range x.body {
			b := rangeBody(s.Mem[at])
			if b.arrival() != arrival || b.name() != n || s.Mem[x.tree[n]]>>i&1 == 0 || !isRangeWait(words.KindOf(s.Mem[x.owner[i]])) {
				continue
			}
			s.Mem[at] = uint64(newRangeBody(n, b.first(), b.last(), rank, b.place()))
			rank++
		}
	}
	return rank
}

// await waits for the answer; false if the request was withdrawn.
func (x *ranges) await(p *P, op rangeOp, i int) bool {
	k := x.process(p)
	wanted := x.ownerWord(k, waitingAs(op.kind))
	leave := func() {
		p.Ghost(func(s *State) {
			s.Mem[x.waits[k]], s.Mem[x.nudged[k]] = 0, 0
			if x.stopped != nil {
				s.Mem[x.stopped[k]] = 0
			}
		})
	}
	if p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			p.Do("looks at the bell", func(s *State) uint64 {
				s.Mem[x.bell[k]], s.Mem[x.waits[k]] = 0, uint64(op.name+1)
				return 0
			})
			p.Store(x.nudged[k], 0)
			if p.Load(x.owner[i]) != wanted {
				leave()
				return 1
			}
			if x.setup.Cancels && p.Do("looks whether to give up", func(s *State) uint64 { return s.Mem[x.stopped[k]] }) != 0 {
				withdrawn := p.CAS(x.owner[i], wanted, uint64(rangeGone))
				leave()
				return flag(!withdrawn)
			}
			p.Sleep(x.bell[k], 0, x.nudged[k])
		}
	}) != 0 {
		return true
	}
	if x.setup.Break != "withdraws and serves nobody" && x.tryLatched(p, op.name) {
		p.Call(func() uint64 {
			x.drop(p, op.name, i)
			x.pass(p, op.name, op.first, op.last, false)
			return 0
		})
		x.leave(p, op.name)
	}
	return false
}

// collect makes a piece of the holder's of a record that was granted.
func (x *ranges) collect(p *P, op rangeOp, i int) bool {
	held := x.ownerWord(x.process(p), op.kind)
	if x.setup.Late && p.Choose("gets the latch too late", 2) == 1 {
		p.CAS(x.owner[i], held, uint64(rangeGone))
		x.serve(p, op.name, 1<<i, op.first, op.last)
		return false
	}
	x.latched(p, op.name)
	p.Call(func() uint64 {
		if p.Load(x.owner[i]) != held {
			p.Fail("what was granted to process %d is not there", x.process(p)+1)
			return 0
		}
		_, own := x.survey(p, op.name, x.claim(p, op), true)
		x.hold(p, op, own, i+1)
		if own {
			x.freed(p, op.first, op.last)
		}
		return 0
	})
	x.leave(p, op.name)
	return true
}

// serve takes what is gone out of the tree, and grants what can be granted.
func (x *ranges) serve(p *P, n int, gone, first, last uint64) {
	p.Call(func() uint64 {
		if !x.tryLatched(p, n) {
			return 0
		}
		p.Call(func() uint64 {
			for i := range x.owner {
				if gone>>i&1 != 0 {
					x.drop(p, n, i)
				}
			}
			x.pass(p, n, first, last, true)
			return 0
		})
		x.leave(p, n)
		return 0
	})
}

// bury takes away what the dead hold or wait for under a name.
func (x *ranges) bury(p *P, n int) (records uint64) {
	return p.Call(func() uint64 {
		records := uint64(0)
		for i := range x.owner {
			records |= p.Call(func() uint64 { return flag(x.buryRecord(p, n, i)) << i })
		}
		return records
	})
}

func (x *ranges) buryRecord(p *P, n, i int) bool {
	owner := p.Load(x.owner[i])
	m, kind := words.MemberOf(owner), words.KindOf(owner)
	if !isRangeWait(kind) && !isRangeHeld(kind) || !x.gone(p, m) || x.setup.Names > 1 && rangeBody(p.Load(x.body[i])).name() != n {
		return false
	}
	if x.setup.Break == "the dead are buried by a store" {
		p.Store(x.owner[i], uint64(rangeGone))
		return true
	}
	if p.CAS(x.owner[i], owner, uint64(rangeGone)) {
		return true
	}
	if owner = p.Load(x.owner[i]); words.MemberOf(owner) != m || !isRangeHeld(words.KindOf(owner)) {
		return false
	}
	return p.CAS(x.owner[i], owner, uint64(rangeGone)) // of the dead nothing changes twice
}

// ticker is tendRanges.
func (x *ranges) ticker(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		n := int(p.Await("ticks", func(s *State) bool { return s.Mem[x.waits[k]] != 0 }, func(s *State) uint64 { return s.Mem[x.waits[k]] })) - 1
		if x.setup.Deaths > 0 {
			if gone := x.bury(p, n); gone != 0 {
				x.serve(p, n, gone, 0, places)
			}
		}
		x.serve(p, n, 0, 0, places)
		p.Do("nudges", func(s *State) uint64 {
			if s.Mem[x.waits[k]] != 0 {
				x.nudge(s, k)
			}
			return 0
		})
	}
}

// settle is a settler's pass: the latches, the records, what is gone.
func (x *ranges) settle(p *P) {
	p.Await("settles", x.leftBehind, func(*State) uint64 { return 0 })
	for n := range x.latch {
		p.Call(func() uint64 {
			w := p.Word(x.latch[n])
			if !w.IsFree() && x.gone(p, w.Owner()) && p.CAS(x.latch[n], uint64(w), uint64(w.Reclaimed(x.self(p)))) {
				x.mendIfAbandoned(p, n)
				x.leave(p, n)
			}
			return 0
		})
	}
	for i := range x.owner {
		p.Call(func() uint64 {
			for top := p.Mark(); ; p.Again(top) {
				owner := p.Load(x.owner[i])
				after := uint64(0)
				if inTree(words.KindOf(owner)) {
					after = uint64(rangeGone)
				}
				if !x.gone(p, words.MemberOf(owner)) || p.CAS(x.owner[i], owner, after) {
					return 0
				}
			}
		})
	}
	for n := range x.latch {
		if gone := p.Call(func() uint64 {
			gone := uint64(0)
			for i := range x.owner {
				gone |= p.Call(func() uint64 {
					return flag(words.KindOf(p.Load(x.owner[i])) == rangeGone && (len(x.latch) == 1 || rangeBody(p.Load(x.body[i])).name() == n)) << i
				})
			}
			return gone
		}); gone != 0 {
			x.serve(p, n, gone, 0, places)
		}
	}
}

// leftBehind tells whether anything names a dead.
func (x *ranges) leftBehind(s *State) bool {
	for _, at := range x.latch {
		if w := robustWord(s, at); !w.IsFree() && x.ProcessDead(s, processOf(w.Owner())) {
			return true
		}
	}
	for _, at := range x.owner {
		if m := words.MemberOf(s.Mem[at]); m.Index != 0 && x.ProcessDead(s, processOf(m)) {
			return true
		}
	}
	return false
}
