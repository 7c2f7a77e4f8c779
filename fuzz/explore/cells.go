package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// CellsSetup is a situation, and for tests a broken protocol.
type CellsSetup struct {
	Name      string
	Processes int
	Records   int
	Last      uint32 // generation of the slot
	Roles     [][]string
	Deaths    int
	Mortal    func(process int) bool
	Break     string
}

// cells mirrors arena/readers.go, reading.go and retire.go: the cells of one
// slot's rwmutex, which go from member to member when one dies, and out of the
// chain when the name leaves the slot. Readers only try, and how a writer waits
// for the word and for readers is the rwmutex's model.
type cells struct {
	Model
	setup CellsSetup

	life, word, gate, latch, head   Addr   // life: the slot's generation
	owner, counts, born, slot, next []Addr // of each record; born: its cell's generation
	reading, hand                   []Addr // of each process: where it counts, and whether somebody has that in hand
	reads                           []Addr // ghosts: the generation that a process reads
	writer                          Addr
}

const (
	readersRecord words.Kind = 1
	vacantRecord  words.Kind = 2
)

// NewCells makes the model.
func NewCells(setup CellsSetup) *Model {
	x := &cells{setup: setup}
	m := &x.Model
	m.Name = "cells: " + setup.Name
	n := setup.Processes
	for k := range n {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	x.life, x.word, x.gate, x.latch, x.head = m.word("life"), m.ownerWord("word"), m.ownerWord("gate"), m.ownerWord("latch"), m.word("chain")
	x.owner, x.counts, x.born = m.words(setup.Records, "owner of record %d"), m.words(setup.Records, "counts of record %d"), m.words(setup.Records, "generation of record %d")
	x.slot, x.next = m.words(setup.Records, "slot of record %d"), m.words(setup.Records, "next of record %d")
	x.reading, x.hand = m.words(n, "reading of process %d"), m.words(n, "process %d has a reading in hand")
	x.reads, x.writer = m.words(n, "process %d reads"), m.word("who writes")
	for k := range n {
		m.Events = append(m.Events, Event{fmt.Sprintf("the collector of process %d runs", k+1), func(s *State) bool { return x.collect(s, k) }})
	}
	m.Init = func(s *State) { s.Mem[x.life], s.Mem[x.word] = 1, uint64(robust.Free(1)) }
	m.Deaths, m.Mortal = setup.Deaths, setup.Mortal
	m.Killed = func(s *State, k int) {
		s.Mem[x.reading[k]], s.Mem[x.hand[k]], s.Mem[x.reads[k]] = 0, 0, 0
		if s.Mem[x.writer] == uint64(k+1) {
			s.Mem[x.writer] = 0
		}
	}
	m.Check = x.check
	m.Goal = m.AllIdle
	return m
}

func (x *cells) process(p *P) int            { return x.Actors[p.Self].Process }
func (x *cells) self(p *P) robust.Word       { return selfOf(x.process(p)) }
func (x *cells) mine(p *P) uint64            { return words.OwnerOf(memberOf(x.process(p)), readersRecord) }
func (x *cells) generation(p *P) uint32      { return uint32(p.Load(x.life)) }
func (x *cells) of(p *P, i int) words.Counts { return words.Counts(p.Load(x.counts[i])) }

func (x *cells) gone(p *P, m robust.Member) bool {
	return m.Index != 0 && processOf(m) != x.process(p) &&
		p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(m))) }) != 0
}

// A reading is a record and the generation of the name that it is of.
func newReading(record int, generation uint32) uint64 {
	return uint64(generation)<<8 | uint64(record+1)
}

func readingOf(v uint64) (record int, generation uint32) { return int(v&0xff) - 1, uint32(v >> 8) }

