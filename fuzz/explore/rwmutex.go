package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// RWMutexSetup is a situation, and for tests a broken protocol.
type RWMutexSetup struct {
	Name      string
	Processes int
	Roles     []string // what users do: see user
	Deaths    int
	Ticks     bool
	Cancels   bool
	Settle    bool
	Break     string
}

// rwmutex mirrors arena/readers.go, read.go, writer.go and rwholding.go: one
// rwmutex, one goroutine a process, which has a cell, and its ticker. How one
// waits for the owner word is left out, for that is the mutex's model.
//
// A futex word that only counts, grants and drained, is 1 if somebody has
// added to it since its only sleeper last loaded it.
type rwmutex struct {
	Model
	setup RWMutexSetup

	word, gate                    Addr
	counts, owner, grants, driven []Addr // of each cell; driven is drained
	waits, nudged                 []Addr // of each process: it waits to read; its agent is nudged
	drains, drainNudged           []Addr // … a writer of it sleeps, at that cell
	cancelled                     []Addr

	writer, upgradable, died Addr // ghosts: who is inside, and whether a writer died there
	reads                    []Addr
}

const rwGeneration = 1

// NewRWMutex makes the model.
func NewRWMutex(setup RWMutexSetup) *Model {
	x := &rwmutex{setup: setup}
	m := &x.Model
	m.Name = "rwmutex: " + setup.Name
	n := setup.Processes
	for k := range n {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	if setup.Ticks {
		for k := range n {
			m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("ticker %d", k+1), Process: k, Helper: true, Program: x.ticker})
		}
	}
	x.word, x.gate = m.ownerWord("word"), m.ownerWord("gate")
	x.counts, x.owner = m.words(n, "counts of cell %d"), m.words(n, "owner of cell %d")
	x.grants, x.driven = m.words(n, "grants of cell %d"), m.words(n, "drained of cell %d")
	x.waits, x.nudged = m.words(n, "process %d waits to read"), m.words(n, "nudged reader of process %d")
	x.drains, x.drainNudged = m.words(n, "process %d drains cell"), m.words(n, "nudged writer of process %d")
	x.writer, x.upgradable, x.died = m.word("who writes"), m.word("who holds upgradably"), m.word("a writer died inside")
	x.reads = m.words(n, "process %d reads")
	if setup.Cancels {
		x.cancelled = m.words(n, "cancelled: user %d")
		for k := range n {
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[k].Name, func(s *State) bool { return x.cancel(s, k) }})
		}
	}
	m.Init = func(s *State) {
		s.Mem[x.word] = uint64(robust.Free(rwGeneration))
		for k := range n {
			s.Mem[x.counts[k]] = uint64(words.Counts(0).Opened())
			s.Mem[x.owner[k]] = uint64(k + 1)
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = x.killed
	m.Goal = m.AllIdle
	return m
}

func (x *rwmutex) process(p *P) int              { return x.Actors[p.Self].Process }
func (x *rwmutex) self(p *P) robust.Word         { return selfOf(x.process(p)) }
func (x *rwmutex) cell(p *P, k int) words.Counts { return words.Counts(p.Load(x.counts[k])) }
func (x *rwmutex) swap(p *P, k int, old, new words.Counts) bool {
	return p.CAS(x.counts[k], uint64(old), uint64(new))
}
func (x *rwmutex) add(p *P, k int, d words.Counts) words.Counts {
	return words.Counts(p.Add(x.counts[k], uint64(d)))
}

func (x *rwmutex) killed(s *State, k int) {
	for _, at := range [][]Addr{x.waits, x.nudged, x.drains, x.drainNudged, x.reads, x.grants, x.cancelled} {
		if at != nil {
			s.Mem[at[k]] = 0
		}
	}
	if s.Mem[x.writer] == uint64(k+1) {
		s.Mem[x.writer], s.Mem[x.died] = 0, 1
	}
	if s.Mem[x.upgradable] == uint64(k+1) {
		s.Mem[x.upgradable] = 0
	}
}

func (x *rwmutex) cancel(s *State, k int) bool {
	if s.Mem[x.waits[k]]|s.Mem[x.drains[k]] == 0 || s.Mem[x.cancelled[k]] != 0 {
		return false
	}
	s.Mem[x.cancelled[k]] = 1
	x.nudge(s, k)
	return true
}

// nudge makes whoever of the process sleeps look again.
func (x *rwmutex) nudge(s *State, k int) {
	if s.Mem[x.waits[k]] != 0 {
		s.Mem[x.nudged[k]] = 1
		s.WakeAll(x.nudged[k])
	}
	if s.Mem[x.drains[k]] != 0 {
		s.Mem[x.drainNudged[k]] = 1
		s.WakeAll(x.drainNudged[k])
	}
}

func (x *rwmutex) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(m))) }) != 0
}

