package arena

import "lockd/robust"

// Ranges in a sighting. Each piece that is held or waited for is a record,
// which names its session.

func (s *sighting) seePiece(at, owner uint64) {
	slot := s.from.word32(at + atRecordSlot)
	p := seenPiece{
		session: s.from.word32(at + atRangeSession), holder: s.from.word32(at + atRangeHolder),
		member: ownerOfRecord(owner), kind: kindOfRecord(owner),
		first: s.from.word64(at + atRangeFirst), last: s.from.word64(at + atRangeLast), arrival: s.from.word64(at + atRangeArrival),
	}
	if s.from.word64(at) != owner || p.first > p.last {
		return // changed, or not whole
	}
	s.pieces[slot] = append(s.pieces[slot], p)
	if p.kind.isRangeWait() {
		s.wanting[wantedRange{p.session, slot, p.member}] = true
	}
}

func (s *sighting) wantsRange(i int) bool {
	x := &s.sessions[i]
	return s.wanting[wantedRange{x.record, x.wait.slot(), x.member}]
}

// wantedRange says that a session waits for a range of a slot.
type wantedRange struct {
	session, slot uint32
	member        robust.Member
}

// lay puts the pieces of a slot into the graph. What no session waits for is
// an actor too, what no session holds is not.
func (s *sighting) lay(slot uint32, l *graphLock) {
	for _, p := range s.pieces[slot] {
		piece := graphPiece{
			actor: -1, holder: uint64(p.member.Generation)<<48 | uint64(p.member.Index)<<32 | uint64(p.holder),
			first: p.first, last: p.last, arrival: p.arrival, wanted: p.kind.isRangeWait(),
			shared: p.kind.isShared(),
		}
		i, found := s.byRecord[p.session]
		switch {
		case found && s.sessions[i].member == p.member && (!piece.wanted || s.graph.actors[i].waits && s.graph.actors[i].slot == slot):
			piece.actor = i
		case piece.wanted:
			piece.actor = len(s.graph.actors)
			s.graph.actors = append(s.graph.actors, graphActor{waits: true, slot: slot, count: 1})
		}
		l.pieces = append(l.pieces, piece)
	}
}
