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
			actor: -1, holder: partyOf(recordOwner(p.member, 0), p.holder),
			first: p.first, last: p.last, arrival: p.arrival, wanted: p.kind.isRangeWait(),
			shared: p.kind.isShared(),
		}
		if piece.wanted {
			i, there := s.requester(p.session, p.member, slot, 1)
			if !there {
				continue
			}
			piece.actor = i
		} else if i, found := s.byRecord[p.session]; found && s.sessions[i].member == p.member {
			piece.actor = i
		}
		l.pieces = append(l.pieces, piece)
	}
}