func (x *rwmutex) stopped(p *P) bool {
	return x.setup.Cancels && p.Do("looks whether to give up", func(s *State) uint64 { return s.Mem[x.cancelled[x.process(p)]] }) != 0
}

func (x *rwmutex) over(p *P) {
	p.Ghost(func(s *State) {
		k := x.process(p)
		s.Mem[x.waits[k]], s.Mem[x.nudged[k]] = 0, 0
		if x.cancelled != nil {
			s.Mem[x.cancelled[k]] = 0
		}
	})
}

// What the ghosts know. Each change is in the step of the access before it.

func (x *rwmutex) told(p *P, s *State) {
	if s.Mem[x.died] != 0 && !robust.Word(s.Mem[x.word]).Has(robust.Abandoned) {
		p.Fail("process %d is not told that a writer died inside", x.process(p)+1)
	}
}

func (x *rwmutex) entersReading(p *P) {
	p.Ghost(func(s *State) {
		if w := s.Mem[x.writer]; w != 0 {
			p.Fail("process %d reads while process %d writes", x.process(p)+1, w)
		}
		x.told(p, s)
		s.Mem[x.reads[x.process(p)]] = 1
	})
}

func (x *rwmutex) entersWriting(p *P) {
	p.Ghost(func(s *State) {
		for k, at := range x.reads {
			if s.Mem[at] != 0 {
				p.Fail("process %d writes while process %d reads", x.process(p)+1, k+1)
			}
		}
		if w := s.Mem[x.writer] | s.Mem[x.upgradable]; w != 0 && w != uint64(x.process(p)+1) {
			p.Fail("process %d writes while process %d holds the lock", x.process(p)+1, w)
		}
		x.told(p, s)
		s.Mem[x.upgradable], s.Mem[x.writer] = 0, uint64(x.process(p)+1)
	})
}

func (x *rwmutex) entersUpgradably(p *P) {
	p.Ghost(func(s *State) {
		if w := s.Mem[x.writer] | s.Mem[x.upgradable]; w != 0 {
			p.Fail("process %d holds upgradably while process %d holds the lock", x.process(p)+1, w)
		}
		x.told(p, s)
		s.Mem[x.upgradable] = uint64(x.process(p) + 1)
	})
}

func (x *rwmutex) leaves(p *P) {
	p.Ghost(func(s *State) { s.Mem[x.writer], s.Mem[x.upgradable] = 0, 0 })
}

// user does one of its roles after the other, for ever.
func (x *rwmutex) user(p *P) {
	call := func(f func() bool) bool { return p.Call(func() uint64 { return flag(f()) }) != 0 }
	do := func(f func(*P)) { p.Call(func() uint64 { f(p); return 0 }) }
	for top := p.Mark(); ; p.Again(top) {
		n := len(x.setup.Roles)
		role := p.Choose("role", n+int(flag(x.setup.Settle)))
		if role == n {
			do(x.settle)
			continue
		}
		switch x.setup.Roles[role] {
		case "read":
			if call(func() bool { return x.rLock(p) }) {
				do(x.rUnlock)
			}
		case "write":
			if call(func() bool { return x.lock(p) }) {
				do(x.markConsistent)
				do(x.unlock)
			}
		case "write, downgrade":
			if call(func() bool { return x.lock(p) }) {
				do(x.downgrade)
				do(x.rUnlock)
			}
		case "upgrade":
			do(x.takeWord)
			x.entersUpgradably(p)
			if call(func() bool { return x.exclude(p) }) {
				do(x.unlock)
			} else {
				do(x.uUnlock)
			}
		case "read, try upgrade":
			if call(func() bool { return x.rLock(p) }) {
				if call(func() bool { return x.tryUpgrade(p) }) {
					do(x.unlock)
				} else {
					do(x.rUnlock)
				}
			}
		}
	}
}

