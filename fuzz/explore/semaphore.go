package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// SemaphoreSetup is a situation, and for tests a broken protocol.
type SemaphoreSetup struct {
	Name      string
	Processes int
	Tickets   int
	Most      int // that one acquires at once
	Deaths    int
	Ticks     bool
	Cancels   bool
	Settle    bool
	Break     string
}

// semaphore mirrors arena/hall.go, holding.go, grant.go, desk.go, request.go,
// reap.go and mend.go: one semaphore that stays as large as it is, one
// goroutine a process that acquires and releases, and its ticker. How one
// waits for the latch is left out, for that is the mutex's model.
//
// A bell is 1 if it was rung since its owner last loaded it: one goroutine
// sleeps at it, so that is all that its count can tell.
type semaphore struct {
	Model
	setup SemaphoreSetup

	latch, state, queue    Addr
	ticket                 []Addr
	owner, next, count     []Addr // of each request
	arrival                []Addr
	bell, nudged, waits    []Addr // of each process
	cancelled, holds, rung []Addr // of each actor; holds is its Tickets, rung its desk's
}

const (
	semaphoreGeneration = 1
	allTickets          = 1 << 32 // in holds: the tickets, beside who they are
)

// NewSemaphore makes the model.
func NewSemaphore(setup SemaphoreSetup) *Model {
	x := &semaphore{setup: setup}
	m := &x.Model
	m.Name = "semaphore: " + setup.Name
	n := setup.Processes
	for k := range n {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	if setup.Ticks {
		for k := range n {
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	x.latch, x.state, x.queue = m.ownerWord("latch"), m.word("state"), m.word("queue")
	x.ticket = m.words(setup.Tickets, "ticket %d")
	requests := n + int(flag(setup.Cancels)) // one that is withdrawn may still be queued
	x.owner, x.next = m.words(requests, "owner of request %d"), m.words(requests, "next of request %d")
	x.count, x.arrival = m.words(requests, "count of request %d"), m.words(requests, "arrival of request %d")
	x.bell, x.nudged, x.waits = m.words(n, "bell of process %d"), m.words(n, "nudged of process %d"), m.words(n, "process %d waits")
	x.holds, x.rung = m.words(n, "held by user %d"), m.words(len(m.Actors), "rung by actor %d")
	if setup.Cancels {
		x.cancelled = m.words(n, "cancelled: user %d")
		for k := range n {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[k].Name, func(s *State) bool { return x.cancel(s, k) }})
		}
	}
	m.Init = func(s *State) {
		s.Mem[x.latch] = uint64(robust.Free(semaphoreGeneration))
		st := words.NewTickets(1, setup.Tickets)
		s.Mem[x.state] = uint64(st)
		for _, at := range x.ticket {
			s.Mem[at] = uint64(st.Free())
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = func(s *State, k int) {
		s.Mem[x.nudged[k]], s.Mem[x.waits[k]], s.Mem[x.holds[k]], s.Mem[x.bell[k]] = 0, 0, 0, 0
		if x.cancelled != nil {
			s.Mem[x.cancelled[k]] = 0
		}
		for i, t := range m.Actors {
			if t.Process == k {
				s.Mem[x.rung[i]] = 0
			}
		}
	}
	if setup.Deaths == 0 {
		m.latched = map[Addr]bool{x.queue: true}
		for i := range requests {
			m.latched[x.next[i]], m.latched[x.count[i]] = true, true
		}
	}
	m.Check = x.check
	m.Goal = m.AllIdle
	return m
}

func (x *semaphore) process(p *P) int      { return x.Actors[p.Self].Process }
func (x *semaphore) self(p *P) robust.Word { return selfOf(x.process(p)) }
func (x *semaphore) has(p *P, flags words.Tickets) bool {
	return p.Call(func() uint64 { return flag(x.load(p).Has(flags)) }) != 0
}
func (x *semaphore) load(p *P) words.Tickets             { return words.Tickets(p.Load(x.state)) }
func (x *semaphore) dead(s *State, m robust.Member) bool { return x.ProcessDead(s, processOf(m)) }

// check looks for a ticket that was taken from the living.
func (x *semaphore) check(s *State) string {
	for k := range x.setup.Processes {
		for t := range x.setup.Tickets {
			if s.Mem[x.holds[k]]>>t&1 != 0 && s.Mem[x.ticket[t]] != uint64(selfOf(k)) {
				return fmt.Sprintf("ticket %d was taken from process %d, which lives", t, k+1)
			}
		}
	}
	return ""
}

func (x *semaphore) cancel(s *State, k int) bool {
	if s.Mem[x.waits[k]] == 0 || s.Mem[x.cancelled[k]] != 0 {
		return false
	}
	s.Mem[x.cancelled[k]] = 1
	x.nudge(s, k)
	return true
}

func (x *semaphore) nudge(s *State, k int) {
	s.Mem[x.nudged[k]] = 1
	s.WakeAll(x.nudged[k])
}

func (x *semaphore) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.dead(s, m)) }) != 0
}

