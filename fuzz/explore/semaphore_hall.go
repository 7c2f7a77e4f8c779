package explore

import (
	"lockd/internal/words"
)

// The steps of arena/hall.go and holding.go.

func (x *semaphore) got(p *P, tickets uint64) {
	p.Ghost(func(s *State) { s.Mem[x.holds[p.Self]] |= tickets })
}

func (x *semaphore) mayTake(st words.Tickets) bool { return !st.Has(words.Awaited | words.Ending) }

func (x *semaphore) takeOne(p *P) bool {
	st := x.load(p)
	if !x.mayTake(st) {
		return false
	}
	for t := range x.ticket {
		if x.swapFree(p, x.ticket[t], uint64(x.self(p))) {
			return x.keep(p, t, st)
		}
	}
	return false
}

// swapFree takes a ticket if it is free.
func (x *semaphore) swapFree(p *P, at Addr, to uint64) bool {
	return p.Call(func() uint64 {
		return flag(p.Load(at) == uint64(x.freeTicket()) && p.CAS(at, uint64(x.freeTicket()), to))
	}) != 0
}

func (x *semaphore) keep(p *P, t int, st words.Tickets) bool {
	kept := func() bool {
		p.Ghost(func(s *State) {
			if words.Tickets(s.Mem[x.state]).Has(words.Awaited) {
				p.Fail("process %d keeps a ticket that another waits for", x.process(p)+1)
			}
		})
		x.got(p, 1<<t)
		return true
	}
	if x.setup.Break == "newcomer does not look again" {
		return kept()
	}
	if now := x.load(p); now != st && !x.mayTake(now) {
		p.CAS(x.ticket[t], uint64(x.self(p)), uint64(x.freeTicket()))
		x.serve(p, false)
		return false
	}
	return kept()
}

func (x *semaphore) release(p *P) {
	if x.setup.Break == "looks whether anybody waits before it gives back" {
		awaited := x.has(p, words.Awaited|words.Drained)
		x.giveBack(p)
		if awaited {
			x.serve(p, false)
		}
		return
	}
	x.giveBack(p)
	if x.has(p, words.Awaited|words.Drained) {
		x.serve(p, false)
	}
}

func (x *semaphore) giveBack(p *P) {
	p.Call(func() uint64 {
		for t, at := range x.ticket {
			if p.Do("has ticket", func(s *State) uint64 {
				if s.Mem[x.holds[p.Self]]>>t&1 == 0 {
					return 0
				}
				s.Mem[x.holds[p.Self]] &^= 1 << t
				return flag(casIn(s, at, uint64(x.self(p)), uint64(x.freeTicket())))
			}) != 0 {
				continue
			}
		}
		return 0
	})
}

func (x *semaphore) freeTicket() words.Ticket { return words.NewTickets(1, 0).Free() }
