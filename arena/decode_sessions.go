package arena

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"lockd/robust"
)

// SessionInfo is a session in a snapshot.
type SessionInfo struct {
	SessionID
	PID     uint32 // in its pid namespace
	Known   bool   // the member table has its member
	Process string // the member's label
	Label   string
	Verdict robust.Verdict // of its member
	Holds   []SessionHolding
	Wait    *SessionWait // nil if it waits for nothing

	Record uint32 // where it is: RangeInfo.Session names it
}

// SessionHolding is what a session says that it holds. What it holds of ranges
// the ranges show.
type SessionHolding struct {
	Lock  string
	Kind  Kind
	Slot  uint32
	Mode  Mode
	Count int // of tickets; else 1
}

// SessionWait is what a session says that it waits for.
type SessionWait struct {
	Lock   string
	Kind   Kind
	Slot   uint32
	Mode   Mode
	Count  int // of tickets; else 1
	Since  time.Time
	Victim bool // a detector has ended the wait, which its process has not noticed yet
}

// decodeSessions also keeps what WaitGraph needs.
func (p picture) decodeSessions(s *Snapshot) {
	s.seen = sightAll(p, s.imageSegments())
	for i := range s.seen.sessions {
		x := &s.seen.sessions[i]
		info := SessionInfo{SessionID: SessionID{x.member, x.number}, Label: s.seen.label(x), Record: x.record}
		if m := s.member(x.member); m != nil {
			info.Known, info.PID, info.Process, info.Verdict = true, m.PID, m.Label, m.Verdict
		}
		for _, w := range x.holdings {
			h := SessionHolding{Slot: w.slot(), Mode: w.mode(), Count: w.count()}
			h.Lock, h.Kind = p.lockIn(h.Slot)
			info.Holds = append(info.Holds, h)
		}
		if w := x.wait; w != 0 {
			info.Wait = &SessionWait{Slot: w.slot(), Mode: w.mode(), Count: w.count(), Victim: w.isVictim()}
			info.Wait.Lock, info.Wait.Kind = p.lockIn(w.slot())
			if x.since <= 1<<63-1 {
				info.Wait.Since = time.Unix(0, int64(x.since))
			}
		}
		s.Sessions = append(s.Sessions, info)
	}
	slices.SortStableFunc(s.Sessions, func(a, b SessionInfo) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.SessionID.Number, b.SessionID.Number))
	})
}

// imageSegments is how many whole segments the image has, of those in use.
func (s *Snapshot) imageSegments() uint32 {
	return min(s.Segments, uint32(max(0, (len(s.picture)-segmentsStart)/segmentSize)))
}

func (p picture) lockIn(slot uint32) (name string, kind Kind) {
	life := p.life(slot)
	if slot == 0 || !life.isLock() {
		return "", 0
	}
	name, _ = p.name(slot, life.length())
	return name, life.kind()
}

// checkSession looks at a record that only sessions have, and is false for
// others. A holding that its lock does not show is what a session has whose
// lock was released past it, or is taken or given back at this moment.
func (c *checker) checkSession(i uint32, r seenRecord) bool {
	kind := recordKind(r.kind)
	if kind != recordSession && kind != recordHoldings {
		return false
	}
	where := fmt.Sprintf("record %d", i)
	words := [2]uint64{uint64(r.owner.Generation)<<16 | uint64(r.owner.Index), uint64(kind)}
	if c.checkOwner(r.owner, "record-owner", where, words, "owned by") != nil || kind == recordSession {
		return true
	}
	at := recordStart(i)
	session := c.p.word32(at + atHoldingsSession)
	k, found := c.s.seen.byRecord[session]
	if !found || c.s.seen.sessions[k].member != r.owner {
		c.report(Damage, "holdings-lost", where, words, "shows what is held by the session in record %d, which is none of the same process", session)
		return true
	}
	for n := range uint64(holdingsWords) {
		w := sessionWord(c.p.word64(at + atHoldingsWords + 8*n))
		if w == 0 || c.s.seen.isHeld(r.owner, w) {
			continue
		}
		words[1] = uint64(w)
		c.report(Unsettled, "holding-stray", where, words, "session %d of member %d says that it holds slot %d (%v), which the lock does not",
			c.s.seen.sessions[k].number, r.owner.Index, w.slot(), w.mode())
	}
	return true
}