// user acquires and releases, or settles.
func (x *semaphore) user(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		n := p.Choose("how many, or settle", x.setup.Most+int(flag(x.setup.Settle))) + 1
		if n > x.setup.Most {
			p.Call(func() uint64 { x.settle(p); return 0 })
			continue
		}
		if p.Call(func() uint64 {
			return flag(n == 1 && p.Call(func() uint64 { return flag(x.takeOne(p)) }) != 0 || x.acquire(p, n))
		}) != 0 {
			p.Call(func() uint64 { x.release(p); return 0 })
		}
	}
}

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

func casIn(s *State, at Addr, old, new uint64) bool {
	if s.Mem[at] != old {
		return false
	}
	s.Mem[at] = new
	return true
}

func (x *semaphore) freeTicket() words.Ticket { return words.NewTickets(1, 0).Free() }

// acquire is the acquisition that may have to wait; false if it gave up.
func (x *semaphore) acquire(p *P, n int) bool {
	request := int(p.Await("claims a record", func(s *State) bool { return x.freeRecord(s) >= 0 }, func(s *State) uint64 {
		i := x.freeRecord(s)
		s.Mem[x.owner[i]] = words.OwnerOf(memberOf(x.process(p)), words.Reserved)
		return uint64(i)
	}))
	if x.attempt(p, n, request) {
		p.CAS(x.owner[request], words.OwnerOf(memberOf(x.process(p)), words.Reserved), 0)
		return true
	}
	return x.collect(p, n, request)
}

func (x *semaphore) freeRecord(s *State) int {
	for i, at := range x.owner {
		if s.Mem[at] == 0 {
			return i
		}
	}
	return -1
}

// attempt takes n tickets, or queues the request.
func (x *semaphore) attempt(p *P, n, request int) bool {
	return p.Call(func() uint64 {
		x.latched(p)
		out := p.Call(func() uint64 {
			x.mendIfAbandoned(p)
			if x.has(p, words.Awaited|words.Ending) {
				x.pass(p, true)
			}
			if !x.has(p, words.Awaited) && x.take(p, n) {
				return 1
			}
			x.enqueue(p, request, n)
			x.pass(p, true)
			return 0
		})
		x.afterwards(p)
		return out
	}) != 0
}

// latched waits for the latch.
func (x *semaphore) latched(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the latch", func(s *State) bool {
				w := robust.Word(s.Mem[x.latch])
				return w.IsFree() || x.dead(s, w.Owner())
			}, func(s *State) uint64 { return s.Mem[x.latch] }))
			next := w.Taken(x.self(p))
			if !w.IsFree() {
				next = w.Reclaimed(x.self(p))
			}
			if p.CAS(x.latch, uint64(w), uint64(next)) {
				return 0
			}
		}
	})
}

