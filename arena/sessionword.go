package arena

import "fmt"

// Mode is how a lock or a range is held, or wanted.
type Mode uint8

// The modes; the numbers are the format's.
const (
	Exclusive  Mode = 1 // by one holder
	Shared     Mode = 2 // of an rwmutex, a range: beside others who hold it shared
	Upgradable Mode = 3 // of an rwmutex
	OfTickets  Mode = 4 // tickets of a semaphore
)

func (m Mode) String() string {
	switch m {
	case Exclusive:
		return "exclusive"
	case Shared:
		return "shared"
	case Upgradable:
		return "upgradable"
	case OfTickets:
		return "tickets"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// The records of a session, which both name its member. They are claimed as
// recordClaimed, filled, and then published.
const (
	recordSession  recordKind = 48
	recordHoldings recordKind = 49
)

// sessionWord is what a session waits for, or one of the things that it holds.
//
//	63   44 43  40 39 38   22 21  0
//	| slot | mode | V | count | seq |     0: nothing
//	  V of a wait: a detector has found it to be a deadlock, and ends it
//	  count of tickets; else 1
//	  seq differs from one wait, and one holding, of a session to the next, so
//	  that who reads the same word twice has seen one that did not change
type sessionWord uint64

const (
	victimBit   sessionWord = 1 << 39
	seqMask     sessionWord = 1<<22 - 1
	countsLimit             = 1<<17 - 1
)

func newSessionWord(slot uint32, mode Mode, count int, seq uint32) sessionWord {
	return sessionWord(slot)<<44 | sessionWord(mode&15)<<40 | sessionWord(min(count, countsLimit))<<22 | sessionWord(seq)&seqMask
}

func (w sessionWord) slot() uint32   { return uint32(w >> 44) }
func (w sessionWord) mode() Mode     { return Mode(w >> 40 & 15) }
func (w sessionWord) count() int     { return int(w >> 22 & countsLimit) }
func (w sessionWord) seq() uint32    { return uint32(w & seqMask) }
func (w sessionWord) isVictim() bool { return w&victimBit != 0 }

// verdictWord names the last victim in the whole arena.
//
//	63          44 43      22 21      0
//	| session record | its seq | verdicts |
type verdictWord uint64

// next is the verdict after v, on the wait w of the session in this record.
func (v verdictWord) next(record uint32, w sessionWord) verdictWord {
	return verdictWord(record)<<44 | verdictWord(w.seq())<<22 | (v+1)&verdictWord(seqMask)
}

func (v verdictWord) record() uint32 { return uint32(v >> 44) }
func (v verdictWord) seq() uint32    { return uint32(v >> 22 & verdictWord(seqMask)) }
