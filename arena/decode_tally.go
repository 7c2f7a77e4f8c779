package arena

import (
	"fmt"
	"math"
	"time"
	"unsafe"

	"lockd/robust"
)

// Tally is what was counted of a mutex, or of those who held an rwmutex
// exclusively or upgradably, by the processes that have Options.TrackHold,
// since the lock's name came into the table. A process that was killed may
// have left its last holding out.
type Tally struct {
	// HeldSince is when who holds the lock took it, zero if nobody does or
	// who does is not known to track.
	HeldSince    time.Time
	Acquisitions uint64
	Contended    uint64        // those of them that had to wait
	Held         time.Duration // by all, the holding that lasts not included
	Longest      time.Duration // of one holding
	Waited       time.Duration // by all who got the lock
}

const (
	atSlotLast          = uint64(unsafe.Offsetof(slot{}.last))
	atTallyHolder       = uint64(unsafe.Offsetof(tallyRecord{}.holder))
	atTallySince        = uint64(unsafe.Offsetof(tallyRecord{}.since))
	atTallyAcquisitions = uint64(unsafe.Offsetof(tallyRecord{}.acquisitions))
	atTallyContended    = uint64(unsafe.Offsetof(tallyRecord{}.contended))
	atTallyHeld         = uint64(unsafe.Offsetof(tallyRecord{}.held))
	atTallyLongest      = uint64(unsafe.Offsetof(tallyRecord{}.longest))
	atTallyWaited       = uint64(unsafe.Offsetof(tallyRecord{}.waited))
)

// momentSlack is by how much a moment may be after the present one: processes
// tell the time of day from clocks that run apart a little.
const momentSlack = time.Second

// tally returns what was counted of a lock, nil if nothing was. Since when it
// is held is believed of the owner that the word names, if it was attached
// then.
func (p picture) tally(s *Snapshot, l *LockInfo, now time.Time) *Tally {
	i := p.word32(slotStart(l.Slot) + atSlotLast)
	if l.Kind.latched() || !p.isTally(s, i, l.Slot) {
		return nil
	}
	at := recordStart(i)
	t := &Tally{
		Acquisitions: p.word64(at + atTallyAcquisitions), Contended: p.word64(at + atTallyContended),
		Held: p.duration(at + atTallyHeld), Longest: p.duration(at + atTallyLongest), Waited: p.duration(at + atTallyWaited),
	}
	since := p.time(at + atTallySince)
	if l.Owner == nil || !l.Owner.Known || since.IsZero() || p.word32(at+atTallyHolder) != tallyHolder(l.Owner.Member) {
		return t
	}
	if m := s.member(l.Owner.Member); !since.Before(m.Joined.Add(-momentSlack)) && !since.After(now.Add(momentSlack)) {
		t.HeldSince = since
	}
	return t
}

func (p picture) isTally(s *Snapshot, i, slot uint32) bool {
	return i != 0 && i < s.Segments*segmentRecords && p.word64(recordStart(i)) == uint64(recordTally) &&
		p.word32(recordStart(i)+uint64(unsafe.Offsetof(tallyRecord{}.slot))) == slot
}

func (p picture) duration(at uint64) time.Duration {
	return time.Duration(min(p.word64(at), math.MaxInt64))
}

// checkTally looks at a record that counts, and is false for others.
func (c *checker) checkTally(i uint32, r seenRecord) bool {
	if recordKind(r.kind) != recordTally {
		return false
	}
	where := fmt.Sprintf("record %d", i)
	words := [2]uint64{uint64(r.slot), uint64(r.owner.Index)}
	if r.owner != (robust.Member{}) || r.slot == 0 || r.slot >= c.s.slots() || c.p.word32(slotStart(r.slot)+atSlotLast) != i {
		c.report(Damage, "tally-stray", where, words, "counts for slot %d, which does not know it", r.slot)
	}
	return true
}
