package arena

import (
	"bytes"
	"cmp"
	"slices"
	"time"
	"unsafe"

	"lockd/robust"
)

// Where a slot's fields are.
const (
	atSlotLife      = uint64(unsafe.Offsetof(slot{}.life))
	atSlotHash      = uint64(unsafe.Offsetof(slot{}.hash))
	atSlotNext      = uint64(unsafe.Offsetof(slot{}.next))
	atSlotExtension = uint64(unsafe.Offsetof(slot{}.extension))
	atSlotInserted  = uint64(unsafe.Offsetof(slot{}.inserted))
	atSlotRecords   = uint64(unsafe.Offsetof(slot{}.records))
	atSlotState     = uint64(unsafe.Offsetof(slot{}.state))
	atSlotDeadPID   = uint64(unsafe.Offsetof(slot{}.deadPID))
	atSlotDeadCause = uint64(unsafe.Offsetof(slot{}.deadCause))
	atSlotDeaths    = uint64(unsafe.Offsetof(slot{}.abandonments))
	atSlotName      = uint64(unsafe.Offsetof(slot{}.name))
	atSlotFence     = uint64(unsafe.Offsetof(slot{}.fence))
	atSlotDeadWhen  = uint64(unsafe.Offsetof(slot{}.deadWhen))
	atSlotDeadLabel = uint64(unsafe.Offsetof(slot{}.deadLabel))
)

// entryStart returns where entry i of a table is that has so many entries a segment.
func entryStart(i, aSegment, inside, size uint32) uint64 {
	return segmentsStart + uint64(i/aSegment)*segmentSize + uint64(inside) + uint64(i%aSegment)*uint64(size)
}

func slotStart(i uint32) uint64   { return entryStart(i, segmentSlots, 0, slotSize) }
func recordStart(i uint32) uint64 { return entryStart(i, segmentRecords, recordsInside, recordSize) }
func bucketStart(i uint32) uint64 { return entryStart(i, segmentBuckets, bucketsInside, bucketSize) }

func (p picture) life(slot uint32) slotLife { return slotLife(p.word64(slotStart(slot) + atSlotLife)) }

// slots is how many slots the image can have that were ever handed out.
func (s *Snapshot) slots() uint32 { return min(s.Bump, s.Segments*segmentSlots) }

func (p picture) decodeLocks(s *Snapshot) {
	count := 0
	for i := uint32(1); i < s.slots() && p.has(slotStart(i), slotSize); i++ {
		if p.life(i).isLock() {
			count++
		}
	}
	s.Locks = make([]LockInfo, 0, count)
	now := time.Now()
	for i := uint32(1); i < s.slots() && p.has(slotStart(i), slotSize); i++ {
		life := p.life(i)
		if !life.isLock() {
			continue
		}
		at := slotStart(i)
		l := LockInfo{
			Kind: life.kind(), Slot: i, Generation: life.generation(),
			Word:         robust.Word(p.word64(at)),
			Abandonments: p.word32(at + atSlotDeaths),
			Fence:        p.word64(at + atSlotFence),
			Inserted:     time.Duration(p.word32(at+atSlotInserted)) * time.Second,
		}
		l.Name, _ = p.name(i, life.length())
		l.Owner = s.ownerOf(l.Word)
		if l.Kind == KindRWMutex {
			l.Gate = robust.Word(p.word64(at + atSlotState))
		}
		if l.Abandonments > 0 {
			l.LastDeath = &Death{
				PID:   int(p.word32(at + atSlotDeadPID)),
				Label: p.text(at+atSlotDeadLabel, deathLabel),
				When:  p.time(at + atSlotDeadWhen),
				Cause: Cause(p.word32(at + atSlotDeadCause)),
				Count: int(l.Abandonments),
			}
		}
		l.Tally = p.tally(s, &l, now)
		s.Locks = append(s.Locks, l)
	}
}

