package explore

import (
	"lockd/internal/words"
)

// The steps of arena/capacity.go, incarnation.go and ending.go.

// join finds the semaphore, which it makes if it may. An incarnation of 0 says
// that there is none.
func (x *semaphore) join(p *P, makes bool) joined {
	if !x.changes() {
		return joined{1, len(x.ticket)}
	}
	incarnation, places := p.Call2(func() (uint64, uint64) {
		for top := p.Mark(); ; p.Again(top) {
			if st := x.load(p); st.Exists() {
				places := p.Load(x.made)
				if x.load(p).Incarnation() != st.Incarnation() {
					continue // hallOf: it has gone meanwhile
				}
				return uint64(st.Incarnation()), places
			}
			if !makes || uint32(p.Load(x.born)) >= max(x.setup.Last, 1) {
				return 0, 0
			}
			p.Call(func() uint64 { x.create(p); return 0 })
		}
	})
	return joined{uint32(incarnation), int(places)}
}

func (x *semaphore) create(p *P) {
	x.latched(p)
	p.Call(func() uint64 {
		x.mendIfAbandoned(p)
		if x.load(p).Exists() || uint32(p.Peek(x.born)) >= x.setup.Last {
			return 0
		}
		st := words.NewTickets(uint32(p.Add(x.born, 1)), x.setup.Most)
		x.extend(p, 0, st)
		p.Store(x.state, uint64(st))
		return 0
	})
	x.afterwards(p)
}

// extend appends tickets to the chain until it has enough for st.
func (x *semaphore) extend(p *P, have int, st words.Tickets) {
	p.Call(func() uint64 {
		for t := have; t < st.Capacity(); t++ {
			p.Store(x.ticket[t], uint64(st.Free()))
			p.Store(x.made, uint64(t+1))
		}
		return 0
	})
}

// resize changes the size, and waits for the tickets that are too many.
func (x *semaphore) resize(p *P, n int) {
	j := x.join(p, false)
	if j.incarnation == 0 {
		return
	}
	request := -1
	if x.setup.Waits {
		request = x.claimRecord(p)
	}
	const done, gone, ending = 0, 1, 2
	out := p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			x.latched(p)
			out := p.Call(func() uint64 {
				x.mendIfAbandoned(p)
				if x.has(p, words.Ending) {
					x.pass(p, true)
				}
				st := x.load(p)
				if st.Incarnation() != j.incarnation || st.Has(words.Ending) {
					return gone + flag(st.Has(words.Ending))*(ending-gone)
				}
				early := x.setup.Break == "the size changes before its tickets are made"
				if early {
					x.setSize(p, n)
				}
				x.extend(p, x.inChain(p), words.NewTickets(st.Incarnation(), n))
				if request >= 0 {
					x.enqueue(p, request, n, wantBack, words.Drained)
				}
				if !early {
					x.setSize(p, n)
				}
				x.pass(p, true)
				return done
			})
			x.afterwards(p)
			if out != ending || !x.reapNow(p) {
				return out
			}
		}
	})
	if request >= 0 {
		x.answered(p, request, out == done)
	}
}

func (x *semaphore) setSize(p *P, n int) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			st := x.load(p)
			if p.CAS(x.state, uint64(st), uint64(st&^words.CapacityMask|words.Tickets(n)|words.Awaited|words.Drained)) {
				return 0
			}
		}
	})
}

// answered waits for the answer to a request that is not for tickets, if it was
// queued.
func (x *semaphore) answered(p *P, request int, queued bool) {
	me := memberOf(x.process(p))
	if !queued {
		p.CAS(x.owner[request], words.OwnerOf(me, words.Reserved), 0)
		return
	}
	if kind := words.Kind(p.Call(func() uint64 { return uint64(x.await(p, request)) })); kind != words.Withdrawn {
		p.CAS(x.owner[request], words.OwnerOf(me, kind), 0)
	}
}