func (x *rwmutex) rLock(p *P) bool {
	k := x.process(p)
	if x.setup.Break == "reader looks at the gate before it adds" {
		if p.Load(x.gate) == 0 && x.add(p, k, words.OneReader).IsOpen() {
			x.entersReading(p)
			return true
		}
	} else {
		if x.add(p, k, words.OneReader).IsOpen() && p.Load(x.gate) == 0 {
			x.entersReading(p)
			return true
		}
		p.Call(func() uint64 { x.leave(p, k); return 0 })
	}
	return x.readWaiting(p)
}

// leave takes one reader out of a cell.
func (x *rwmutex) leave(p *P, k int) {
	n := x.add(p, k, ^(words.OneReader - 1))
	x.tellWriter(p, k, n)
}

func (x *rwmutex) tellWriter(p *P, k int, n words.Counts) {
	if n.Held() == 0 && p.Word(x.gate).Has(robust.Waiters) {
		p.Store(x.driven[k], 1)
		p.WakeAll(x.driven[k])
	}
}

func (x *rwmutex) readWaiting(p *P) bool {
	k := x.process(p)
	if p.Call(func() uint64 { return flag(x.tryRead(p)) }) != 0 {
		return true
	}
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			if n := x.cell(p, k); x.swap(p, k, n, n+words.OneWaits) {
				return 0
			}
		}
	})
	p.Do("is in the list", func(s *State) uint64 { s.Mem[x.waits[k]] = 1; return 0 })
	return p.Call(func() uint64 { return uint64(x.representReaders(p)) }) == readGranted
}

func (x *rwmutex) tryRead(p *P) bool {
	k := x.process(p)
	if p.Load(x.gate) != 0 {
		return false
	}
	n := x.add(p, k, words.OneReader)
	if n.IsOpen() && p.Load(x.gate) == 0 {
		x.entersReading(p)
		return true
	}
	x.leave(p, k)
	return false
}

// What became of one who waits to read.
const (
	readWaits = iota
	readGranted
	readGaveUp
)

func (x *rwmutex) representReaders(p *P) int {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		nudged := p.Swap(x.nudged[k], 0) != 0
		p.Store(x.grants[k], 0)
		if out := int(p.Call(func() uint64 { return uint64(x.concluded(p)) })); out != readWaits {
			return out
		}
		if p.Call(func() uint64 { return flag(x.attendGate(p, nudged)) }) != 0 {
			continue
		}
		p.Sleep(x.grants[k], 0, x.nudged[k])
	}
}

// concluded is reconcile, and whether to give up.
func (x *rwmutex) concluded(p *P) int {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		if p.Call(func() uint64 { return flag(x.reconcile(p)) }) != 0 {
			return readGranted
		}
		if !x.stopped(p) {
			return readWaits
		}
		if n := x.cell(p, k); n.Waiting() > 0 && x.swap(p, k, n, n-words.OneWaits) {
			x.over(p)
			return readGaveUp
		}
	}
}

// reconcile lets itself in if the gate is open, and tells whether it was let in.
func (x *rwmutex) reconcile(p *P) bool {
	k := x.process(p)
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			if p.Load(x.gate) != 0 {
				return 0
			}
			n := x.cell(p, k)
			if n.Waiting() == 0 {
				return 0
			}
			if !x.swap(p, k, n, n.Granted()) {
				continue
			}
			if x.setup.Break == "lets itself in and does not look again" || p.Load(x.gate) == 0 {
				return 0
			}
			x.regret(p, n.Waiting())
		}
	})
	if x.cell(p, k).Waiting() != 0 {
		return false
	}
	x.entersReading(p)
	x.over(p)
	return true
}

