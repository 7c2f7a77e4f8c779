package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/reap.go, and of tendTickets in request.go.

// reap frees what the dead hold, and withdraws what they wait for.
func (x *semaphore) reap(p *P) {
	p.Call(func() uint64 {
		st := words.Tickets(0)
		if x.changes() {
			if st = x.load(p); !st.Exists() {
				return 0
			}
		}
		for t, at := range x.ticket {
			if x.changes() && int(p.Load(x.made)) <= t {
				break
			}
			p.Call(func() uint64 { x.reapTicket(p, at, st); return 0 })
		}
		for top, i := p.Mark(), p.Load(x.queue); ; p.Again(top, i) {
			i = p.Var(i)
			if i == 0 {
				return 0
			}
			at := x.owner[i-1]
			owner := p.Load(at)
			switch words.KindOf(owner) {
			case words.Wanted:
				if x.gone(p, words.MemberOf(owner)) {
					p.CAS(at, owner, uint64(words.Withdrawn))
				}
			case words.Withdrawn:
			default:
				return 0
			}
			i = p.Load(x.next[i-1])
		}
	})
}

// reapTicket frees a ticket whose holder is gone, of the semaphore whose state
// was st before it was looked at.
func (x *semaphore) reapTicket(p *P, at Addr, st words.Tickets) {
	w := words.Ticket(p.Load(at))
	m, held := w.Owner()
	if !held || !x.gone(p, m) {
		return
	}
	if !x.changes() {
		st = words.NewTickets(1, 0)
	} else if x.load(p).Incarnation() != st.Incarnation() {
		return
	}
	if x.setup.Break == "a ticket returned by two settlers" {
		p.Store(at, uint64(st.Free()))
		return
	}
	p.CAS(at, uint64(w), uint64(st.Free()))
}

// ticker is tendTickets.
func (x *semaphore) ticker(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		p.Await("ticks", func(s *State) bool { return s.Mem[x.waits[k]] != 0 }, func(*State) uint64 { return 0 })
		if x.setup.Deaths > 0 {
			x.reap(p)
		}
		x.serve(p, true)
		p.Do("nudges", func(s *State) uint64 {
			if s.Mem[x.waits[k]] != 0 {
				x.nudge(s, k)
			}
			return 0
		})
	}
}

// settle is a settler's pass over the semaphore: the latch, the requests, the
// tickets.
func (x *semaphore) settle(p *P) {
	w := robust.Word(p.Await("settles", x.leftBehind, func(s *State) uint64 { return s.Mem[x.latch] }))
	if !w.IsFree() && x.gone(p, w.Owner()) && p.CAS(x.latch, uint64(w), uint64(w.Reclaimed(x.self(p)))) {
		p.Call(func() uint64 {
			x.mendIfAbandoned(p)
			x.pass(p, true)
			return 0
		})
		x.afterwards(p)
	}
	for i := range x.owner {
		p.Call(func() uint64 {
			for top := p.Mark(); ; p.Again(top) {
				owner := p.Load(x.owner[i])
				if !x.gone(p, words.MemberOf(owner)) || p.CAS(x.owner[i], owner, words.AfterDeath(owner)) {
					return 0
				}
			}
		})
	}
	for _, at := range x.ticket {
		p.Call(func() uint64 {
			st := words.Tickets(0)
			if x.changes() {
				if st = x.load(p); !st.Exists() {
					return 0
				}
			}
			x.reapTicket(p, at, st)
			return 0
		})
	}
	x.serve(p, true)
}

// leftBehind tells whether anything names a dead.
func (x *semaphore) leftBehind(s *State) bool {
	if w := robust.Word(s.Mem[x.latch]); !w.IsFree() && x.dead(s, w.Owner()) {
		return true
	}
	for _, at := range x.owner {
		if m := words.MemberOf(s.Mem[at]); m.Index != 0 && x.dead(s, m) {
			return true
		}
	}
	for _, at := range x.ticket {
		if m, held := words.Ticket(s.Mem[at]).Owner(); held && x.dead(s, m) {
			return true
		}
	}
	return false
}