// name returns the name in a slot, cut and not whole if its extension is not one.
func (p picture) name(slot uint32, length int) (name string, whole bool) {
	at := slotStart(slot) + atSlotName
	inside := min(length, inlineName)
	if !p.has(at, uint64(inside)) {
		return "", false
	}
	raw := bytes.Clone(p[at : at+uint64(inside)])
	if rest := uint64(length - inside); rest > 0 {
		x := p.word32(slotStart(slot) + atSlotExtension)
		at := slotStart(x) + uint64(unsafe.Offsetof(extension{}.name))
		if x == 0 || !p.life(x).isExtension() || p.life(x).extends() != slot || !p.has(at, rest) {
			return string(raw), false
		}
		raw = append(raw, p[at:at+rest]...)
	}
	return string(raw), true
}

// seenRecord is one entry that a member owns.
type seenRecord struct {
	owner      robust.Member
	kind       uint8
	slot       uint32
	count      uint32
	since      time.Time
	next       uint32
	generation uint32 // of the slot, if it belongs to a cell
	counts     counts
}

const (
	seenWaiter  = 1
	seenReaders = 2
	seenVacant  = 3
)

// records calls yield with each record that somebody owns.
func (p picture) records(s *Snapshot, yield func(index uint32, r seenRecord)) {
	for i := uint32(1); i < s.Segments*segmentRecords && p.has(recordStart(i), recordSize); i++ {
		at := recordStart(i)
		owner := p.word64(at)
		if owner == 0 {
			continue
		}
		yield(i, p.record(i))
	}
}

func (p picture) record(i uint32) seenRecord {
	at := recordStart(i)
	owner := p.word64(at)
	return seenRecord{
		owner:      robust.Member{Index: uint16(owner >> 32), Generation: uint16(owner >> 48)},
		kind:       uint8(owner),
		slot:       p.word32(at + uint64(unsafe.Offsetof(record{}.slot))),
		count:      p.word32(at + uint64(unsafe.Offsetof(record{}.count))),
		since:      p.time(at + uint64(unsafe.Offsetof(record{}.since))),
		next:       p.word32(at + uint64(unsafe.Offsetof(record{}.next))),
		generation: p.word32(at + uint64(unsafe.Offsetof(record{}.generation))),
		counts:     counts(p.word64(at + uint64(unsafe.Offsetof(record{}.counts)))),
	}
}

// lockIn returns the lock in a slot, or nil; the locks are in the order of
// their slots.
func (s *Snapshot) lockIn(slot uint32) *LockInfo {
	i, found := slices.BinarySearchFunc(s.Locks, slot, func(l LockInfo, slot uint32) int { return cmp.Compare(l.Slot, slot) })
	if !found {
		return nil
	}
	return &s.Locks[i]
}

func (p picture) decodeWaiters(s *Snapshot) {
	p.records(s, func(_ uint32, r seenRecord) {
		l := s.lockIn(r.slot)
		if l == nil {
			return
		}
		switch r.kind {
		case seenWaiter:
			s.addWaiter(l, r, r.count)
		case seenReaders:
			if l.Kind == KindRWMutex && l.Generation == r.generation && r.counts.isOpen() {
				s.addWaiter(l, r, r.counts.waiting())
				s.addReader(l, r)
			}
		}
	})
}

func (s *Snapshot) addWaiter(l *LockInfo, r seenRecord, count uint32) {
	if count == 0 {
		return
	}
	w := WaiterInfo{Member: r.owner, Count: count, Reading: r.kind == seenReaders, Since: r.since}
	if m := s.member(r.owner); m != nil {
		w.Known, w.PID, w.Label, w.Verdict = true, m.PID, m.Label, m.Verdict
	}
	if w.Known && w.Verdict != robust.Gone {
		l.Waiters += int(w.Count)
	}
	l.Waiting = append(l.Waiting, w)
}

func (s *Snapshot) addReader(l *LockInfo, r seenRecord) {
	count := r.counts.held()
	if count == 0 {
		return
	}
	i := ReaderInfo{Member: r.owner, Count: count}
	if m := s.member(r.owner); m != nil {
		i.Known, i.PID, i.Label, i.Verdict = true, m.PID, m.Label, m.Verdict
	}
	if i.Known && i.Verdict != robust.Gone {
		l.Readers += int(i.Count)
	}
	l.Reading = append(l.Reading, i)
}
