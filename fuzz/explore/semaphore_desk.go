package explore

import (
	"lockd/internal/words"
)

// The steps of arena/grant.go, of ending.go, and of tidy.

// The modes of a request.
const (
	wantTickets = 0
	wantBack    = 2
	wantEnd     = 3
)

func (x *semaphore) modeOf(p *P, i int) uint64 {
	if !x.changes() {
		return wantTickets
	}
	return p.Peek(x.mode[i])
}

// inChain is how many tickets there are, for who has the latch.
func (x *semaphore) inChain(p *P) int {
	if !x.changes() {
		return len(x.ticket)
	}
	return int(p.Peek(x.made))
}

// pass answers what can be answered, in order.
func (x *semaphore) pass(p *P, full bool) {
	p.Call(func() uint64 {
		x.change(p, 0, words.Look)
		if full {
			x.tidy(p)
		}
		st := x.load(p)
		const (
			uncounted = 0xff
			ended     = 1 << 8
		)
		v := x.eachRequest(p, uncounted, func(link Addr, i int, v uint64) (uint64, bool) {
			owner := p.Load(x.owner[i])
			n := int(p.Load(x.count[i]))
			if words.KindOf(owner) == words.Withdrawn {
				x.drop(p, link, i)
				return v, true
			}
			switch mode := x.modeOf(p, i); {
			case mode == wantEnd:
				if x.endSemaphore(p, st) {
					return ended, false
				}
				v |= uint64(words.Drained)
			case mode == wantBack && n < st.Capacity():
				x.answer(p, link, i, owner, words.Refused)
			case mode == wantBack && !x.anyHeld(p, n):
				x.answer(p, link, i, owner, words.Granted)
			case mode == wantBack:
				v |= uint64(words.Drained)
			case st.Has(words.Ending) || n > st.Capacity():
				x.answer(p, link, i, owner, words.Refused)
			case v&uint64(words.Awaited) != 0:
			default:
				if v&uncounted == uncounted {
					v = v&^uncounted | uint64(x.countFree(p, st))
				}
				switch free := int(v & uncounted); {
				case free < n || !x.give(p, i, owner, n, st):
					v |= uint64(words.Awaited)
				case x.answer(p, link, i, owner, words.Granted):
					v -= uint64(n)
				default:
					x.takeBack(p, i, owner, n, st)
				}
			}
			return v, full || st.Has(words.Drained) || v&uint64(words.Awaited) == 0
		})
		flags := words.Tickets(v) & (words.Awaited | words.Drained)
		if v != ended {
			x.change(p, flags, (words.Awaited|words.Drained)&^flags)
		}
		return 0
	})
}

// tidy takes withdrawn requests out of the queue, and ends the ending if its
// destroyer has gone.
func (x *semaphore) tidy(p *P) {
	ending := words.Tickets(x.eachRequest(p, 0, func(link Addr, i int, v uint64) (uint64, bool) {
		if words.KindOf(p.Load(x.owner[i])) == words.Withdrawn {
			x.drop(p, link, i)
		} else if x.modeOf(p, i) == wantEnd {
			v = uint64(words.Ending)
		}
		return v, true
	}))
	if x.changes() {
		x.change(p, ending, words.Ending&^ending)
	}
}

func (x *semaphore) drop(p *P, link Addr, i int) {
	p.Call(func() uint64 {
		p.Store(link, p.Load(x.next[i]))
		p.CAS(x.owner[i], uint64(words.Withdrawn), 0)
		return 0
	})
}

func (x *semaphore) countFree(p *P, st words.Tickets) int {
	return int(p.Call(func() uint64 {
		free := uint64(0)
		for _, at := range x.ticket[:min(st.Capacity(), x.inChain(p))] {
			free += p.Call(func() uint64 { return flag(p.Load(at) == uint64(st.Free())) })
		}
		return free
	}))
}

// anyHeld tells whether a ticket from number from on is held.
func (x *semaphore) anyHeld(p *P, from int) bool {
	return p.Call(func() uint64 {
		for t := from; t < x.inChain(p); t++ {
			if _, held := words.Ticket(p.Load(x.ticket[t])).Owner(); held {
				return 1
			}
		}
		return 0
	}) != 0
}

func (x *semaphore) givenTo(i int, owner uint64) uint64 {
	return uint64(words.GivenTo(words.MemberOf(owner), uint32(i+1)))
}

func (x *semaphore) give(p *P, i int, owner uint64, n int, st words.Tickets) bool {
	return p.Call(func() uint64 {
		left := n
		for _, at := range x.ticket[:min(st.Capacity(), x.inChain(p))] {
			if left > 0 && x.swapFree(p, at, uint64(st.Free()), x.givenTo(i, owner)) {
				left--
			}
		}
		if left > 0 {
			x.takeBack(p, i, owner, n-left, st)
		}
		return flag(left == 0)
	}) != 0
}

func (x *semaphore) takeBack(p *P, i int, owner uint64, n int, st words.Tickets) {
	p.Call(func() uint64 {
		for _, at := range x.ticket[:min(st.Capacity(), x.inChain(p))] {
			if n > 0 && p.CAS(at, x.givenTo(i, owner), uint64(st.Free())) {
				n--
			}
		}
		return 0
	})
}

// take takes n tickets for this process, under the latch.
func (x *semaphore) take(p *P, n int, st words.Tickets) bool {
	tickets := p.Call(func() uint64 {
		if x.countFree(p, st) < n {
			return 0
		}
		tickets, left := uint64(0), n
		for t, at := range x.ticket[:min(st.Capacity(), x.inChain(p))] {
			if left > 0 && x.swapFree(p, at, uint64(st.Free()), uint64(x.self(p))) {
				tickets |= 1 << t
				left--
			}
		}
		if left == 0 {
			x.got(p, tickets)
			return tickets
		}
		for t, at := range x.ticket {
			if tickets>>t&1 != 0 {
				p.CAS(at, uint64(x.self(p)), uint64(st.Free()))
			}
		}
		return 0
	})
	return tickets != 0
}
