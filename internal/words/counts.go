package words

// Counts is the word of a cell: how many goroutines of one member read an
// rwmutex, and how many wait to.
//
//	63    62 61        38 37          14 13     0
//	| 1  0 | reads held | waiting       | epoch |   open
//
// Only an open cell admits: a fresh page (the arena was closed), a cell that
// is nobody's or out of its chain, and one whose readers were subtracted once
// too often, or added, differ in the upper two bits. The epoch grows when a cell gets
// another owner, so that nobody subtracts the dead from their successor, and
// when those who wait are let in.
type Counts uint64

// What Counts are made of.
const (
	OpenCell  Counts = 2 << 62
	OneReader Counts = 1 << 38
	OneWaits  Counts = 1 << 14
	EpochMask Counts = OneWaits - 1

	// MaxPeople is how many readers, and how many who wait, can be counted.
	MaxPeople = 1<<24 - 1

	// ReadBits are set in no Counts that are empty, WaitBits in none in which
	// nobody waits.
	ReadBits Counts = 1<<62 | MaxPeople*OneReader
	WaitBits Counts = MaxPeople * OneWaits
)

// IsOpen tells whether the cell admits readers.
func (n Counts) IsOpen() bool { return n>>62 == OpenCell>>62 }

// IsEmpty tells whether nobody reads: not if one reader too many was added, or
// subtracted, which is about to be undone.
func (n Counts) IsEmpty() bool { return n>>62&1 == 0 && n.Held() == 0 }

// IsFull tells an open cell to which one reader more was added than there is
// room for.
func (n Counts) IsFull() bool { return n>>62 == 3 && n.Held() <= MaxPeople/2 }

// IsReadFrom tells whether a reader can leave: there is one.
func (n Counts) IsReadFrom() bool { return n.IsOpen() && n.Held() > 0 || n.IsFull() }

// Held is how many read.
func (n Counts) Held() uint32 { return uint32(n>>38) & MaxPeople }

// Waiting is how many wait.
func (n Counts) Waiting() uint32 { return uint32(n>>14) & MaxPeople }

// Epoch is n closed and empty.
func (n Counts) Epoch() Counts { return n & EpochMask }

// Opened is n for its next owner.
func (n Counts) Opened() Counts { return OpenCell | (n+1)&EpochMask }

// Granted is n with all who wait let in. Its epoch tells who has seen a
// goroutine wait whether that one may have been let in since.
func (n Counts) Granted() Counts {
	k := Counts(n.Waiting())
	return (n+k*OneReader-k*OneWaits)&^EpochMask | (n+1)&EpochMask
}

// Regretted is n with k of those who were let in waiting again.
func (n Counts) Regretted(k uint32) Counts {
	return n - Counts(k)*OneReader + Counts(k)*OneWaits
}
