package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// MembersSetup is a situation, and for tests a broken protocol.
type MembersSetup struct {
	Name      string
	Processes int
	Entries   int
	Last      uint16 // generation of an entry, after which nobody joins it
	Deaths    int
	Corpse    bool // process 1 died at the beginning, with the lock and the ticket
	Break     string
}

// members mirrors arena/member.go and settle.go: processes join entries of the
// member table, of which there are fewer, lock one word, take one ticket,
// settle those who died, leave, and join again. So entries go from process to
// process while others still look at what their last member left.
type members struct {
	Model
	setup MembersSetup

	word, ticket      Addr
	state, ident, byt []Addr // of each entry: its state, who it says joined, who has its byte
	me                []Addr // of each process: the member it is

	holder, keeper, owed Addr // ghosts: who is inside, who has the ticket, of whom it is to come back
}

const memberSlotGeneration = 1

// NewMembers makes the model.
func NewMembers(setup MembersSetup) *Model {
	x := &members{setup: setup}
	m := &x.Model
	m.Name = "members: " + setup.Name
	for k := range setup.Processes {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("user %d", k+1), Process: k, Program: x.user})
	}
	x.word, x.ticket = m.ownerWord("word"), m.word("ticket")
	x.state, x.ident, x.byt = m.words(setup.Entries, "entry %d"), m.words(setup.Entries, "identity in entry %d"), m.words(setup.Entries, "byte %d")
	x.me = m.words(setup.Processes, "member that process %d is")
	x.holder, x.keeper, x.owed = m.word("who is inside"), m.word("who has the ticket"), m.word("of whom the ticket is owed")
	m.Init = func(s *State) {
		s.Mem[x.word] = uint64(robust.Free(memberSlotGeneration))
		s.Mem[x.ticket] = uint64(freeOneTicket)
		for k := range min(setup.Processes, setup.Entries) { // these have joined
			s.Mem[x.state[k]] = uint64(words.NewMember(1, words.Attached, 0, uint32(k+1)))
			s.Mem[x.ident[k]], s.Mem[x.byt[k]] = uint64(k+1), uint64(k+1)
			s.Mem[x.me[k]] = 1<<16 | uint64(k+1)
		}
		if setup.Corpse {
			s.Mem[x.word], s.Mem[x.ticket] = uint64(selfOf(0)), uint64(selfOf(0))
			s.Mem[x.holder], s.Mem[x.keeper] = 1, 1
			m.kill(s, 0)
		}
	}
	m.Deaths = setup.Deaths
	m.Killed = x.killed
	m.Check = x.check
	m.Goal = m.AllIdle
	return m
}

var freeOneTicket = words.NewTickets(1, 1).Free()

func (x *members) process(p *P) int { return x.Actors[p.Self].Process }

// asMember packs a member into a word.
func asMember(v uint64) robust.Member {
	return robust.Member{Index: uint16(v), Generation: uint16(v >> 16)}
}

// mine is the member that the process was when its round began: see user.
func (x *members) mine(p *P) robust.Member { return asMember(p.a.log[0]) }

func (x *members) selfOf(s *State, k int) robust.Word {
	return robust.Held(asMember(s.Mem[x.me[k]]), uint32(k+1))
}

func (x *members) self(p *P) robust.Word {
	return robust.Held(x.mine(p), uint32(x.process(p)+1))
}

func (x *members) stateOf(p *P, i int) words.Member { return words.Member(p.Load(x.state[i])) }

// killed frees the byte of a process's entry, as the kernel does.
func (x *members) killed(s *State, k int) {
	for _, at := range x.byt {
		if s.Mem[at] == uint64(k+1) {
			s.Mem[at] = 0
		}
	}
	s.Mem[x.me[k]] = 0
	if s.Mem[x.holder] == uint64(k+1) {
		s.Mem[x.holder] = 0
	}
	if s.Mem[x.keeper] == uint64(k+1) {
		s.Mem[x.keeper], s.Mem[x.owed] = 0, uint64(k+1)
	}
}

// check looks for what was taken from the living.
func (x *members) check(s *State) string {
	for k, at := range x.me {
		m := asMember(s.Mem[at])
		if m.Index == 0 {
			continue
		}
		if st := words.Member(s.Mem[x.state[m.Index-1]]); st.Phase() != words.Attached || st.Generation() != m.Generation {
			return fmt.Sprintf("process %d has lost its member entry", k+1)
		}
		if s.Mem[x.holder] == uint64(k+1) && !robust.Word(s.Mem[x.word]).SameHolding(x.selfOf(s, k)) {
			return fmt.Sprintf("process %d has lost the lock while it held it", k+1)
		}
		if s.Mem[x.keeper] == uint64(k+1) && s.Mem[x.ticket] != uint64(x.selfOf(s, k)) {
			return fmt.Sprintf("process %d has lost the ticket while it held it", k+1)
		}
	}
	return ""
}

// user joins, locks, takes the ticket, settles and leaves, in any order.
func (x *members) user(p *P) {
	do := func(f func(*P)) { p.Call(func() uint64 { f(p); return 0 }) }
	for top := p.Mark(); ; p.Again(top) {
		if asMember(p.Var(p.s.Mem[x.me[p.Self]])).Index == 0 {
			do(x.tryJoin)
			continue
		}
		switch p.Choose("lock, take the ticket, settle, or leave", 4) {
		case 0:
			do(x.lockAndUnlock)
		case 1:
			do(x.takeAndReturn)
		case 2:
			do(x.settleDead)
		case 3:
			do(x.leave)
		}
	}
}

