package arena

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"lockd/robust"
)

// Snapshot is what an arena looked like. All fields are copies.
type Snapshot struct {
	Path  string    // empty from Decode
	Taken time.Time // zero from Decode
	Size  int64     // of the file in bytes; from Decode, of the image

	Version    uint32
	LayoutHash uint64
	BootID     [16]byte // the boot during which the file was made
	Created    time.Time
	Segments   uint32 // in use, of 1024 slots each
	Limit      uint32 // segments that it may grow to
	Bump       uint32 // slots below were handed out at least once
	FenceHigh  uint64

	Members []MemberInfo // by index
	Locks   []LockInfo   // by slot: every name in the table, idle or not
	Latches []LatchInfo  // those held, or marked for rebuilding

	Sessions []SessionInfo // by member and number

	readable bool // the tables have a known place
	picture  picture

	seen         *sighting        // what sessions hold and wait for
	slotSessions map[uint32][]int // derived from it
}

// Capacity is how many locks the arena may grow to, if all names are short.
func (s *Snapshot) Capacity() int { return int(s.Limit)*segmentSlots - 1 }

// MemberInfo is one attached process, or one that died attached and has not
// been settled.
type MemberInfo struct {
	robust.Member
	robust.Identity
	Phase       Phase
	ByteOnly    bool // judged by its liveness byte alone
	LeftInOrder bool // what it holds passes on without being abandoned
	NoByte      bool // its file system has no liveness bytes
	UID         uint32
	Label       string
	Joined      time.Time
	Verdict     robust.Verdict // when the snapshot was taken
}

// Phase says how far a member has come in attaching.
type Phase uint8

// The phases of a member that is in the table.
const (
	PhaseJoining Phase = 1 // it holds nothing yet, and its entry is not complete
	PhaseLive    Phase = 2
)

func (p Phase) String() string {
	switch p {
	case PhaseJoining:
		return "joining"
	case PhaseLive:
		return "live"
	}
	return fmt.Sprintf("Phase(%d)", uint8(p))
}

// LockInfo is one named lock.
type LockInfo struct {
	Name       string // any bytes
	Kind       Kind
	Slot       uint32
	Generation uint32
	Word       robust.Word // free or held, and the flags
	Owner      *OwnerInfo  // nil if free
	// Waiters is how many goroutines wait, in all processes not known to be gone.
	Waiters int
	Waiting []WaiterInfo
	// Readers is how many read locks of an rwmutex are held, in all processes
	// not known to be gone. Beside a writer these are on their way in or out.
	Readers int
	Reading []ReaderInfo
	// Gate is not 0 while an rwmutex lets no readers in. It names who shut it,
	// with the flag Waiters while that one waits for readers to leave, without
	// once it holds the lock exclusively. An owner beside an open gate holds
	// the lock upgradably.
	Gate robust.Word
	// Abandonments is how often an owner ended without releasing it, since the
	// name is in this slot; LastDeath is the last of them, or nil.
	Abandonments uint32
	LastDeath    *Death
	Fence        uint64        // the last one drawn, or what the first will be larger than
	Inserted     time.Duration // since boot: when the name came into the table
	// Tally is what those have counted who track, or nil; see Options.TrackHold.
	Tally *Tally
	// Semaphore is nil for other kinds, and for one that is not made yet or
	// destroyed. Word and Owner are the latch of its queue.
	Semaphore *SemaphoreState
	// Ranges is what is held of a Ranges, by its beginning, and then what waits,
	// in order. Word and Owner are the latch of its tree.
	Ranges []RangeInfo
}

// Held tells whether somebody, dead or alive, holds the lock, or any ticket or
// range.
func (l *LockInfo) Held() bool {
	if l.Kind == KindRanges {
		return len(l.Ranges) > 0 && !l.Ranges[0].Waiting
	}
	if l.Kind == KindSemaphore {
		return l.Semaphore != nil && l.Semaphore.InUse > 0
	}
	return !l.Word.IsFree()
}

// OwnerInfo is who holds a lock or a latch.
type OwnerInfo struct {
	robust.Member
	PID     uint32 // in the owner's pid namespace
	Known   bool   // the member table has that member; if not, the file is damaged or changed
	Label   string
	Verdict robust.Verdict
}

// WaiterInfo is one process that waits for a lock.
type WaiterInfo struct {
	robust.Member
	Count   uint32 // goroutines
	Reading bool   // they wait to read
	Since   time.Time
	Known   bool
	PID     uint32
	Label   string
	Verdict robust.Verdict
}

// ReaderInfo is one process that holds an rwmutex for reading.
type ReaderInfo struct {
	robust.Member
	Count   uint32 // read locks
	Known   bool
	PID     uint32
	Label   string
	Verdict robust.Verdict
}

// LatchInfo is a latch that somebody holds, or left to be rebuilt.
type LatchInfo struct {
	Name  string // growth, settler, stripe 0 … 63
	Word  robust.Word
	Owner *OwnerInfo // nil if free
}

// ReadSnapshot looks at the arena of this name without becoming a member: the
// file is mapped read-only, copied and decoded, and no byte of it is written
// or locked. It works on an arena in which everything stands still, and on a
// damaged one.
//
// Each 64-bit word of the copy is one that the file had at some moment; words
// beside each other may be of different moments. So what does not fit
// together need not be damage: Check looks twice.
//
// Errors are those of Decode, with the Snapshot that Decode gives, and
// ErrName, ErrNotExist, ErrPermission, and ErrUnsafeFile for a symbolic link.
// A file that is cut off while it is read is ErrTruncated.
func ReadSnapshot(name string) (*Snapshot, error) {
	path, err := Path(name)
	if err != nil {
		return nil, err
	}
	fd, err := openToRead(path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)

	image, size, err := copyFile(fd)
	if err != nil {
		return nil, fmt.Errorf("arena: read %s: %w", path, err)
	}
	taken := time.Now()
	s, err := decode(image, judgeAll(fd, image))
	if s != nil {
		s.Path, s.Size, s.Taken = path, size, taken
	}
	if err != nil {
		return s, fmt.Errorf("arena: %s: %w", path, err)
	}
	return s, nil
}