func (x *rwmutex) regret(p *P, waiting uint32) {
	k := x.process(p)
	n := words.Counts(p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			if n := x.cell(p, k); x.swap(p, k, n, n.Regretted(waiting)) {
				return uint64(n)
			}
		}
	}))
	x.tellWriter(p, k, n.Regretted(waiting))
}

func (x *rwmutex) attendGate(p *P, nudged bool) bool {
	w := p.Word(x.word)
	if p.Load(x.gate) == 0 {
		return true
	}
	if w.IsFree() {
		if p.CAS(x.word, uint64(w), uint64(w.Barged(x.self(p)))) {
			x.letGo(p)
		}
		return true
	}
	if !nudged || !x.gone(p, w.Owner()) {
		return false
	}
	if x.seize(p, w) {
		x.letGo(p)
	}
	return true
}

func (x *rwmutex) letGo(p *P) {
	x.reopen(p)
	x.release(p)
}

func (x *rwmutex) release(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			if !w.SameHolding(x.self(p)) {
				p.Fail("process %d has lost the word", x.process(p)+1)
				return 0
			}
			if p.CAS(x.word, uint64(w), uint64(w.Released(rwGeneration))) {
				return 0
			}
		}
	})
}

// reopen opens the gate that a holder left shut which is gone.
func (x *rwmutex) reopen(p *P) {
	p.Call(func() uint64 {
		if p.Load(x.gate) == 0 {
			return 0
		}
		x.openGate(p)
		return 0
	})
}

func (x *rwmutex) openGate(p *P) {
	if x.setup.Break == "lets in before it opens the gate" {
		x.grantAll(p)
		p.Store(x.gate, 0)
		return
	}
	p.Store(x.gate, 0)
	x.grantAll(p)
}

func (x *rwmutex) grantAll(p *P) {
	for k := range x.counts {
		p.Call(func() uint64 {
			for top := p.Mark(); ; p.Again(top) {
				n := x.cell(p, k)
				if n.Waiting() == 0 {
					return 0
				}
				if x.swap(p, k, n, n.Granted()) {
					p.Do("grants", func(s *State) uint64 {
						s.Mem[x.grants[k]] = flag(!x.ProcessDead(s, k))
						return 0
					})
					p.WakeAll(x.grants[k])
					return 0
				}
			}
		})
	}
}

func (x *rwmutex) rUnlock(p *P) {
	k := x.process(p)
	n := x.add(p, k, ^(words.OneReader - 1))
	p.Ghost(func(s *State) { s.Mem[x.reads[k]] = 0 })
	x.tellWriter(p, k, n)
}

// takeWord takes the owner word, which is the upgradable lock.
func (x *rwmutex) takeWord(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the word", func(s *State) bool {
				w := robust.Word(s.Mem[x.word])
				return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return s.Mem[x.word] }))
			if w.IsFree() && p.CAS(x.word, uint64(w), uint64(w.Taken(x.self(p)))) {
				return 0
			}
			if !w.IsFree() && x.seize(p, w) {
				return 0
			}
		}
	})
	x.reopen(p)
}

func (x *rwmutex) tryWord(p *P) bool {
	if p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			switch {
			case !w.IsFree():
				return flag(x.gone(p, w.Owner()) && x.seize(p, w))
			case p.CAS(x.word, uint64(w), uint64(w.Barged(x.self(p)))):
				return 1
			}
		}
	}) == 0 {
		return false
	}
	x.reopen(p)
	return true
}

// seize takes over the word of a dead. A is set if it wrote.
func (x *rwmutex) seize(p *P, w robust.Word) bool {
	return p.Call(func() uint64 {
		gate := p.Word(x.gate)
		next := w.Inherited(x.self(p))
		if gate != 0 && !gate.Has(robust.Waiters) {
			next = w.Reclaimed(x.self(p))
		}
		if x.setup.Break == "the gate is opened before A is set" {
			if !p.CAS(x.word, uint64(w), uint64(w.Inherited(x.self(p)))) {
				return 0
			}
			x.reopen(p)
			p.Store(x.word, uint64(next))
			return 1
		}
		return flag(p.CAS(x.word, uint64(w), uint64(next)))
	}) != 0
}

