package explore

// The steps of arena/detector.go, suspicion.go, verdict.go and sighting.go.

// detector looks at the waits of its process, for ever.
func (x *sessions) detector(p *P) {
	k := x.process(p)
	due := func(s *State) bool {
		for i, process := range x.setup.Processes {
			if process == k && s.Mem[x.entered[i]] != 0 && s.Mem[x.convicted[i]] == 0 {
				return true
			}
		}
		return false
	}
	for top := p.Mark(); ; p.Again(top) {
		last := caseWord(p.Await("looks", due, func(s *State) uint64 {
			s.Mem[x.excused[k]] = 0
			return s.Mem[x.verdict]
		}))
		if x.setup.Break != "nobody marks the last victim" {
			p.Call(func() uint64 { x.helpVerdict(p, last); return 0 })
		}
		seen := x.sight(p)
		p.Call(func() uint64 { x.conclude(p, seen, last); return 0 })
	}
}

func (x *sessions) helpVerdict(p *P, v caseWord) {
	i := v.record()
	if i < 0 {
		return
	}
	if w := shownWord(p.Load(x.wait[i])); w != 0 && (w.seq() == v.seq() || x.setup.Break == "a verdict is on whatever its victim waits for") {
		p.CAS(x.wait[i], uint64(w), uint64(w|shownVictim))
	}
}

// view is a sighting. Of each session seven bits are its wait and six each of
// its holdings, and of each mutex two are its owner's process.
type view uint64

func (x *sessions) waitAt(i int) int       { return i * (7 + 6*len(x.holding[0])) }
func (x *sessions) holdingAt(i, j int) int { return x.waitAt(i) + 7 + 6*j }
func (x *sessions) ownerAt(l int) int      { return x.waitAt(len(x.wait)) + 2*l }

func (x *sessions) waitIn(v view, i int) shownWord { return shownWord(v >> x.waitAt(i) & 127) }

// sight reads all records once.
func (x *sessions) sight(p *P) view {
	return view(p.Call(func() uint64 {
		if x.ownerAt(len(x.lock)) > 64 {
			panic(x.Name + ": a sighting is too large")
		}
		v := uint64(0)
		for i := range x.wait {
			v |= p.Call(func() uint64 {
				w := p.Load(x.wait[i])
				if p.Load(x.wait[i]) != w {
					return 0
				}
				return w
			}) << x.waitAt(i)
		}
		for i := range x.wait {
			for j, at := range x.holding[i] {
				v |= p.Load(at) << x.holdingAt(i, j)
			}
		}
		for l, at := range x.lock {
			v |= p.Call(func() uint64 { return uint64(processOf(robustOwner(p.Load(at))) + 1) }) << x.ownerAt(l)
		}
		return v
	}))
}

// holderIn is the session that is believed to hold a mutex, or -1.
func (x *sessions) holderIn(v view, l int) int {
	holder := -1
	for i := range x.wait {
		for j := range x.holding[i] {
			w := shownWord(v >> x.holdingAt(i, j) & 63)
			if w == 0 || w.lock() != l || int(v>>x.ownerAt(l)&3)-1 != x.setup.Processes[i] {
				continue
			}
			if holder >= 0 {
				return -1 // both cannot be true
			}
			holder = i
		}
	}
	return holder
}

// suspect returns the circle that a session lies on, as a set; who waits no
// more is told by relieved.
func (x *sessions) suspect(v view, i int, relieved uint64) (ring uint64) {
	at := i
	for range x.wait {
		w := x.waitIn(v, at)
		if w == 0 || w.isVictim() || relieved>>at&1 != 0 {
			return 0
		}
		ring |= 1 << at
		if at = x.holderIn(v, w.lock()); at < 0 {
			return 0
		}
		if at == i {
			return ring
		}
	}
	return 0
}

// confirms tells whether a second look shows all that a suspicion rests on.
func (x *sessions) confirms(again, first view, i int, ring, relieved uint64) bool {
	for k := range x.wait {
		if mask := view(1)<<(7+6*len(x.holding[k])) - 1; ring>>k&1 != 0 && again>>x.waitAt(k)&mask != first>>x.waitAt(k)&mask {
			return false
		}
	}
	return x.suspect(again, i, relieved) != 0
}

