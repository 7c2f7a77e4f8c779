package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/readers.go, read.go and lobby.go.

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
	if x.setup.Break != "leaves and does not tell the writer" && n.IsEmpty() && p.Word(x.gate).Has(robust.Waiters) {
		p.WakeAll(x.counts[k] | high)
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
		n := x.cell(p, k)
		if out := int(p.Call(func() uint64 { return uint64(x.concluded(p)) })); out != readWaits {
			return out
		}
		if p.Call(func() uint64 { return flag(x.attendGate(p, nudged)) }) != 0 {
			continue
		}
		p.Sleep(x.counts[k], uint32(n), x.nudged[k])
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
			if !x.swap(p, k, n, granted(n)) {
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
				if x.swap(p, k, n, granted(n)) {
					p.WakeAll(x.counts[k])
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
