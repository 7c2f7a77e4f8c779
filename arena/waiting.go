package arena

import (
	"time"

	"lockd/internal/crash"
	"lockd/internal/words"
	"lockd/robust"
)

// recordKind is what a record is.
type recordKind uint8

// recordWaiter tells the inspector that goroutines of a process wait for a
// slot. Nothing else depends on it: if there is no free record, there is none.
const recordWaiter recordKind = 1

// recordReaders is one member's readers of one rwmutex: see readers.go.
const recordReaders recordKind = 2

// recordVacant is such a cell in a slot's chain after its member is gone.
const recordVacant recordKind = 3

func recordOwner(m robust.Member, kind recordKind) uint64 {
	return words.OwnerOf(m, words.Kind(kind))
}

func ownerOfRecord(owner uint64) robust.Member {
	return words.MemberOf(owner)
}

// recordSearch bounds the search for a free record.
const recordSearch = 64

// recordQueue makes the queue's record say how many wait. Called with the
// queue's mutex held.
func (c *core) recordQueue(q *queue) {
	if q.count == 0 {
		if r := c.recordAt(q.record); r != nil && q.record != 0 {
			r.count.Store(0)
			r.slot.Store(0)
			r.owner.Store(0)
			crash.At("queue.forgotten")
		}
		q.record = 0
		return
	}
	if q.record == 0 && q.count == 1 {
		q.record = c.claimRecord(recordWaiter)
		if r := c.recordAt(q.record); r != nil {
			r.since.Store(uint64(time.Now().UnixNano()))
			r.slot.Store(q.key.index)
			crash.At("queue.recorded")
		}
	}
	if r := c.recordAt(q.record); r != nil {
		r.count.Store(uint32(q.count))
	}
}

func (c *core) claimRecord(kind recordKind) uint32 {
	records := c.segments() * segmentRecords
	owner := recordOwner(c.member, kind)
	for range recordSearch {
		i := c.head.recordHand.Add(1) % records
		if r := c.recordAt(i); r != nil && r.owner.Load() == 0 && r.owner.CompareAndSwap(0, owner) {
			crash.At("record.claimed")
			return i
		}
	}
	return 0
}

// claimAnyRecord is claimRecord that looks at all records.
func (c *core) claimAnyRecord(kind recordKind) uint32 {
	owner := recordOwner(c.member, kind)
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		if r := c.recordAt(i); r != nil && r.owner.Load() == 0 && r.owner.CompareAndSwap(0, owner) {
			crash.At("record.found")
			return i
		}
	}
	return 0
}