// reapNow frees what the dead hold and withdraws what they wait for, such as
// the semaphore's end.
func (x *semaphore) reapNow(p *P) bool {
	if x.setup.Deaths == 0 {
		return false
	}
	return p.Call(func() uint64 {
		if p.Do("is anything left of the dead", func(s *State) uint64 { return flag(x.leftInQueue(s)) }) == 0 {
			return 0
		}
		x.reap(p)
		x.serve(p, true)
		return 1
	}) != 0
}

// leftInQueue tells whether reaping would come to anything.
func (x *semaphore) leftInQueue(s *State) bool {
	for _, at := range x.ticket {
		if m, held := words.Ticket(s.Mem[at]).Owner(); held && x.dead(s, m) {
			return true
		}
	}
	for _, at := range x.owner {
		if words.KindOf(s.Mem[at]) == words.Wanted && x.dead(s, words.MemberOf(s.Mem[at])) {
			return true
		}
	}
	return false
}

// destroy refuses those who wait, waits until all tickets are back, and ends
// the semaphore.
func (x *semaphore) destroy(p *P) {
	j := x.join(p, false)
	if j.incarnation == 0 {
		return
	}
	request := x.claimRecord(p)
	queued := p.Call(func() uint64 {
		x.latched(p)
		queued := p.Call(func() uint64 {
			x.mendIfAbandoned(p)
			if x.load(p).Incarnation() != j.incarnation {
				return 0
			}
			x.enqueue(p, request, 0, wantEnd, words.Ending|words.Drained)
			x.pass(p, true)
			return 1
		})
		x.afterwards(p)
		return queued
	}) != 0
	x.answered(p, request, queued)
}

// endSemaphore destroys the semaphore if all its tickets are back.
func (x *semaphore) endSemaphore(p *P, st words.Tickets) bool {
	return p.Call(func() uint64 {
		n := x.inChain(p)
		if x.setup.Break == "ends with a ticket out that is beyond the size" {
			n = min(n, st.Capacity())
		}
		if p.Call(func() uint64 {
			for _, at := range x.ticket[:n] {
				if !p.CAS(at, uint64(st.Free()), 0) {
					return 0
				}
			}
			return 1
		}) == 0 {
			p.Call(func() uint64 {
				for _, at := range x.ticket[:n] {
					if !p.CAS(at, 0, uint64(st.Free())) {
						break
					}
				}
				return 0
			})
			return 0
		}
		p.Call(func() uint64 {
			for top := p.Mark(); ; p.Again(top) {
				if p.CAS(x.state, uint64(x.load(p)), 0) {
					p.Ghost(func(s *State) { x.checkBack(p, s, 0) })
					return 0
				}
			}
		})
		if x.setup.Break != "ends and does not answer who waits" {
			x.eachRequest(p, 0, func(link Addr, i int, _ uint64) (uint64, bool) {
				owner := p.Load(x.owner[i])
				p.Store(link, p.Load(x.next[i]))
				x.finish(p, i, owner)
				return 0, true
			})
		}
		p.Store(x.made, 0)
		return 1
	}) != 0
}

// finish answers a request, which is in no queue, to a semaphore that is gone.
func (x *semaphore) finish(p *P, i int, owner uint64) {
	p.Call(func() uint64 {
		if words.KindOf(owner) == words.Withdrawn && x.setup.Break != "the end answers who has withdrawn" {
			p.CAS(x.owner[i], owner, 0)
			return 0
		}
		m, kind := words.MemberOf(owner), words.Refused
		if x.modeOf(p, i) == wantEnd {
			kind = words.Granted
		}
		if !p.CAS(x.owner[i], owner, words.OwnerOf(m, kind)) {
			p.CAS(x.owner[i], uint64(words.Withdrawn), 0)
			return 0
		}
		p.Ghost(func(s *State) {
			if m.Index == 0 {
				p.Fail("request %d is answered, and nobody waits for that", i+1)
				return
			}
			s.Mem[x.rung[p.Self]] |= 1 << processOf(m)
		})
		return 0
	})
}
