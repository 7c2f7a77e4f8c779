package arena

import "lockd/robust"

// Suspicions: what a sighting says of a session that may be deadlocked, and
// what they rest on.

// suspect returns the cycle that session i lies on, if it remains when all who
// can finish have, and everybody whom that rests on.
func (s *sighting) suspect(i int) (ring, rest []int) {
	stuck := s.stuck()
	if !s.isTied(i) {
		return nil, nil
	}
	return s.graph.cycle(i, stuck), s.graph.closure(i, stuck)
}

// judge tells which of the members that a suspicion rests on are gone.
func (d *detector) judge(seen *sighting, rest []int) (gone map[robust.Member]bool, unknown bool) {
	judged := map[robust.Member]bool{d.core.member: true}
	for _, i := range rest {
		m := seen.members[i]
		if judged[m] {
			continue
		}
		judged[m] = true
		switch _, verdict := d.core.judge(m); verdict {
		case robust.Gone:
			if gone == nil {
				gone = make(map[robust.Member]bool)
			}
			gone[m] = true
		case robust.Unknown:
			unknown = true
		}
	}
	return gone, unknown
}

// release takes away what members that are gone wait for.
func (s *sighting) release(gone map[robust.Member]bool) {
	if len(gone) == 0 {
		return
	}
	for i, m := range s.members {
		if gone[m] {
			s.relieve(i)
		}
	}
}

// stuck tells who remains when all who can finish have.
func (s *sighting) stuck() []bool {
	if s.remain == nil {
		s.remain = s.graph.stuck()
	}
	return s.remain
}

// isTied tells whether an actor that remains lies on a cycle.
func (s *sighting) isTied(i int) bool {
	if s.tangle == nil {
		s.tangle = s.graph.tangle(s.stuck())
	}
	return s.tangle.has(i)
}

// relieve has an actor wait no more, and those finish who then can.
func (s *sighting) relieve(i int) {
	s.graph.actors[i].waits = false
	s.tangle = nil
	if s.remain != nil && s.remain[i] {
		s.graph.finish(i, s.remain)
	}
}

// confirms tells whether a second look shows all that a suspicion rests on.
func (s *sighting) confirms(first *sighting, i int, rest []int) bool {
	for _, k := range rest {
		if k >= len(first.sessions) {
			continue // a request that no session makes is found again, or is not in the way
		}
		a := &first.sessions[k]
		j, found := s.byRecord[a.record]
		if !found || !a.sameAs(&s.sessions[j]) {
			return false
		}
	}
	j, found := s.byRecord[first.sessions[i].record]
	if !found {
		return false
	}
	ring, _ := s.suspect(j)
	return ring != nil
}

// sameAs tells whether a session still waits and holds by the same words.
func (x *seenSession) sameAs(y *seenSession) bool {
	if x.member != y.member || x.wait != y.wait || len(x.holdings) != len(y.holdings) {
		return false
	}
	for i := range x.holdings {
		if x.holdings[i] != y.holdings[i] {
			return false
		}
	}
	return true
}
