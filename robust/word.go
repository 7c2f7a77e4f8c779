package robust

// Word is an owner word: the 64 bits that say who holds a lock and how.
//
//	63          48 47          32 31 30 29 28 27 26          0
//	| generation   | member      | W | A | S | L | D | pid   |   held
//	| slot generation            | W | A | S | 0 | 0 | 0     |   free
//
// A word with a zero pid is free. A free word carries the 32-bit generation of
// the slot it belongs to, so that the fast path of a handle to a slot that was
// given to another name misses; slots are retired before their generation
// wraps. A held word carries the member (its table index and its own 16-bit
// generation) because those are what reclaiming trusts; the pid stands there
// for whoever reads a hex dump.
//
// The low half is the futex word.
//
//	free                          nobody holds it, nobody sleeps on it
//	free W                        a wake is on its way, or the woken has not come yet
//	free S W                      the same, and newcomers let the sleepers go first
//	free A                        the last owner died, panicked or was robbed
//	held                          owned; the owner's fast unlock applies
//	held W                        owned; somebody sleeps on the word
//	held L                        owned; goroutines of the owner's process queue in it
//	held A                        owned by an heir who has not marked it consistent
//	held S W                      owned; somebody has waited long
//	held D W                      owned; who sleeps may look seldom: all are woken when the holding ends
//
// All flags combine. L and D are never set in a free word; S and D never without W.
//
// The transitions below are pure: they compute the next word and touch no
// memory. Every change of a shared word is one compare-and-swap from the exact
// word that was looked at to what one of them returns.
type Word uint64

// The flags of an owner word.
const (
	Dozing    Word = 1 << 27 // D: whoever ends the holding wakes all sleepers
	Local     Word = 1 << 28 // L: goroutines of the owner's process are queued locally
	Starved   Word = 1 << 29 // S: newcomers queue
	Abandoned Word = 1 << 30 // A: what the lock protects may be half-changed
	Waiters   Word = 1 << 31 // W: somebody sleeps on the word

	flagMask Word = Dozing | Local | Starved | Abandoned | Waiters
	pidMask  Word = 1<<27 - 1
)

// MaxGeneration is the last generation a slot can have; it is retired there.
const MaxGeneration = 1<<32 - 1

// Member names one attached process: its index in the member table and the
// generation of that entry. The zero Member is nobody.
type Member struct {
	Index      uint16
	Generation uint16
}

// Free returns the free word of a slot of this generation.
func Free(generation uint32) Word { return Word(generation) << 32 }

// Held returns the word of a lock held by member m, whose process id is pid.
func Held(m Member, pid uint32) Word {
	return Word(m.Generation)<<48 | Word(m.Index)<<32 | Word(pid)&pidMask
}

// IsFree tells whether nobody holds the word.
func (w Word) IsFree() bool { return w&pidMask == 0 }

// Has tells whether all of the flags are set.
func (w Word) Has(flags Word) bool { return w&flags == flags }

// Generation returns the slot generation of a free word.
func (w Word) Generation() uint32 { return uint32(w >> 32) }

// Owner returns the member that holds the word; of a free word, nobody.
func (w Word) Owner() Member {
	if w.IsFree() {
		return Member{}
	}
	return Member{Index: uint16(w >> 32), Generation: uint16(w >> 48)}
}

// PID returns the process id in a held word, 0 in a free one.
func (w Word) PID() uint32 { return uint32(w & pidMask) }

// Flags returns the flags alone.
func (w Word) Flags() Word { return w & flagMask }

// Low returns the low half, which is the value that a futex wait compares.
func (w Word) Low() uint32 { return uint32(w) }

// SameHolding tells whether both words are the same holding: held by the same
// member with the same pid, whatever the flags.
func (w Word) SameHolding(other Word) bool {
	return !w.IsFree() && w&^flagMask == other&^flagMask
}

// Taken is what acquiring the free word w makes of it. W and A stay: others may
// still sleep, and what the lock protects is still half-changed. S ends here:
// it was set for somebody who waited, and whoever still starves sets it again.
func (w Word) Taken(self Word) Word { return self | w&(Waiters|Abandoned) }

// Barged is what a try makes of the free word w: like Taken, but S stays, for
// the starved have not been served.
func (w Word) Barged(self Word) Word { return self | w&(Waiters|Abandoned|Starved) }

// Released is what the holder's release makes of the held word w. L ends: the
// releasing process looks after its own queue. D ends with the holding, here
// and where it is taken over.
func (w Word) Released(generation uint32) Word {
	return Free(generation) | w&(Waiters|Abandoned|Starved)
}

// Reclaimed is what taking over the holding w of a dead member makes of it.
func (w Word) Reclaimed(self Word) Word { return self | w&(Waiters|Abandoned) | Abandoned }

// Inherited is what taking over the holding w of a member that left in good
// order makes of it: the lock is not abandoned by that.
func (w Word) Inherited(self Word) Word { return self | w&(Waiters|Abandoned) }

// Calmed is the free word w after a wake that found nobody asleep.
func (w Word) Calmed() Word { return w &^ (Waiters | Starved) }