func (x *semaphore) tryQueue(p *P) bool {
	return p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.latch)
			switch {
			case w.IsFree():
				if p.CAS(x.latch, uint64(w), uint64(w.Barged(x.self(p)))) {
					return 1
				}
				continue
			case w.SameHolding(x.self(p)) || !x.gone(p, w.Owner()):
				return 0
			}
			return flag(p.CAS(x.latch, uint64(w), uint64(w.Reclaimed(x.self(p)))))
		}
	}) != 0
}

// afterwards is the end of desk.work: the latch goes free, and whoever asked to
// look is answered.
func (x *semaphore) afterwards(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			x.unlatch(p)
			if !x.has(p, words.Look) || !x.tryQueue(p) {
				break
			}
			p.Call(func() uint64 {
				x.mendIfAbandoned(p)
				x.pass(p, true)
				return 0
			})
		}
		x.ring(p)
		return 0
	})
}

func (x *semaphore) unlatch(p *P) {
	free := uint64(robust.Free(semaphoreGeneration))
	if !p.CAS(x.latch, uint64(x.self(p)), free) {
		p.Fail("the latch was taken from process %d, which lives", x.process(p)+1)
	}
}

func (x *semaphore) serve(p *P, full bool) {
	p.Call(func() uint64 {
		if !x.tryQueue(p) {
			if x.setup.Break == "a busy latch is not asked to look" {
				return 0
			}
			x.askToLook(p)
			if !x.tryQueue(p) {
				return 0
			}
		}
		p.Call(func() uint64 {
			x.mendIfAbandoned(p)
			x.pass(p, full)
			return 0
		})
		x.afterwards(p)
		return 0
	})
}

func (x *semaphore) askToLook(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			st := x.load(p)
			if st.Has(words.Look) || p.CAS(x.state, uint64(st), uint64(st|words.Look)) {
				return 0
			}
		}
	})
}

func (x *semaphore) change(p *P, set, clear words.Tickets) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			st := x.load(p)
			next := st&^clear | set
			if next == st || p.CAS(x.state, uint64(st), uint64(next)) {
				return 0
			}
		}
	})
}

func (x *semaphore) mendIfAbandoned(p *P) {
	if x.setup.Deaths == 0 {
		return
	}
	p.Call(func() uint64 {
		if !p.Word(x.latch).Has(robust.Abandoned) {
			return 0
		}
		if x.setup.Break != "no mending after a death" {
			x.mend(p)
		}
		p.Call(func() uint64 {
			for top := p.Mark(); ; p.Again(top) {
				w := p.Word(x.latch)
				if p.CAS(x.latch, uint64(w), uint64(w&^robust.Abandoned)) {
					return 0
				}
			}
		})
		x.pass(p, true)
		return 0
	})
}

// eachRequest calls f with the requests in the queue: the link that leads to
// it, its number, and what f said last. f says whether to go on.
func (x *semaphore) eachRequest(p *P, first uint64, f func(link Addr, i int, v uint64) (uint64, bool)) uint64 {
	return p.Call(func() uint64 {
		for top, link, v := p.Mark(), uint64(x.queue), first; ; p.Again(top, link, v) {
			link, v = p.Var(link), p.Var(v)
			i := int(p.Load(Addr(link))) - 1
			if i < 0 {
				return v
			}
			if k := words.KindOf(p.Load(x.owner[i])); k != words.Wanted && k != words.Withdrawn {
				p.Fail("request %d is in the queue, and is none", i+1)
				return v
			}
			var more bool
			if v, more = f(Addr(link), i, v); !more {
				return v
			}
			if int(p.Load(Addr(link)))-1 == i {
				link = uint64(x.next[i])
			}
		}
	})
}

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

