package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of the cells' chain: who comes, who writes, who evicts, who settles.

func vacant(generation uint32) uint64 { return uint64(generation)<<32 | uint64(vacantRecord) }

// chain calls f with the cells of the slot until f says no.
func (x *cells) chain(p *P, f func(i int) bool) {
	p.Call(func() uint64 {
		first := p.Load(x.head)
		for top, at := p.Mark(), first; ; p.Again(top, at) {
			if at = p.Var(at); at == 0 {
				return 0
			}
			i := int(at) - 1
			if p.Load(x.slot[i]) != 1 {
				return 0
			}
			if kind := words.KindOf(p.Load(x.owner[i])); kind != readersRecord && kind != vacantRecord {
				return 0
			}
			next := p.Load(x.next[i])
			if p.Call(func() uint64 { return flag(f(i)) }) == 0 {
				return 0
			}
			at = next
		}
	})
}

// readingAt finds or makes the process's cell; 0: it could not.
func (x *cells) readingAt(p *P) uint64 {
	generation := x.generation(p)
	spare := int(p.Do("claims a record", func(s *State) uint64 {
		for i, at := range x.owner {
			if s.Mem[at] == 0 {
				s.Mem[at], s.Mem[x.counts[i]] = x.mine(p), uint64(words.Counts(s.Mem[x.counts[i]]).Epoch())
				return uint64(i + 1)
			}
		}
		return 0
	})) - 1
	if spare < 0 {
		return 0
	}
	x.latched(p)
	v := p.Call(func() uint64 {
		if x.generation(p) != generation || words.Astray(p.Word(x.word), words.LiveLife(generation, 1, 1)) {
			return 0
		}
		if v := p.Peek(x.reading[x.process(p)]); v != 0 {
			if i, g := readingOf(v); g == generation && x.of(p, i)>>62 != 0 {
				return v
			}
		}
		return newReading(int(p.Call(func() uint64 { return uint64(x.chainCell(p, spare, generation)) })), generation)
	})
	if i, _ := readingOf(v); i != spare {
		p.Store(x.owner[spare], 0)
	}
	p.Store(x.latch, 0)
	if v != 0 {
		p.Ghost(func(s *State) { s.Mem[x.reading[x.process(p)]] = v })
	}
	return v
}

// chainCell moves into a vacant cell, or puts the spare into the chain.
func (x *cells) chainCell(p *P, spare int, generation uint32) int {
	found := int(p.Call(func() uint64 {
		found := 0
		x.chain(p, func(i int) bool {
			owner := p.Load(x.owner[i])
			if words.KindOf(owner) != vacantRecord || !p.CAS(x.owner[i], owner, x.mine(p)) {
				return true
			}
			found = i + 1
			return false
		})
		return uint64(found)
	}))
	i := found - 1
	if found == 0 {
		i = spare
		p.Store(x.slot[i], 1)
		p.Store(x.next[i], p.Load(x.head))
	}
	p.Store(x.born[i], uint64(generation))
	opened := x.of(p, i).Opened()
	if x.setup.Break == "who moves in keeps the epoch" {
		opened = words.OpenCell | (opened-1)&words.EpochMask
	}
	p.Store(x.counts[i], uint64(opened))
	if found == 0 {
		p.Store(x.head, uint64(i+1))
	}
	return i
}

// bury subtracts the readers of a cell's owner that is gone.
func (x *cells) bury(p *P, i int, owner uint64) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			n := x.of(p, i)
			if p.Load(x.owner[i]) != owner && x.setup.Break != "the dead are subtracted whose cell it is by then" {
				return 0
			}
			if n == n.Epoch() || p.CAS(x.counts[i], uint64(n), uint64(n.Epoch())) {
				return 0
			}
		}
	})
}

// write takes the word, shuts the gate and waits for the readers.
func (x *cells) write(p *P) {
	generation := x.generation(p)
	w := robust.Word(p.Await("waits for the word", func(s *State) bool {
		w := robustWord(s, x.word)
		return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
	}, func(s *State) uint64 { return s.Mem[x.word] }))
	if w.IsFree() && w.Generation() != generation || !p.CAS(x.word, uint64(w), uint64(x.self(p))) {
		return
	}
	if !w.IsFree() {
		p.Store(x.gate, 0)
	}
	if x.generation(p) == generation {
		p.Store(x.gate, uint64(x.self(p)))
		x.chain(p, func(i int) bool { x.drain(p, i); return true })
		p.Do("writes", func(s *State) uint64 {
			for k, at := range x.reads {
				if s.Mem[at] != 0 {
					p.fault = "a process writes while process " + string(rune('1'+k)) + " reads"
				}
			}
			s.Mem[x.writer] = uint64(x.process(p) + 1)
			return 0
		})
		p.Store(x.gate, 0)
		p.Ghost(func(s *State) { s.Mem[x.writer] = 0 })
	}
	x.release(p)
}

func (x *cells) release(p *P) { p.Store(x.word, uint64(robust.Free(x.generation(p)))) }

func (x *cells) drain(p *P, i int) {
	for top := p.Mark(); ; p.Again(top) {
		n := x.of(p, i)
		if n.IsEmpty() {
			return
		}
		owner := p.Load(x.owner[i])
		m := words.MemberOf(owner)
		if words.KindOf(owner) == vacantRecord || x.gone(p, m) {
			x.bury(p, i, owner)
			continue
		}
		p.Await("waits for readers", func(s *State) bool {
			return s.Mem[x.counts[i]] != uint64(n) || s.Mem[x.owner[i]] != owner || x.ProcessDead(s, processOf(m))
		}, func(*State) uint64 { return 0 })
	}
}