// conclude draws from what was seen after the verdict word was last loaded.
func (x *sessions) conclude(p *P, seen view, last caseWord) {
	const looked = 1 << 63
	relieved, again := uint64(0), uint64(0)
	for i, process := range x.setup.Processes {
		if process != x.process(p) || x.waitIn(seen, i) == 0 || p.Do("plans", func(s *State) uint64 {
			return flag(s.Mem[x.convicted[i]] == 0 && s.Mem[x.entered[i]] == uint64(x.waitIn(seen, i)))
		}) == 0 {
			continue
		}
		ring := x.suspect(seen, i, relieved)
		if ring == 0 {
			continue
		}
		if x.setup.Break != "the dead are not judged" {
			gone := p.Call(func() uint64 { return x.judge(p, ring) })
			if relieved |= gone; gone != 0 {
				if ring = x.suspect(seen, i, relieved); ring == 0 {
					continue
				}
			}
		}
		if again == 0 || p.Choose("looked long ago", 2) == 1 {
			again = looked | uint64(x.sight(p))
		}
		if x.setup.Break != "no second look" && !x.confirms(view(again&^looked), seen, i, ring, relieved) {
			continue
		}
		next, decided := x.decide(p, last, i, x.waitIn(seen, i))
		if !decided {
			return
		}
		last = next
		p.Call(func() uint64 { x.convict(p, i, x.waitIn(seen, i)); return 0 })
		relieved |= 1 << i
	}
}

// judge tells which of the sessions of a ring are of processes that are gone.
func (x *sessions) judge(p *P, ring uint64) (gone uint64) {
	if x.setup.Deaths == 0 {
		return 0
	}
	for k := range x.excused {
		mine := uint64(0)
		for i, process := range x.setup.Processes {
			if process == k {
				mine |= ring & (1 << i)
			}
		}
		if mine != 0 && k != x.process(p) && p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, k)) }) != 0 {
			gone |= mine
		}
	}
	return gone
}

func (x *sessions) decide(p *P, last caseWord, i int, w shownWord) (next caseWord, decided bool) {
	v := p.Call(func() uint64 {
		if x.setup.Break == "verdicts have no order" {
			p.Store(x.verdict, uint64(last.next(i, w)))
			x.judged(p, i, w)
			return uint64(last.next(i, w))
		}
		for _, last := range [...]caseWord{last, last.closed()} {
			if next := last.next(i, w); p.CAS(x.verdict, uint64(last), uint64(next)) {
				x.judged(p, i, w)
				return uint64(next)
			}
		}
		return 0
	})
	return caseWord(v), v != 0
}

// judged looks, in the step that decides, whether the verdict is right.
func (x *sessions) judged(p *P, i int, w shownWord) {
	p.Ghost(func(s *State) {
		if s.Mem[x.entered[i]] != uint64(w) {
			return // it is void: the wait is over
		}
		if !x.deadlocked(s, i) && s.Mem[x.excused[x.process(p)]]>>i&1 == 0 {
			p.Fail("session %d is a victim, and was in no deadlock", i+1)
		}
		s.Mem[x.doomed] |= 1 << i
	})
}

// convict gives the wait its verdict and ends it, unless it is over.
func (x *sessions) convict(p *P, i int, w shownWord) {
	if p.Await("convicts", x.unlocked(i), func(s *State) uint64 {
		if s.Mem[x.entered[i]] != uint64(w) && x.setup.Break != "a verdict is given to the next wait" || s.Mem[x.entered[i]] == 0 {
			return 0
		}
		s.Mem[x.mu[i]], s.Mem[x.convicted[i]] = 1, 1
		if s.Mem[x.doomed]>>i&1 == 0 {
			p.fault = "a verdict is given to another wait than it was on"
		}
		return 1
	}) == 0 {
		return
	}
	p.CAS(x.wait[i], uint64(w), uint64(w|shownVictim))
	p.Do("cancels", func(s *State) uint64 { s.Mem[x.stop[i]] |= byVerdict; s.Mem[x.mu[i]] = 0; return 0 })
}
