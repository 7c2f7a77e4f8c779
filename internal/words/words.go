// Package words holds the pure functions over the words of an arena besides
// the owner word, which is package robust's: what a slot is used for, what a
// member entry is, how many read, who has a ticket, whose a record is. They
// compute, and touch no memory; package arena applies them, and the explorer
// tries them in every order.
package words

import "lockd/robust"

// Life says what a slot is used for.
//
//	live    slot generation 63..32 | name length 31..24 | kind 23..16 | Live
//	claimed member generation 63..48 | member 47..32 | Claimed
//	empty   0
type Life uint64

// The phases of a slot.
const (
	Empty   = 0
	Claimed = 1
	Live    = 2
)

// Extension is the kind of a slot that holds the end of a long name.
const Extension = 15

// ClaimedLife is that of a slot that a member has claimed.
func ClaimedLife(m robust.Member) Life {
	return Life(m.Generation)<<48 | Life(m.Index)<<32 | Claimed
}

// LiveLife is that of a slot with a name of this length.
func LiveLife(generation uint32, length int, kind uint8) Life {
	return Life(generation)<<32 | Life(length)<<24 | Life(kind)<<16 | Live
}

// Phase is Empty, Claimed or Live.
func (l Life) Phase() uint8 { return uint8(l) }

// IsLock tells whether the slot is a lock that has a name.
func (l Life) IsLock() bool { return l.Phase() == Live && l.Kind() != Extension }

// Generation is that of a live slot.
func (l Life) Generation() uint32 { return uint32(l >> 32) }

// Kind is what kind of lock a live slot is.
func (l Life) Kind() uint8 { return uint8(l >> 16) }

// Claimer is the member that has claimed a claimed slot.
func (l Life) Claimer() robust.Member {
	return robust.Member{Index: uint16(l >> 32), Generation: uint16(l >> 48)}
}

// Astray tells a slot whose word is of another generation than its life. Its
// word is ahead if its evictor has made its handles stale but has not emptied
// it yet; it is behind only if somebody released what he did not hold.
func Astray(w robust.Word, l Life) bool {
	return w.IsFree() && w.Generation() != l.Generation()
}

// Member says what a member entry is: generation 63..48 | flags 47..40 |
// phase 39..32 | pid 31..0.
type Member uint64

// The phases of a member entry.
const (
	FreeEntry = 0
	Joining   = 1
	Attached  = 2
)

// NewMember is the state of an entry.
func NewMember(generation uint16, phase, flags uint8, pid uint32) Member {
	return Member(generation)<<48 | Member(flags)<<40 | Member(phase)<<32 | Member(pid)
}

// Generation is the entry's.
func (s Member) Generation() uint16 { return uint16(s >> 48) }

// Flags are the member's.
func (s Member) Flags() uint8 { return uint8(s >> 40) }

// Phase is FreeEntry, Joining or Attached.
func (s Member) Phase() uint8 { return uint8(s >> 32) }

// PID is the member's.
func (s Member) PID() uint32 { return uint32(s) }

// Next is the generation of who joins a free entry next; never 0.
func (s Member) Next() uint16 { return max(s.Generation()+1, 1) }