// latched takes the stripe's latch. After a death an eviction may be half done.
func (x *cells) latched(p *P) {
	p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits for the latch", func(s *State) bool {
				w := robustWord(s, x.latch)
				return w.IsFree() || x.ProcessDead(s, processOf(w.Owner()))
			}, func(s *State) uint64 { return s.Mem[x.latch] }))
			if !p.CAS(x.latch, uint64(w), uint64(x.self(p))) {
				continue
			}
			if !w.IsFree() && x.setup.Break != "no rebuild after a death" {
				x.rebuild(p)
			}
			return 0
		}
	})
}

func (x *cells) rebuild(p *P) {
	p.Call(func() uint64 {
		w, generation := p.Word(x.word), x.generation(p)
		if w.IsFree() && w.Generation() > generation {
			x.evictable(p, generation)
		}
		return 0
	})
}

// evict takes the name out of the slot. The word goes first.
func (x *cells) evict(p *P) {
	generation := x.generation(p)
	if generation == x.setup.Last {
		return
	}
	x.latched(p)
	p.Call(func() uint64 {
		if x.generation(p) == generation && p.CAS(x.word, uint64(robust.Free(generation)), uint64(robust.Free(generation+1))) {
			x.evictable(p, generation)
		}
		return 0
	})
	p.Store(x.latch, 0)
}

// evictable closes the cells and finishes, or opens them again. The slot has
// its next name at once.
func (x *cells) evictable(p *P, generation uint32) {
	if p.Call(func() uint64 { return flag(x.retire(p)) }) == 0 {
		p.CAS(x.word, uint64(robust.Free(generation+1)), uint64(robust.Free(generation)))
		return
	}
	x.chain(p, func(i int) bool {
		p.Store(x.head, p.Load(x.next[i]))
		if owner := p.Load(x.owner[i]); words.KindOf(owner) == vacantRecord {
			p.CAS(x.owner[i], owner, 0)
		}
		return true
	})
	p.Store(x.head, 0)
	p.Store(x.life, uint64(generation+1))
}

func (x *cells) retire(p *P) bool {
	open := p.Call(func() uint64 {
		used := uint64(0)
		x.chain(p, func(i int) bool {
			n := x.of(p, i)
			if n == n.Epoch() || (n == words.OpenCell|n.Epoch() || x.setup.Break == "cells are closed though somebody reads") &&
				p.CAS(x.counts[i], uint64(n), uint64(n.Epoch())) {
				return true
			}
			if words.KindOf(p.Load(x.owner[i])) == vacantRecord {
				return true
			}
			used = 1
			return false
		})
		return used
	}) == 0
	if !open && x.setup.Break != "who could not evict leaves cells closed" {
		x.chain(p, func(i int) bool {
			if words.KindOf(p.Load(x.owner[i])) == readersRecord && x.of(p, i)>>62 == 0 {
				p.Add(x.counts[i], uint64(words.OpenCell))
			}
			return true
		})
	}
	return open
}

// settle gives back what a dead reader or writer left.
func (x *cells) settle(p *P) {
	dead := func(s *State, m robust.Member) bool { return m.Index != 0 && x.ProcessDead(s, processOf(m)) }
	p.Await("settles", func(s *State) bool {
		left := dead(s, robustOwner(s.Mem[x.word])) || dead(s, robustOwner(s.Mem[x.latch]))
		for _, at := range x.owner {
			left = left || words.KindOf(s.Mem[at]) == readersRecord && dead(s, words.MemberOf(s.Mem[at]))
		}
		return left
	}, func(*State) uint64 { return 0 })
	p.Call(func() uint64 {
		if w := p.Word(x.word); x.gone(p, w.Owner()) && p.CAS(x.word, uint64(w), uint64(x.self(p))) {
			p.Store(x.gate, 0)
			x.release(p)
		}
		return 0
	})
	for i := range x.owner {
		p.Call(func() uint64 { x.settleRecord(p, i); return 0 })
	}
	if x.gone(p, p.Word(x.latch).Owner()) {
		x.latched(p)
		p.Store(x.latch, 0)
	}
}

func (x *cells) settleRecord(p *P, i int) {
	owner := p.Load(x.owner[i])
	switch {
	case words.KindOf(owner) == vacantRecord:
		x.freeLoose(p, i, owner)
	case words.KindOf(owner) == readersRecord && x.gone(p, words.MemberOf(owner)):
		x.bury(p, i, owner)
		left := uint64(0)
		if x.isChained(p, i) {
			left = vacant(uint32(p.Load(x.born[i])))
		}
		if p.CAS(x.owner[i], owner, left) && left != 0 {
			x.freeLoose(p, i, left)
		}
	}
}

// isChained tells whether a record is in the slot's chain.
func (x *cells) isChained(p *P, i int) bool {
	if x.setup.Break == "a cell of the dead is freed where it is" {
		return false
	}
	return p.Call(func() uint64 {
		if p.Load(x.slot[i]) != 1 {
			return 0
		}
		found := uint64(0)
		x.chain(p, func(j int) bool {
			found |= flag(i == j)
			return i != j
		})
		return found
	}) != 0
}

// freeLoose frees a vacant cell that is in no chain.
func (x *cells) freeLoose(p *P, i int, owner uint64) {
	generation := x.generation(p)
	if generation == uint32(owner>>32) && !words.Astray(p.Word(x.word), words.LiveLife(generation, 1, 1)) {
		return
	}
	if !x.isChained(p, i) {
		p.CAS(x.owner[i], owner, 0)
	}
}