func (x *members) tryJoin(p *P) {
	i := p.Choose("which entry", x.setup.Entries)
	k := x.process(p)
	free := words.Member(p.Await("looks for an entry", func(s *State) bool {
		st := words.Member(s.Mem[x.state[i]])
		return st.Phase() == words.FreeEntry && st.Generation() < x.setup.Last && s.Mem[x.byt[i]] == 0
	}, func(s *State) uint64 { return s.Mem[x.state[i]] }))
	late := x.setup.Break == "joins before it has locked its byte"
	if !late && !x.lockByte(p, i) {
		return
	}
	pid := uint32(k + 1)
	if !p.CAS(x.state[i], uint64(free), uint64(words.NewMember(free.Next(), words.Joining, 0, pid))) {
		p.Do("unlocks the byte", func(s *State) uint64 { s.Mem[x.byt[i]] = 0; return 0 })
		return
	}
	p.Store(x.ident[i], uint64(k+1))
	p.Store(x.state[i], uint64(words.NewMember(free.Next(), words.Attached, 0, pid)))
	p.Ghost(func(s *State) { s.Mem[x.me[k]] = uint64(free.Next())<<16 | uint64(i+1) })
	if late {
		x.lockByte(p, i)
	}
}

func (x *members) lockByte(p *P, i int) bool {
	return p.Do("locks the byte", func(s *State) uint64 { return flag(casIn(s, x.byt[i], 0, uint64(x.process(p)+1))) }) != 0
}

// peer is what a judge has copied of a member.
type peer struct {
	state words.Member
	gone  bool
}

// judge is judge and judgePeer: the entry, who it says it is, the kernel, and
// the entry again.
func (x *members) judge(p *P, m robust.Member) peer {
	if m == x.mine(p) {
		return peer{}
	}
	state, gone := p.Call2(func() (uint64, uint64) {
		i := int(m.Index) - 1
		st := x.stateOf(p, i)
		if st.Phase() != words.Attached || st.Generation() != m.Generation {
			return 0, 1
		}
		who := int(p.Load(x.ident[i])) - 1
		if p.Do("asks the kernel", func(s *State) uint64 { return flag(x.isDead(s, who) || s.Mem[x.byt[i]] == 0) }) == 0 {
			return uint64(st), 0
		}
		return uint64(st), flag(x.setup.Break == "judged without a second look at the entry" || x.stateOf(p, i) == st)
	})
	return peer{words.Member(state), gone != 0}
}

// isDead tells whether a process, which never was if negative, is dead.
func (x *members) isDead(s *State, process int) bool {
	return process >= 0 && x.ProcessDead(s, process)
}

// lockAndUnlock waits for the word, reclaims it if it has to, and gives it back.
func (x *members) lockAndUnlock(p *P) {
	if p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := p.Word(x.word)
			next := w.Taken(x.self(p))
			if !w.IsFree() {
				if !w.Has(robust.Waiters) && p.CAS(x.word, uint64(w), uint64(w|robust.Waiters)) {
					continue
				}
				if !x.judge(p, w.Owner()).gone {
					return 0
				}
				next = w.Reclaimed(x.self(p))
			}
			if p.CAS(x.word, uint64(w), uint64(next)) {
				x.entered(p)
				return 1
			}
		}
	}) == 0 {
		return
	}
	x.letGo(p, func() { p.Ghost(func(s *State) { s.Mem[x.holder] = 0 }) })
}

func (x *members) entered(p *P) {
	p.Ghost(func(s *State) {
		if h := s.Mem[x.holder]; h != 0 {
			p.Fail("process %d and %d both hold the lock", h, x.process(p)+1)
		}
		s.Mem[x.holder] = uint64(x.process(p) + 1)
	})
}

func (x *members) letGo(p *P, left func()) {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if !w.SameHolding(x.self(p)) {
			p.Fail("process %d has lost the lock", x.process(p)+1)
			return
		}
		if p.CAS(x.word, uint64(w), uint64(w.Released(memberSlotGeneration)&^(robust.Abandoned|robust.Waiters))) {
			left()
			return
		}
	}
}

func (x *members) takeAndReturn(p *P) {
	k := uint64(x.process(p) + 1)
	if !p.CAS(x.ticket, uint64(freeOneTicket), uint64(x.self(p))) {
		return
	}
	p.Ghost(func(s *State) { s.Mem[x.keeper] = k })
	p.CAS(x.ticket, uint64(x.self(p)), uint64(freeOneTicket))
	p.Ghost(func(s *State) { s.Mem[x.keeper] = 0 })
}

// leave withdraws the entry; then the byte goes free, with the file.
func (x *members) leave(p *P) {
	m, k := x.mine(p), x.process(p)
	i := int(m.Index) - 1
	if st := x.stateOf(p, i); st.Phase() == words.Attached && st.Generation() == m.Generation {
		p.CAS(x.state[i], uint64(st), uint64(words.NewMember(st.Generation(), words.FreeEntry, 0, 0)))
	}
	p.Ghost(func(s *State) { s.Mem[x.me[k]] = 0 })
	p.Do("closes the file", func(s *State) uint64 {
		for _, at := range x.byt {
			casIn(s, at, uint64(k+1), 0)
		}
		return 0
	})
}