// answer takes a request out of the queue and says so to its owner.
func (x *semaphore) answer(p *P, link Addr, i int, owner uint64, kind words.Kind) bool {
	return p.Call(func() uint64 {
		m := words.MemberOf(owner)
		if x.setup.Break == "granted before it is out of the queue" {
			if !p.CAS(x.owner[i], owner, words.OwnerOf(m, kind)) {
				return 0
			}
			p.Store(link, p.Load(x.next[i]))
		} else {
			p.Store(link, p.Load(x.next[i]))
			if !p.CAS(x.owner[i], owner, words.OwnerOf(m, kind)) {
				p.CAS(x.owner[i], uint64(words.Withdrawn), 0)
				return 0
			}
		}
		p.Ghost(func(s *State) { s.Mem[x.rung[p.Self]] |= 1 << processOf(m) })
		return 1
	}) != 0
}

func (x *semaphore) enqueue(p *P, i, n int) {
	p.Call(func() uint64 {
		p.Store(x.count[i], uint64(n))
		p.Store(x.next[i], 0)
		p.Do("arrives", func(s *State) uint64 { return x.arrive(s, i) })
		if x.setup.Break != "queues before it says so" {
			x.change(p, words.Awaited, 0)
		}
		p.Store(x.owner[i], words.OwnerOf(memberOf(x.process(p)), words.Wanted))
		end := x.eachRequest(p, uint64(x.queue), func(_ Addr, last int, _ uint64) (uint64, bool) { return uint64(x.next[last]), true })
		p.Store(Addr(end), uint64(i+1))
		return 0
	})
}

// arrive draws from the slot's fence. Only the order matters, so the numbers
// of those that are queued are made small again.
func (x *semaphore) arrive(s *State, i int) uint64 {
	s.Mem[x.arrival[i]] = 0
	rank := uint64(1)
	for _, at := range x.ranked(s) {
		s.Mem[at] = rank
		rank++
	}
	s.Mem[x.arrival[i]] = rank
	return rank
}

// ranked are the arrivals of queued requests, in order; of others, they are 0.
func (x *semaphore) ranked(s *State) (all []Addr) {
	for n := uint64(1); n < 8; n++ {
		for i, at := range x.arrival {
			if s.Mem[at] != n {
				continue
			}
			if k := words.KindOf(s.Mem[x.owner[i]]); k == words.Wanted || k == words.Withdrawn {
				all = append(all, at)
			} else {
				s.Mem[at] = 0
			}
		}
	}
	return all
}

// ring tells the owners of answered requests.
func (x *semaphore) ring(p *P) {
	p.Call(func() uint64 {
		for k := range x.setup.Processes {
			if p.Do("rings", func(s *State) uint64 {
				if s.Mem[x.rung[p.Self]]>>k&1 == 0 {
					return 0
				}
				s.Mem[x.rung[p.Self]] &^= 1 << k
				if k == x.process(p) {
					if s.Mem[x.waits[k]] != 0 {
						x.nudge(s, k)
					}
					return 0
				}
				s.Mem[x.bell[k]] = flag(!x.dead(s, memberOf(k)))
				return 1
			}) != 0 {
				p.WakeAll(x.bell[k])
			}
		}
		return 0
	})
}

// collect waits for the answer, and takes what was granted.
func (x *semaphore) collect(p *P, n, i int) bool {
	k := x.process(p)
	granted := words.OwnerOf(memberOf(k), words.Granted)
	if p.Call(func() uint64 { return flag(x.await(p, i)) }) == 0 {
		return false
	}
	tickets := p.Call(func() uint64 {
		tickets, left := uint64(0), n
		for t, at := range x.ticket {
			if left > 0 && p.CAS(at, x.givenTo(i, granted), uint64(x.self(p))) {
				tickets |= 1 << t
				x.got(p, 1<<t)
				left--
			}
		}
		if left > 0 {
			p.Fail("%d of %d tickets that were granted to process %d are not there", left, n, k+1)
		}
		return tickets
	})
	p.CAS(x.owner[i], granted, 0)
	return tickets != 0
}

