package explore

// What is true of sessions, whatever they show.

func (x *sessions) killed(s *State, k int) {
	x.excuse(s)
	for i, process := range x.setup.Processes {
		if process != k {
			continue
		}
		for _, at := range [][]Addr{x.seq, x.round, x.mu, x.entered, x.convicted, x.stop, x.waiting} {
			s.Mem[at[i]] = 0
		}
		s.Mem[x.doomed] &^= 1 << i
		for _, at := range x.holder {
			if s.Mem[at] == uint64(i+1) {
				s.Mem[at] = 0
			}
		}
	}
	s.Mem[x.excused[k]] = 0
}

func (x *sessions) cancel(s *State, i int) bool {
	if s.Mem[x.waiting[i]] == 0 || s.Mem[x.stop[i]] != 0 {
		return false
	}
	s.Mem[x.stop[i]] |= byContext
	return true
}

// deadlocked tells whether a session is in a deadlock in truth: it is in a
// circle of which nobody has given up, or is a victim.
func (x *sessions) deadlocked(s *State, i int) bool {
	at := i
	for range x.wait {
		if s.Mem[x.waiting[at]] == 0 || s.Mem[x.doomed]>>at&1 != 0 {
			return false
		}
		if at = int(s.Mem[x.holder[s.Mem[x.waiting[at]]-1]]) - 1; at < 0 || at == i {
			break
		}
	}
	return at == i
}

// excuse notes for all detectors who is deadlocked just before somebody gives
// up by himself, or is killed: a verdict that comes late then is in vain, and
// not wrong.
func (x *sessions) excuse(s *State) {
	for i := range x.wait {
		if x.deadlocked(s, i) {
			for _, at := range x.excused {
				s.Mem[at] |= 1 << i
			}
		}
	}
}
