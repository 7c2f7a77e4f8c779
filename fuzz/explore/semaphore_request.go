package explore

import (
	"lockd/internal/words"
)

// The steps of arena/acquisition.go, request.go and mend.go.

// acquire is the acquisition that may have to wait; false if it gave up.
func (x *semaphore) acquire(p *P, n int, j joined) bool {
	request := x.claimRecord(p)
	if out := x.attempt(p, n, request, j); out != waits {
		p.CAS(x.owner[request], words.OwnerOf(memberOf(x.process(p)), words.Reserved), 0)
		return out == took
	}
	return x.collect(p, n, request)
}

func (x *semaphore) claimRecord(p *P) int {
	return int(p.Await("claims a record", func(s *State) bool { return x.freeRecord(s) >= 0 }, func(s *State) uint64 {
		i := x.freeRecord(s)
		s.Mem[x.owner[i]] = words.OwnerOf(memberOf(x.process(p)), words.Reserved)
		return uint64(i)
	}))
}

func (x *semaphore) freeRecord(s *State) int {
	for i, at := range x.owner {
		if s.Mem[at] == 0 {
			return i
		}
	}
	return -1
}

// What an attempt comes to.
const (
	took = iota
	waits
	refused
)

// attempt takes n tickets, or queues the request.
func (x *semaphore) attempt(p *P, n, request int, j joined) int {
	return int(p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			x.latched(p)
			const ending = 1 << 8
			out := p.Call(func() uint64 {
				x.mendIfAbandoned(p)
				if p.Call(func() uint64 {
					st := x.load(p)
					if st.Has(words.Awaited | words.Ending) {
						x.pass(p, st.Has(words.Ending))
					}
					return 0
				}); x.changes() {
					st := x.load(p)
					if st.Incarnation() != j.incarnation || st.Has(words.Ending) {
						return refused | ending*flag(st.Has(words.Ending))
					}
					if n > st.Capacity() {
						return refused
					}
				}
				if st := x.load(p); !st.Has(words.Awaited) && x.take(p, n, st) {
					return took
				}
				x.enqueue(p, request, n, wantTickets, words.Awaited)
				x.pass(p, false)
				return waits
			})
			x.afterwards(p)
			if out&ending == 0 || !x.reapNow(p) {
				return out &^ ending
			}
		}
	}))
}

// collect waits for the answer, and takes what was granted.
func (x *semaphore) collect(p *P, n, i int) bool {
	k := x.process(p)
	granted := words.OwnerOf(memberOf(k), words.Granted)
	switch words.Kind(p.Call(func() uint64 { return uint64(x.await(p, i)) })) {
	case words.Withdrawn:
		return false
	case words.Refused:
		p.CAS(x.owner[i], words.OwnerOf(memberOf(k), words.Refused), 0)
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

// await waits for the answer: granted, refused, or that the request was
// withdrawn.
func (x *semaphore) await(p *P, i int) words.Kind {
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
			if owner := p.Load(x.owner[i]); owner != wanted {
				leave()
				return uint64(words.KindOf(owner))
			}
			if x.setup.Cancels && p.Do("looks whether to give up", func(s *State) uint64 { return s.Mem[x.cancelled[k]] }) != 0 {
				if p.CAS(x.owner[i], wanted, uint64(words.Withdrawn)) {
					leave()
					return uint64(words.Withdrawn)
				}
				continue
			}
			p.Sleep(x.bell[k], 0, x.nudged[k])
		}
	})
	if words.Kind(out) == words.Withdrawn {
		x.serve(p, x.changes() && p.Load(x.mode[i]) >= wantBack)
	}
	return words.Kind(out)
}

func (x *semaphore) mend(p *P) {
	p.Call(func() uint64 {
		st := words.NewTickets(1, 0)
		if x.changes() {
			if st = x.load(p); !st.Exists() {
				x.mendNone(p)
				return 0
			}
		}
		for t, at := range x.ticket {
			if x.changes() && t >= int(p.Peek(x.made)) {
				if p.Load(at) == 0 {
					break
				}
				p.Store(x.made, uint64(t+1)) // it was made, and not linked
			}
			p.Call(func() uint64 { x.mendWord(p, at, st); return 0 })
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

// mendNone is mend for a semaphore that was not made to the end, or is gone:
// nothing is left of it, and who waits is answered.
func (x *semaphore) mendNone(p *P) {
	p.Store(x.made, 0)
	p.Store(x.queue, 0)
	for i := range x.owner {
		p.Call(func() uint64 {
			owner := p.Load(x.owner[i])
			switch words.KindOf(owner) {
			case words.Withdrawn:
				p.CAS(x.owner[i], owner, 0)
			case words.Wanted:
				x.finish(p, i, owner)
			}
			return 0
		})
	}
	for _, at := range x.ticket {
		p.Call(func() uint64 {
			if p.Load(at) != 0 {
				p.Store(at, 0)
			}
			return 0
		})
	}
}

func (x *semaphore) mendWord(p *P, at Addr, st words.Tickets) {
	w := words.Ticket(p.Load(at))
	if w == 0 && x.setup.Break != "a mender leaves closed what was closed" {
		p.CAS(at, 0, uint64(st.Free()))
		return
	}
	i := int(w.Request()) - 1
	if i < 0 {
		return
	}
	m, _ := w.Owner()
	if x.setup.Break == "mender takes back what was granted" || p.Load(x.owner[i]) != words.OwnerOf(m, words.Granted) {
		p.CAS(at, uint64(w), uint64(st.Free()))
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