// collect is forgetRetired, and freeCell once no goroutine has the reading.
func (x *cells) collect(s *State, k int) bool {
	i, generation := readingOf(s.Mem[x.reading[k]])
	if i < 0 || generation == uint32(s.Mem[x.life]) || words.Counts(s.Mem[x.counts[i]]).IsOpen() ||
		s.Mem[x.hand[k]] != 0 && x.setup.Break != "a cell is freed while somebody has it in hand" {
		return false
	}
	s.Mem[x.reading[k]], s.Mem[x.slot[i]], s.Mem[x.owner[i]] = 0, 0, 0
	return true
}

// check looks for readers that nothing counts, and for cells that are anybody's.
func (x *cells) check(s *State) string {
	for k, at := range x.reads {
		if s.Mem[at] == 0 {
			continue
		}
		if s.Mem[at] != s.Mem[x.life] {
			return fmt.Sprintf("process %d reads a name that has left its slot", k+1)
		}
		if i, _ := readingOf(s.Mem[x.reading[k]]); i < 0 || words.Counts(s.Mem[x.counts[i]]).Held() == 0 {
			return fmt.Sprintf("process %d reads, and is not counted", k+1)
		}
	}
	if !robustWord(s, x.latch).IsFree() {
		return ""
	}
	if w := robustWord(s, x.word); w.IsFree() && w.Generation() != uint32(s.Mem[x.life]) {
		return "an eviction is left half done"
	}
	for k, at := range x.reading {
		if i, generation := readingOf(s.Mem[at]); i >= 0 && generation == uint32(s.Mem[x.life]) && !words.Counts(s.Mem[x.counts[i]]).IsOpen() {
			return fmt.Sprintf("the cell of process %d is closed, and the name has not left", k+1)
		}
	}
	at := s.Mem[x.head]
	for range x.owner {
		if at == 0 {
			return ""
		}
		if kind := words.KindOf(s.Mem[x.owner[at-1]]); s.Mem[x.slot[at-1]] != 1 || kind != readersRecord && kind != vacantRecord {
			return fmt.Sprintf("record %d is in the chain, and is no cell", at)
		}
		at = s.Mem[x.next[at-1]]
	}
	if at != 0 {
		return "the chain has no end"
	}
	return ""
}

// user does what its process may do, for ever.
func (x *cells) user(p *P) {
	roles := x.setup.Roles[x.process(p)]
	for top := p.Mark(); ; p.Again(top) {
		what := x.read
		switch roles[p.Choose("what to do", len(roles))] {
		case "write":
			what = x.write
		case "evict":
			what = x.evict
		case "settle":
			what = x.settle
		}
		p.Call(func() uint64 { what(p); return 0 })
		p.Do("is done", func(s *State) uint64 { s.Mem[x.hand[x.process(p)]] = 0; return 0 })
	}
}

// read tries to read: once.
func (x *cells) read(p *P) {
	k := x.process(p)
	v := p.Do("takes the reading", func(s *State) uint64 { s.Mem[x.hand[k]] = 1; return s.Mem[x.reading[k]] })
	if i, _ := readingOf(v); i < 0 || !x.of(p, i).IsOpen() {
		if v = p.Call(func() uint64 { return x.readingAt(p) }); v == 0 {
			return
		}
	}
	i, generation := readingOf(v)
	n := x.add(p, i, words.OneReader)
	if !n.IsOpen() || p.Load(x.gate) != 0 {
		x.add(p, i, ^(words.OneReader - 1))
		return
	}
	p.Ghost(func(s *State) {
		if w := s.Mem[x.writer]; w != 0 {
			p.Fail("process %d reads while process %d writes", k+1, w)
		}
		s.Mem[x.reads[k]] = uint64(generation)
	})
	x.add(p, i, ^(words.OneReader - 1))
	p.Ghost(func(s *State) { s.Mem[x.reads[k]] = 0 })
}

// add adds to a cell of the process's own.
func (x *cells) add(p *P, i int, d words.Counts) words.Counts {
	n := words.Counts(p.Add(x.counts[i], uint64(d)))
	p.Ghost(func(s *State) {
		if s.Mem[x.owner[i]] != x.mine(p) {
			p.Fail("process %d counts in record %d, which is not its", x.process(p)+1, i+1)
		}
	})
	return n
}
