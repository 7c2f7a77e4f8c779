package arena

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"lockd/robust"
)

// RangeInfo is one piece of a Ranges that is held, or a request for one that
// waits.
type RangeInfo struct {
	OwnerInfo
	First, Last uint64 // both inside; Last 2^63 − 1 is the end
	Mode        Mode
	Waiting     bool
	// Since is when the request arrived, zero for what was held at once. Waiting
	// ones are served in its order.
	Since   time.Time
	Holder  uint32 // the holder's number in its process
	Session uint32 // the record of the holder's session, 0 if it has none
	Record  uint32

	arrival uint64
}

const (
	atRangeSlot    = uint64(unsafe.Offsetof(rangeRecord{}.slot))
	atRangeHolder  = uint64(unsafe.Offsetof(rangeRecord{}.holder))
	atRangeFirst   = uint64(unsafe.Offsetof(rangeRecord{}.first))
	atRangeLast    = uint64(unsafe.Offsetof(rangeRecord{}.last))
	atRangeLeft    = uint64(unsafe.Offsetof(rangeRecord{}.left))
	atRangeRight   = uint64(unsafe.Offsetof(rangeRecord{}.right))
	atRangeArrival = uint64(unsafe.Offsetof(rangeRecord{}.arrival))
	atRangeSession = uint64(unsafe.Offsetof(rangeRecord{}.session))
)

// addRange goes by a record, which is the truth, and not by the tree, which may
// be half-made.
func (p picture) addRange(s *Snapshot, l *LockInfo, record uint32, seen seenRecord) {
	at, kind := recordStart(record), recordKind(seen.kind)
	r := RangeInfo{
		OwnerInfo: s.holderInfo(seen.owner), Mode: Exclusive, Waiting: kind.isRangeWait(), Record: record,
		First: p.word64(at + atRangeFirst), Last: p.word64(at + atRangeLast), Since: p.time(at + atRangeArrival),
		Holder: p.word32(at + atRangeHolder), Session: p.word32(at + atRangeSession), arrival: p.word64(at + atRangeArrival),
	}
	if kind.isShared() {
		r.Mode = Shared
	}
	l.Ranges = append(l.Ranges, r)
	if r.Waiting {
		l.Waiting = append(l.Waiting, WaiterInfo{Member: r.Member, Count: 1, Since: r.Since, Known: r.Known, PID: r.PID, Label: r.Label, Verdict: r.Verdict})
		if r.Known && r.Verdict != robust.Gone {
			l.Waiters++
		}
	}
}

func orderRanges(all []RangeInfo) {
	slices.SortFunc(all, func(a, b RangeInfo) int {
		switch {
		case a.Waiting != b.Waiting:
			if a.Waiting {
				return 1
			}
			return -1
		case a.Waiting:
			return cmp.Or(cmp.Compare(a.arrival, b.arrival), cmp.Compare(a.Record, b.Record))
		}
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Record, b.Record))
	})
}

func (s *Snapshot) holderInfo(m robust.Member) OwnerInfo {
	o := OwnerInfo{Member: m}
	if e := s.member(m); e != nil {
		o.PID, o.Label, o.Verdict, o.Known = e.PID, e.Label, e.Verdict, true
	}
	return o
}

// checkRange looks at a record that only ranges have, and is false for others.
func (c *checker) checkRange(i uint32, r seenRecord) bool {
	kind := recordKind(r.kind)
	if kind != rangeClaimed && !kind.inTree() {
		return false
	}
	where := fmt.Sprintf("record %d", i)
	words := [2]uint64{uint64(r.owner.Generation)<<16 | uint64(r.owner.Index), uint64(r.slot)<<8 | uint64(r.kind)}
	if kind != rangeGone {
		if left := c.checkOwner(r.owner, "record-owner", where, words, "owned by"); left != nil {
			left.ranges++
			return true
		}
	}
	if kind == rangeClaimed {
		return true
	}
	if life := c.life(r.slot); r.slot == 0 || r.slot >= c.s.slots() || !life.isLock() || life.kind() != KindRanges {
		c.report(Damage, "record-slot", where, words, "belongs to slot %d, which has no ranges", r.slot)
		return true
	}
	first, last := c.p.word64(recordStart(i)+atRangeFirst), c.p.word64(recordStart(i)+atRangeLast)
	if kind != rangeGone && (first > last || last > maxOffset) {
		c.report(c.inLatch(r.slot), "range-ends", where, [2]uint64{first, last}, "is of the range %d to %d, which there cannot be", first, last)
	}
	return true
}

// inLatch is the severity of what the holder of a slot's latch may be changing,
// or the next one mends.
func (c *checker) inLatch(slot uint32) Severity {
	latch := c.latched[slot].word
	if !latch.IsFree() || latch.Has(robust.Abandoned) {
		return Unsettled
	}
	return Damage
}

// checkRanges looks for records that are in no tree.
func (c *checker) checkRanges() {
	c.p.records(c.s, func(i uint32, r seenRecord) {
		if tree := c.trees[r.slot]; tree != nil && recordKind(r.kind).inTree() && !tree[i] {
			c.report(c.inLatch(r.slot), "range-lost", fmt.Sprintf("record %d", i), [2]uint64{uint64(r.slot), uint64(r.kind)},
				"is not in the tree of slot %d, where it belongs", r.slot)
		}
	})
}

// treeOf collects what a tree leads to, each record once.
func (c *checker) treeOf(slot, root uint32) map[uint32]bool {
	tree := make(map[uint32]bool)
	todo := []uint32{root}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i == 0 {
			continue
		}
		at := recordStart(i)
		if i >= c.s.Segments*segmentRecords || tree[i] || !recordKind(c.p.word64(at)).inTree() || c.p.word32(at+atRangeSlot) != slot {
			c.report(c.inLatch(slot), "range-tree", slotPlace(slot), [2]uint64{uint64(i), c.p.word64(at)}, "its tree leads to record %d, which is none of it, or was passed before", i)
			continue
		}
		tree[i] = true
		todo = append(todo, c.p.word32(at+atRangeLeft), c.p.word32(at+atRangeRight))
	}
	return tree
}

// checkExclusion looks for pieces of two living holders that exclude each
// other. What is held comes in order of its beginning.
func (c *checker) checkExclusion(l *LockInfo) {
	var far *RangeInfo // of those before, the exclusive one that goes on longest
	var any *RangeInfo // of all
	for i := range l.Ranges {
		r := &l.Ranges[i]
		if r.Waiting || r.Verdict == robust.Gone || r.First > r.Last {
			continue
		}
		for _, other := range []*RangeInfo{far, any} {
			if other == nil || other.Last < r.First || other.Mode == Shared && r.Mode == Shared ||
				other.Member == r.Member && other.Holder == r.Holder {
				continue
			}
			c.report(c.inLatch(l.Slot), "range-shared", slotPlace(l.Slot), [2]uint64{uint64(r.Record)<<32 | uint64(other.Record), r.First},
				"pid %d and pid %d both hold %d of %q, not both of them shared", other.PID, r.PID, r.First, l.Name)
			break
		}
		if r.Mode == Exclusive && (far == nil || r.Last > far.Last) {
			far = r
		}
		if any == nil || r.Last > any.Last {
			any = r
		}
	}
}
