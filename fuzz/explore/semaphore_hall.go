package explore

import (
	"lockd/internal/words"
)

// The steps of arena/hall.go and holding.go.

func (x *semaphore) got(p *P, tickets uint64) {
	p.Ghost(func(s *State) { s.Mem[x.holds[p.Self]] |= tickets })
}

// joined is the incarnation that a handle was first used for, and how many of
// its tickets the process knows: its hall.
type joined struct {
	incarnation uint32
	places      int
}

func (j joined) mayTake(st words.Tickets, number int) bool {
	return st.Incarnation() == j.incarnation && !st.Has(words.Awaited|words.Ending) && number < st.Capacity()
}

func (j joined) free() uint64 { return uint64(words.NewTickets(j.incarnation, 0).Free()) }

func (x *semaphore) takeOne(p *P, j joined) bool {
	st := x.load(p)
	if !j.mayTake(st, 0) {
		return false
	}
	for t := range min(j.places, st.Capacity()) {
		if x.swapFree(p, x.ticket[t], j.free(), uint64(x.self(p))) {
			return x.keep(p, t, j, st)
		}
	}
	return false
}

// swapFree takes a ticket if it is free.
func (x *semaphore) swapFree(p *P, at Addr, free, to uint64) bool {
	return p.Call(func() uint64 { return flag(p.Load(at) == free && p.CAS(at, free, to)) }) != 0
}

func (x *semaphore) keep(p *P, t int, j joined, st words.Tickets) bool {
	kept := func() bool {
		p.Ghost(func(s *State) {
			now := words.Tickets(s.Mem[x.state])
			if now.Has(words.Awaited) {
				p.Fail("process %d keeps a ticket that another waits for", x.process(p)+1)
			}
			if !j.mayTake(now, t) {
				p.Fail("process %d keeps ticket %d, which is given out no more", x.process(p)+1, t)
			}
		})
		x.got(p, 1<<t)
		return true
	}
	if x.setup.Break == "newcomer does not look again" {
		return kept()
	}
	if now := x.load(p); now != st && !j.mayTake(now, t) {
		p.CAS(x.ticket[t], uint64(x.self(p)), j.free())
		x.serve(p, false)
		return false
	}
	return kept()
}

func (x *semaphore) release(p *P, j joined) {
	if x.setup.Break == "looks whether anybody waits before it gives back" {
		awaited := x.has(p, words.Awaited|words.Drained)
		x.giveBack(p, j)
		if awaited {
			x.serve(p, false)
		}
		return
	}
	x.giveBack(p, j)
	if x.has(p, words.Awaited|words.Drained) {
		x.serve(p, false)
	}
}

func (x *semaphore) giveBack(p *P, j joined) {
	p.Call(func() uint64 {
		for t, at := range x.ticket {
			p.Do("has ticket", func(s *State) uint64 {
				if s.Mem[x.holds[p.Self]]>>t&1 == 0 {
					return 0
				}
				s.Mem[x.holds[p.Self]] &^= 1 << t
				return flag(casIn(s, at, uint64(x.self(p)), j.free()))
			})
		}
		return 0
	})
}