func (x *rwmutex) lock(p *P) bool {
	p.Call(func() uint64 { x.takeWord(p); return 0 })
	if x.exclude(p) {
		return true
	}
	x.release(p)
	return false
}

// exclude makes an upgradable holding exclusive; false if it gave up.
func (x *rwmutex) exclude(p *P) bool {
	early := x.setup.Break == "writer looks at the cells before it shuts the gate"
	if early {
		x.drain(p)
	}
	if !p.CAS(x.gate, 0, uint64(x.self(p))) {
		p.Fail("process %d finds the gate shut that it holds", x.process(p)+1)
	}
	if early {
		x.entersWriting(p)
		return true
	}
	if !x.drain(p) {
		x.reopen(p)
		return false
	}
	return true
}

// drain waits until nobody reads.
func (x *rwmutex) drain(p *P) bool {
	return p.Call(func() uint64 {
		for top, waited, k := p.Mark(), uint64(0), uint64(0); ; p.Again(top, waited, k) {
			waited, k = p.Var(waited), p.Var(k)
			last := int(k) == len(x.counts)-1
			if x.cell(p, int(k)).Held() != 0 {
				late := x.setup.Break == "writer says that it waits after its last look"
				if !late {
					p.Store(x.gate, uint64(x.self(p)|robust.Waiters))
				}
				waited = 1
				if p.Call(func() uint64 { return flag(x.drainCell(p, int(k), late)) }) == 0 {
					return 0
				}
			} else if last && waited == 0 {
				x.entersWriting(p)
			}
			if !last {
				k++
				continue
			}
			if waited != 0 {
				p.Store(x.gate, uint64(x.self(p)))
				x.entersWriting(p)
			}
			return 1
		}
	}) != 0
}

func (x *rwmutex) drainCell(p *P, k int, late bool) bool {
	me := x.process(p)
	over := func() {
		p.Ghost(func(s *State) {
			s.Mem[x.drains[me]], s.Mem[x.drainNudged[me]] = 0, 0
			if x.cancelled != nil {
				s.Mem[x.cancelled[me]] = 0
			}
		})
	}
	p.Do("drains", func(s *State) uint64 { s.Mem[x.drains[me]] = uint64(k + 1); return 0 })
	for top := p.Mark(); ; p.Again(top) {
		nudged := p.Swap(x.drainNudged[me], 0) != 0
		p.Store(x.driven[k], 0)
		if p.Call(func() uint64 { return flag(x.cell(p, k).Held() == 0) }) != 0 {
			p.Do("has drained", func(*State) uint64 { return 0 })
			over()
			return true
		}
		owner := p.Load(x.owner[k])
		if x.stopped(p) {
			over()
			return false
		}
		if owner == 0 || k != me && nudged && x.gone(p, memberOf(k)) {
			x.bury(p, k, owner, false)
			continue
		}
		if late {
			p.Store(x.gate, uint64(x.self(p)|robust.Waiters))
		}
		p.Sleep(x.driven[k], 0, x.drainNudged[me])
	}
}

// bury subtracts the readers of a cell's owner that is gone; 0 is vacant.
func (x *rwmutex) bury(p *P, k int, owner uint64, tell bool) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			n := x.cell(p, k)
			if p.Load(x.owner[k]) != owner {
				return 0
			}
			if n == n.Epoch() || x.swap(p, k, n, n.Epoch()) {
				break
			}
		}
		if tell {
			x.tellWriter(p, k, 0)
		}
		return 0
	})
}

func (x *rwmutex) markConsistent(p *P) {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if !w.Has(robust.Abandoned) {
			return
		}
		if p.CAS(x.word, uint64(w), uint64(w&^robust.Abandoned)) {
			p.Ghost(func(s *State) { s.Mem[x.died] = 0 })
			return
		}
	}
}

