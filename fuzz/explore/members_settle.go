package explore

import (
	"lockd/internal/words"
	"lockd/robust"
)

// The steps of arena/settle.go.

// settleDead is one pass.
func (x *members) settleDead(p *P) {
	found := make([]words.Member, x.setup.Entries) // findDead
	for i := range x.state {
		found[i] = words.Member(p.Call(func() uint64 { return uint64(x.findDead(p, i)) }))
	}
	some := false
	for i, st := range found {
		some = some || st.Phase() == words.Attached
		if st.Phase() == words.Joining {
			p.Call(func() uint64 { x.settleJoining(p, i); return 0 })
		}
	}
	if !some {
		return
	}
	dead := func(m robust.Member) bool {
		if m.Index == 0 || found[m.Index-1].Phase() != words.Attached {
			return false
		}
		return x.setup.Break == "reclaim without generation" && m != x.mine(p) || found[m.Index-1].Generation() == m.Generation
	}
	early := x.setup.Break == "member freed before it is settled"
	if early {
		x.freeEntries(p, found, false)
	}
	p.Call(func() uint64 { x.settleSlot(p, dead); return 0 })
	p.Call(func() uint64 { x.settleTicket(p, dead); return 0 })
	if !early {
		x.freeEntries(p, found, x.setup.Break == "entries freed by a store")
	}
}

// findDead returns the state of an entry whose member is gone, else 0.
func (x *members) findDead(p *P, i int) words.Member {
	if int(x.mine(p).Index) == i+1 {
		return 0
	}
	st := x.stateOf(p, i)
	switch st.Phase() {
	case words.Attached:
		if v := x.judge(p, robust.Member{Index: uint16(i + 1), Generation: st.Generation()}); v.gone {
			return v.state
		}
	case words.Joining:
		if x.byteFree(p, i) {
			return st
		}
	}
	return 0
}

func (x *members) byteFree(p *P, i int) bool {
	return p.Do("probes the byte", func(s *State) uint64 { return flag(s.Mem[x.byt[i]] == 0) }) != 0
}

func (x *members) settleJoining(p *P, i int) {
	if st := x.stateOf(p, i); st.Phase() == words.Joining && x.byteFree(p, i) {
		p.CAS(x.state[i], uint64(st), uint64(words.NewMember(st.Generation(), words.FreeEntry, 0, 0)))
	}
}

func (x *members) settleSlot(p *P, dead func(robust.Member) bool) {
	for top := p.Mark(); ; p.Again(top) {
		w := p.Word(x.word)
		if w.IsFree() || !dead(w.Owner()) {
			return
		}
		if !p.CAS(x.word, uint64(w), uint64(w.Reclaimed(x.self(p)))) {
			if x.setup.Break == "a slot that changes is not looked at again" {
				return
			}
			continue
		}
		p.Call(func() uint64 { x.letGo(p, func() {}); return 0 })
	}
}

func (x *members) settleTicket(p *P, dead func(robust.Member) bool) {
	w := words.Ticket(p.Load(x.ticket))
	m, held := w.Owner()
	if !held || !dead(m) {
		return
	}
	returned := func() {
		p.Ghost(func(s *State) {
			if s.Mem[x.owed] == 0 {
				p.Fail("a ticket comes back that nobody owes")
			}
			s.Mem[x.owed] = 0
		})
	}
	if x.setup.Break == "a ticket returned by two settlers" {
		p.Store(x.ticket, uint64(freeOneTicket))
		returned()
	} else if p.CAS(x.ticket, uint64(w), uint64(freeOneTicket)) {
		returned()
	}
}

// freeEntries frees the entries of those found dead. Nothing names them any more.
func (x *members) freeEntries(p *P, found []words.Member, store bool) {
	for i, st := range found {
		if st.Phase() != words.Attached {
			continue
		}
		p.Call(func() uint64 {
			free := uint64(words.NewMember(st.Generation(), words.FreeEntry, 0, 0))
			if store {
				p.Store(x.state[i], free)
				return 0
			}
			if p.CAS(x.state[i], uint64(st), free) {
				p.Ghost(func(s *State) {
					m := robust.Member{Index: uint16(i + 1), Generation: st.Generation()}
					t, held := words.Ticket(s.Mem[x.ticket]).Owner()
					if robust.Word(s.Mem[x.word]).Owner() == m || held && t == m {
						p.Fail("the entry of member %d is free, and something names it", i+1)
					}
				})
			}
			return 0
		})
	}
}
