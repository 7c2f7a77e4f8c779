package explore

import (
	"lockd/internal/words"
)

// The steps of arena/desk.go.

// pass answers what can be answered, in order.
func (x *semaphore) pass(p *P, full bool) {
	p.Call(func() uint64 {
		x.change(p, 0, words.Look)
		if full {
			x.eachRequest(p, 0, func(link Addr, i int, _ uint64) (uint64, bool) {
				if words.KindOf(p.Load(x.owner[i])) == words.Withdrawn {
					x.drop(p, link, i)
				}
				return 0, true
			})
		}
		drained := x.has(p, words.Drained)
		free := x.countFree(p)
		const awaited = 1 << 8
		v := x.eachRequest(p, uint64(free), func(link Addr, i int, v uint64) (uint64, bool) {
			owner := p.Load(x.owner[i])
			n := p.Load(x.count[i])
			free := v & 0xff
			switch {
			case words.KindOf(owner) == words.Withdrawn:
				x.drop(p, link, i)
				return v, true
			case v&awaited != 0:
			case free < n || !x.give(p, i, owner, int(n)):
				v |= awaited
			case x.answer(p, link, i, owner, words.Granted):
				v -= n
			default:
				x.takeBack(p, i, owner, int(n))
			}
			return v, full || drained || v&awaited == 0
		})
		var flags words.Tickets
		if v&awaited != 0 {
			flags = words.Awaited
		}
		x.change(p, flags, (words.Awaited|words.Drained)&^flags)
		return 0
	})
}

func (x *semaphore) drop(p *P, link Addr, i int) {
	p.Call(func() uint64 {
		p.Store(link, p.Load(x.next[i]))
		p.CAS(x.owner[i], uint64(words.Withdrawn), 0)
		return 0
	})
}

func (x *semaphore) countFree(p *P) int {
	return int(p.Call(func() uint64 {
		free := uint64(0)
		for _, at := range x.ticket {
			free += p.Call(func() uint64 { return flag(p.Load(at) == uint64(x.freeTicket())) })
		}
		return free
	}))
}

func (x *semaphore) givenTo(i int, owner uint64) uint64 {
	return uint64(words.GivenTo(words.MemberOf(owner), uint32(i+1)))
}

func (x *semaphore) give(p *P, i int, owner uint64, n int) bool {
	return p.Call(func() uint64 {
		left := n
		for _, at := range x.ticket {
			if left > 0 && x.swapFree(p, at, x.givenTo(i, owner)) {
				left--
			}
		}
		if left > 0 {
			x.takeBack(p, i, owner, n-left)
		}
		return flag(left == 0)
	}) != 0
}

func (x *semaphore) takeBack(p *P, i int, owner uint64, n int) {
	p.Call(func() uint64 {
		for _, at := range x.ticket {
			if n > 0 && p.CAS(at, x.givenTo(i, owner), uint64(x.freeTicket())) {
				n--
			}
		}
		return 0
	})
}

// take takes n tickets for this process, under the latch.
func (x *semaphore) take(p *P, n int) bool {
	tickets := p.Call(func() uint64 {
		if x.countFree(p) < n {
			return 0
		}
		tickets, left := uint64(0), n
		for t, at := range x.ticket {
			if left > 0 && x.swapFree(p, at, uint64(x.self(p))) {
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
				p.CAS(at, uint64(x.self(p)), uint64(x.freeTicket()))
			}
		}
		return 0
	})
	return tickets != 0
}