func (x *rwmutex) open(p *P) {
	x.leaves(p)
	if x.setup.Break == "lets in before it opens the gate" {
		x.grantAll(p)
		p.Store(x.gate, 0)
		return
	}
	if !p.CAS(x.gate, uint64(x.self(p)), 0) {
		p.Fail("process %d does not find its gate", x.process(p)+1)
	}
	x.grantAll(p)
}

func (x *rwmutex) unlock(p *P) {
	p.Call(func() uint64 {
		p.Do("writes no more", func(*State) uint64 { return 0 })
		x.open(p)
		return 0
	})
	x.release(p)
}

func (x *rwmutex) uUnlock(p *P) {
	p.Do("holds upgradably no more", func(*State) uint64 { return 0 })
	x.leaves(p)
	x.release(p)
}

// downgrade makes the writer a reader: counted first, then the rest is given up.
func (x *rwmutex) downgrade(p *P) {
	k := x.process(p)
	x.add(p, k, words.OneReader)
	p.Ghost(func(s *State) { s.Mem[x.writer], s.Mem[x.reads[k]] = 0, 1 })
	p.Call(func() uint64 { x.open(p); return 0 })
	x.release(p)
}

// tryUpgrade makes a reader the writer if nobody else holds the lock in any way.
func (x *rwmutex) tryUpgrade(p *P) bool {
	if p.Call(func() uint64 { return flag(x.tryWord(p)) }) == 0 {
		return false
	}
	if p.Call(func() uint64 { return flag(x.tryExclude(p)) }) != 0 {
		return true
	}
	x.release(p)
	return false
}

func (x *rwmutex) tryExclude(p *P) bool {
	me := x.process(p)
	if !p.CAS(x.gate, 0, uint64(x.self(p))) {
		p.Fail("process %d finds the gate shut that it holds", me+1)
	}
	p.Store(x.gate, uint64(x.self(p)|robust.Waiters))
	for k := range x.counts {
		if k != me && p.Call(func() uint64 { return flag(x.cell(p, k).Held() == 0 || x.buryIfGone(p, k)) }) == 0 {
			x.reopen(p)
			return false
		}
	}
	p.Store(x.gate, uint64(x.self(p)))
	return p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			n := x.cell(p, me)
			if !n.IsOpen() || n.Held() != 1 {
				x.reopen(p)
				return 0
			}
			if x.swap(p, me, n, n-words.OneReader) {
				p.Ghost(func(s *State) { s.Mem[x.reads[me]] = 0 })
				x.entersWriting(p)
				return 1
			}
		}
	}) != 0
}

func (x *rwmutex) buryIfGone(p *P, k int) bool {
	owner := p.Load(x.owner[k])
	if owner != 0 && !x.gone(p, memberOf(k)) {
		return false
	}
	x.bury(p, k, owner, false)
	return x.cell(p, k).Held() == 0
}

// ticker is the look of a reading and of a draining.
func (x *rwmutex) ticker(p *P) {
	k := x.process(p)
	for top := p.Mark(); ; p.Again(top) {
		p.Await("ticks", func(s *State) bool { return s.Mem[x.waits[k]]|s.Mem[x.drains[k]] != 0 },
			func(s *State) uint64 { x.nudge(s, k); return 0 })
	}
}

// settle gives back what the dead left: the word, then the cells.
func (x *rwmutex) settle(p *P) {
	w := robust.Word(p.Await("settles", func(s *State) bool {
		if w := robust.Word(s.Mem[x.word]); !w.IsFree() && x.ProcessDead(s, processOf(w.Owner())) {
			return true
		}
		for k, at := range x.owner {
			if s.Mem[at] != 0 && x.ProcessDead(s, k) {
				return true
			}
		}
		return false
	}, func(s *State) uint64 { return s.Mem[x.word] }))
	if !w.IsFree() && x.gone(p, w.Owner()) && x.seize(p, w) {
		p.Call(func() uint64 { x.letGo(p); return 0 })
	}
	for k, at := range x.owner {
		p.Call(func() uint64 {
			owner := p.Load(at)
			if owner != 0 && x.gone(p, memberOf(k)) {
				x.bury(p, k, owner, true)
				p.CAS(at, owner, 0)
			}
			return 0
		})
	}
}
