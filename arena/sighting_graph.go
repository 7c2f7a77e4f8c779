package arena

import "lockd/robust"

// What of a sighting is believed.

func (s *sighting) makeGraph() {
	s.graph.locks = make(map[uint32]*graphLock)
	s.graph.actors = make([]graphActor, len(s.sessions))
	for i := range s.sessions {
		s.members = append(s.members, s.sessions[i].member)
	}
	for i := range s.sessions {
		if w := s.sessions[i].wait; w != 0 && !w.isVictim() {
			s.lock(w.slot())
		}
	}
	for i := range s.sessions {
		x := &s.sessions[i]
		for _, w := range x.holdings {
			// Others than those waited for keep nobody waiting.
			if l := s.graph.locks[w.slot()]; l != nil && s.isHeld(x.member, w) {
				holder := i
				if variantProcessCycles {
					holder = s.someWaiter(x.member, i)
				}
				l.holders = append(l.holders, graphHolder{holder, w.mode(), w.count()})
			}
		}
	}
	for slot, l := range s.graph.locks {
		s.doubtHolders(slot, l)
	}
	for i := range s.sessions {
		x := &s.sessions[i]
		if w := x.wait; w != 0 && !w.isVictim() && s.isWaiting(i) {
			s.graph.actors[i] = graphActor{waits: true, slot: w.slot(), mode: w.mode(), count: w.count()}
		}
	}
	for slot, l := range s.graph.locks {
		switch l.kind {
		case KindSemaphore:
			s.queueTickets(slot, l)
		case KindRanges:
			s.lay(slot, l)
		}
	}
	s.graph.index()
}

// someWaiter is the first session of a member that waits: what a detector knows
// that tells processes apart, but not their sessions.
func (s *sighting) someWaiter(m robust.Member, otherwise int) int {
	for i := range s.sessions {
		if s.sessions[i].member == m && s.sessions[i].wait != 0 {
			return i
		}
	}
	return otherwise
}

// lock begins the graph's view of a slot.
func (s *sighting) lock(slot uint32) {
	p := s.place(slot)
	if s.graph.locks[slot] != nil || p.kind() == 0 {
		return
	}
	l := &graphLock{kind: p.kind()}
	switch l.kind {
	case KindRWMutex:
		l.shut = p.state != 0 && robust.Word(p.state).SameHolding(p.word)
	case KindSemaphore:
		l.capacity = ticketState(p.state).capacity()
	}
	s.graph.locks[slot] = l
}

// isHeld tells whether the lock says, too, that the member holds it so.
func (s *sighting) isHeld(m robust.Member, w sessionWord) bool {
	p := s.place(w.slot())
	switch mode := w.mode(); p.kind() {
	case KindMutex:
		return mode == Exclusive && p.word.Owner() == m
	case KindRWMutex:
		if mode == Shared {
			cell := s.cells[w.slot()][m]
			return cell.isOpen() && cell.held() > 0
		}
		return (mode == Exclusive || mode == Upgradable) && p.word.Owner() == m
	case KindSemaphore:
		return mode == OfTickets && ticketState(p.state).exists()
	}
	return false
}

// doubtHolders takes away what cannot all be true: sessions that leave their
// locks to others, or unlock past their session, make that.
func (s *sighting) doubtHolders(slot uint32, l *graphLock) {
	words := 0
	claimed := make(map[robust.Member]int)
	for _, h := range l.holders {
		if h.mode == Exclusive || h.mode == Upgradable {
			words++
			continue
		}
		claimed[s.sessions[h.actor].member] += h.count
	}
	believed := l.holders[:0]
	for _, h := range l.holders {
		m := s.sessions[h.actor].member
		switch {
		case words > 1 && h.mode != Shared && h.mode != OfTickets:
		case h.mode == Shared && claimed[m] > int(s.cells[slot][m].held()):
		case h.mode == OfTickets && claimed[m] > s.ticketsOf(slot)[m]:
		default:
			believed = append(believed, h)
		}
	}
	l.holders = believed
}

// isWaiting tells whether the session still waits, as far as the lock knows:
// it may have been served and not have noticed.
func (s *sighting) isWaiting(i int) bool {
	x := &s.sessions[i]
	slot := x.wait.slot()
	p := s.place(slot)
	l := s.graph.locks[slot]
	if l == nil || p.life.generation() != x.generation {
		return false
	}
	switch mode := x.wait.mode(); l.kind {
	case KindMutex:
		return mode == Exclusive
	case KindRWMutex:
		switch mode {
		case Upgradable:
			return true
		case Exclusive:
			return l.shut && holdsAs(l, i, Upgradable)
		case Shared:
			cell := s.cells[slot][x.member]
			return l.shut && cell.isOpen() && cell.waiting() > 0 && evidenceOf(cell) == x.evidence
		}
	case KindSemaphore:
		return mode == OfTickets && s.requestOf(i) != nil
	case KindRanges:
		return s.wantsRange(i)
	}
	return false
}

// noEvidence is for a reader that has not been seen waiting yet.
const noEvidence = 0

func holdsAs(l *graphLock, actor int, mode Mode) bool {
	for _, h := range l.holders {
		if h.actor == actor && h.mode == mode {
			return true
		}
	}
	return false
}

// requestOf returns the request for tickets that the session waits for. One
// that is refused because the semaphore ends, or asks for more than there are,
// waits for no holder.
func (s *sighting) requestOf(i int) *seenRequest {
	x := &s.sessions[i]
	st := ticketState(s.place(x.wait.slot()).state)
	r := s.asking[x.record]
	if r == nil || r.member != x.member || r.slot != x.wait.slot() || r.count != x.wait.count() ||
		st.has(ticketsEnding) || r.count > st.capacity() || r.mode > wantPatiently {
		return nil
	}
	return r
}

// queueTickets puts the requests in order; those that no session makes become
// actors too.
func (s *sighting) queueTickets(slot uint32, l *graphLock) {
	for _, r := range byArrival(s.requests[slot]) {
		if r.mode > wantPatiently || r.count > l.capacity {
			continue // holds up nobody
		}
		i, there := s.requester(r.session, r.member, slot, r.count)
		if !there {
			continue
		}
		l.queue = append(l.queue, i)
	}
}

// requester returns the actor that makes a request: the session, or one of its
// own for a request of no session. It is not there if the session does not wait
// any more: a victim, or one that was served, is about to take its request back.
func (s *sighting) requester(session uint32, m robust.Member, slot uint32, count int) (i int, there bool) {
	i, found := s.byRecord[session]
	if found && s.sessions[i].member == m {
		return i, s.graph.actors[i].waits && s.graph.actors[i].slot == slot
	}
	s.graph.actors = append(s.graph.actors, graphActor{waits: true, slot: slot, mode: OfTickets, count: count})
	s.members = append(s.members, m)
	return len(s.graph.actors) - 1, true
}