// await waits for the answer; false if the request was withdrawn.
func (x *semaphore) await(p *P, i int) bool {
	k := x.process(p)
	wanted := words.OwnerOf(memberOf(k), words.Wanted)
	leave := func() {
		p.Ghost(func(s *State) {
			s.Mem[x.waits[k]], s.Mem[x.nudged[k]] = 0, 0
			if x.cancelled != nil {
				s.Mem[x.cancelled[k]] = 0
			}
		})
	}
	out := p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			p.Do("looks at the bell", func(s *State) uint64 { s.Mem[x.bell[k]], s.Mem[x.waits[k]] = 0, 1; return 0 })
			p.Store(x.nudged[k], 0)
			if p.Load(x.owner[i]) != wanted {
				leave()
				return 1
			}
			if x.setup.Cancels && p.Do("looks whether to give up", func(s *State) uint64 { return s.Mem[x.cancelled[k]] }) != 0 {
				if p.CAS(x.owner[i], wanted, uint64(words.Withdrawn)) {
					leave()
					return 0
				}
				continue
			}
			p.Sleep(x.bell[k], 0, x.nudged[k])
		}
	})
	if out == 0 && x.setup.Break != "withdraws and does not serve" {
		x.serve(p, true)
	}
	return out != 0
}

func (x *semaphore) mend(p *P) {
	p.Call(func() uint64 {
		for _, at := range x.ticket {
			p.Call(func() uint64 { x.mendWord(p, at); return 0 })
		}
		p.Store(x.queue, 0)
		waiting := p.Call(func() uint64 {
			waiting := uint64(0)
			for i := range x.owner {
				waiting |= p.Call(func() uint64 {
					owner := p.Load(x.owner[i])
					switch words.KindOf(owner) {
					case words.Withdrawn:
						p.CAS(x.owner[i], owner, 0)
					case words.Wanted:
						x.insert(p, i)
						return 1
					}
					return 0
				})
			}
			return waiting
		})
		if waiting != 0 {
			x.change(p, words.Awaited|words.Drained, 0)
		} else {
			x.change(p, 0, words.Awaited|words.Drained|words.Ending)
		}
		return 0
	})
}

func (x *semaphore) mendWord(p *P, at Addr) {
	w := words.Ticket(p.Load(at))
	i := int(w.Request()) - 1
	if i < 0 {
		return
	}
	m, _ := w.Owner()
	if x.setup.Break == "mender takes back what was granted" || p.Load(x.owner[i]) != words.OwnerOf(m, words.Granted) {
		p.CAS(at, uint64(w), uint64(x.freeTicket()))
	}
}

func (x *semaphore) insert(p *P, i int) {
	link := Addr(x.eachRequest(p, uint64(x.queue), func(link Addr, other int, _ uint64) (uint64, bool) {
		if p.Load(x.arrival[other]) > p.Load(x.arrival[i]) {
			return uint64(link), false
		}
		return uint64(x.next[other]), true
	}))
	p.Store(x.next[i], p.Load(link))
	p.Store(link, uint64(i+1))
}

// reap frees what the dead hold, and withdraws what they wait for.
func (x *semaphore) reap(p *P) {
	p.Call(func() uint64 {
		for _, at := range x.ticket {
			p.Call(func() uint64 { x.reapTicket(p, at); return 0 })
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

func (x *semaphore) reapTicket(p *P, at Addr) {
	w := words.Ticket(p.Load(at))
	m, held := w.Owner()
	if !held || !x.gone(p, m) {
		return
	}
	if x.setup.Break == "a ticket returned by two settlers" {
		p.Store(at, uint64(x.freeTicket()))
		return
	}
	p.CAS(at, uint64(w), uint64(x.freeTicket()))
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
		p.Call(func() uint64 { x.reapTicket(p, at); return 0 })
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
