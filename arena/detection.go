package arena

import (
	"encoding/binary"
	"strings"
	"time"

	"lockd/internal/crash"
)

// deadlock tells a victim of its ring.
func (s *sighting) deadlock(c *core, i int, ring []int) *DeadlockError {
	stuck := s.stuck()
	e := &DeadlockError{}
	for k, at := range ring {
		next := ring[(k+1)%len(ring)]
		a := &s.graph.actors[at]
		edge := DeadlockEdge{
			Kind: s.graph.locks[a.slot].kind, Mode: a.mode, Count: a.count,
			HeldAs: s.graph.heldAs(at, next, stuck),
		}
		if slot := c.slotAt(a.slot); slot != nil {
			edge.Lock = c.slotName(slot)
		}
		if at < len(s.sessions) {
			x := &s.sessions[at]
			edge.Session, edge.Label, edge.Since = SessionID{x.member, x.number}, s.label(x), time.Unix(0, int64(x.since))
			if p, ok := c.peerOf(x.member); ok {
				edge.PID = int(p.identity.PID)
			}
		}
		if next < len(s.sessions) && s.sessions[next].member == c.member && edge.HeldAs != 0 {
			edge.TakenAt = c.sessions.takenAt(s.sessions[next].record, a.slot)
		}
		e.Edges = append(e.Edges, edge)
	}
	return e
}

// label reads what a session is called.
func (s *sighting) label(x *seenSession) string {
	raw := make([]byte, 0, sessionLabel)
	for k := uint64(0); k < sessionLabel; k += 8 {
		raw = binary.LittleEndian.AppendUint64(raw, s.from.word64(recordStart(x.record)+atSessionLabel+k))
	}
	text, _, _ := strings.Cut(string(raw), "\x00")
	return text
}

// noteTaken notes where in the source a session took what is in a slot, for
// the detector, which runs beside it.
func (b *sessionBook) noteTaken(s *session, slot uint32, where string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	places := b.traced[s.index]
	if where == "" {
		delete(places, slot)
		return
	}
	if places == nil {
		if b.traced == nil {
			b.traced = make(map[uint32]map[uint32]string)
		}
		places = make(map[uint32]string)
		b.traced[s.index] = places
	}
	places[slot] = where
}

func (b *sessionBook) takenAt(record, slot uint32) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.traced[record][slot]
}

// forget ends what is noted of a session.
func (b *sessionBook) forget(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.traced, s.index)
}

// giveBackSessions frees, when the process leaves, what shows its sessions.
func (c *core) giveBackSessions() {
	for _, kind := range []recordKind{recordHoldings, recordSession} {
		for i := uint32(1); i < c.segments()*segmentRecords; i++ {
			if r := c.recordAt(i); r != nil && r.owner.CompareAndSwap(recordOwner(c.member, kind), 0) {
				crash.At("give.session")
			}
		}
	}
}
