package arena

import (
	"structs"
	"sync/atomic"
	"unsafe"
)

// The arena file, all fields little-endian and of fixed width. Offsets in
// bytes; 0 is nil in every index.
//
//	0       header        one page
//	4096    stripes       64 × 64
//	8192    members       1024 × 128; entries 1 … 1000 are used
//	139264  segment 0     1024 slots × 192, 512 records × 64, 4096 buckets × 4
//	385024  segment 1     … and so on; a slot's place never changes
//
// Slot i, record i and bucket i live in segment i/1024, i/512 and i/4096.
// A byte of the file far beyond its content is a member's liveness byte.
const (
	magic         = 0x3141_0064_6b63_6f6c // "lockd" NUL "A1"
	formatVersion = 1

	headerSize = 4096
	pageSize   = 4096

	stripeCount  = 64
	stripeSize   = 64
	stripesStart = headerSize

	memberLimit   = 1000
	memberEntries = 1024
	memberSize    = 128
	membersStart  = stripesStart + stripeCount*stripeSize

	segmentSlots   = 1024
	segmentRecords = 512
	segmentBuckets = 4096 // each step along a chain is a line of memory that a new name has to wait for
	slotSize       = 192
	recordSize     = 64
	bucketSize     = 4
	segmentsStart  = membersStart + memberEntries*memberSize
	segmentSize    = segmentSlots*slotSize + segmentRecords*recordSize + segmentBuckets*bucketSize
	recordsInside  = segmentSlots * slotSize
	bucketsInside  = recordsInside + segmentRecords*recordSize

	maxSegments = 1024
	minFileSize = segmentsStart + segmentSize

	// livenessBase is the file offset of liveness byte 0, which is the gate that
	// attaching and removing pass; byte i belongs to member i.
	livenessBase = 1 << 62
)

// header is written whole by the creator before the file has a name. What
// changes afterwards stands on lines of its own.
type header struct {
	_ structs.HostLayout

	magic       atomic.Uint64 // 0
	version     atomic.Uint32 // 8
	headerBytes atomic.Uint32 // 12
	layoutHash  atomic.Uint64 // 16
	bootID      [2]atomic.Uint64
	seed        atomic.Uint64 // 40  of the name hash; random
	created     atomic.Uint64 // 48  ns since 1970
	members     atomic.Uint32 // 56
	slots       atomic.Uint32 // 60  per segment

	limit atomic.Uint32 // 64  segments it may grow to; raised by an opener that asks for more
	_     [60]byte

	segments atomic.Uint32 // 128 in use; written under the growth latch
	bump     atomic.Uint32 // 132 slots below were handed out at least once; any inserter adds
	_        [56]byte

	fenceHigh atomic.Uint64 // 192 at least as high as every fence of evicted names
	_         [56]byte

	nextMember atomic.Uint32 // 256 hint: where to look for a free member entry
	hand       atomic.Uint32 // 260 hint: where the clock that evicts idle names stands
	recordHand atomic.Uint32 // 264 hint: where to look for a free record
	retired    atomic.Uint32 // 268 hint: changes when cells have left their chain that are still their members'
	passes     atomic.Uint32 // 272 hint: of settlers that have ended, twice; odd while one is at it; the settler latch
	_          [44]byte

	growth  atomic.Uint64 // 320 latch
	_       [56]byte
	settler atomic.Uint64 // 384 latch: at most one background settler
	_       [56]byte
	verdict atomic.Uint64 // 448 the last victim of a deadlock; each detector by CAS, see detector.go
	_       [56]byte

	_ [headerSize - 512]byte
}

// stripe guards inserting and evicting the names whose hash ends in its number.
type stripe struct {
	_ structs.HostLayout

	latch atomic.Uint64 // owner word; A: rebuild the chains
	level atomic.Uint32 // log2 of the buckets that the chains use; written under the latch
	_     [52]byte
}

// member is one attached process. state is the truth; the rest is written by
// the process itself between joining and live, and stays as it is until the
// entry is free again.
//
//	state: generation 63..48 | flags 47..40 | phase 39..32 | pid 31..0
type member struct {
	_ structs.HostLayout

	state     atomic.Uint64                  // 0
	pidNS     atomic.Uint64                  // 8
	pidfd     atomic.Uint64                  // 16  inode on pidfs
	startTime atomic.Uint64                  // 24  clock ticks since boot
	joined    atomic.Uint64                  // 32  ns since 1970
	uid       atomic.Uint32                  // 40
	bell      atomic.Uint32                  // 44  futex word: a request of this member was answered; who answered adds
	answered  atomic.Uint64                  // 48  a hint to the request; see calls
	label     [memberLabel / 8]atomic.Uint64 // 56
	sentinel  atomic.Uint32                  // 120 futex word: the kernel marks it when a thread of this member ends; see robust.Sentinel
	_         uint32
}

const memberLabel = 64

// slot is one named lock. Its first line holds the owner word and what is
// written when a name comes or goes or an owner dies; the name follows, then
// what only a holder writes.
//
//	life: live    slot generation 63..32 | name length 31..24 | kind 23..16 | liveLife
//	      claimed member generation 63..48 | member 47..32 | claimedLife
//	      empty   0
type slot struct {
	_ structs.HostLayout

	word         atomic.Uint64 // 0   owner word
	life         atomic.Uint64 // 8   claimer, then under the stripe's latch
	hash         atomic.Uint64 // 16  the claimer
	next         atomic.Uint32 // 24  slot, under the stripe's latch
	extension    atomic.Uint32 // 28  slot with the rest of a long name; the claimer
	records      atomic.Uint32 // 32  first record of kinds that have a chain; the stripe's latch. ranges: the tree's root
	inserted     atomic.Uint32 // 36  s since boot when the name came in; the claimer
	deadPID      atomic.Uint32 // 40  the reclaimer, while it holds
	deadCause    atomic.Uint32 // 44  the reclaimer, while it holds
	abandonments atomic.Uint32 // 48  the reclaimer, while it holds
	last         atomic.Uint32 // 52  semaphore: a hint to the last request in the queue; under the latch. mutex, rwmutex: the tally; a holder who tracks
	state        atomic.Uint64 // 56  of kinds that have one; rwmutex: the gate, see writer.go; ranges: how many wait

	name [inlineName / 8]atomic.Uint64 // 64  the claimer

	fence     atomic.Uint64                 // 144 the holder; never falls for a name
	deadWhen  atomic.Uint64                 // 152 ns since 1970; the reclaimer, while it holds
	deadLabel [deathLabel / 8]atomic.Uint64 // 160 the reclaimer, while it holds
}

const (
	inlineName = 80
	deathLabel = 32
	// MaxName is the length of the longest name, in bytes.
	MaxName = 255
)

// extension is a slot that holds the end of a long name. Its word is never
// free in a generation that a handle could have. Nothing is ever written to a
// slot late, by who took it for what it was before, where the name is now:
// words are swapped, lives are swapped, and the rest is written by a holder,
// a claimer or under a latch.
type extension struct {
	_ structs.HostLayout

	word atomic.Uint64
	life atomic.Uint64
	name [extensionName / 8]atomic.Uint64
}

const extensionName = slotSize - 16

// record is one entry owned by a member. From counts on the fields are those
// of a readers' cell: one member's readers of one rwmutex.
//
//	owner:  member generation 63..48 | member 47..32 | kind 7..0; 0 is a free record
//	        vacant: slot generation 63..32 | kind 7..0
//	counts: open 63..62 (binary 10) | read locks held 61..38 | goroutines that wait 37..14 | epoch 13..0
type record struct {
	_ structs.HostLayout

	owner      atomic.Uint64 // 0   claimed by CAS from 0, freed by its member or a settler
	slot       atomic.Uint32 // 8
	count      atomic.Uint32 // 12  goroutines that wait
	since      atomic.Uint64 // 16  ns since 1970: the first of them
	next       atomic.Uint32 // 24  record in the slot's chain; under the stripe's latch
	generation atomic.Uint32 // 28  of the slot, when the record came into its chain
	counts     atomic.Uint64 // 32  its member; who grants, by CAS; zeroed once the member is gone. Two futex words
	_          [24]byte
}

// ticketRecord is a record that holds tickets of a semaphore. It belongs to
// its slot: the owner word names no member, only the kind. The records of a
// slot are a chain in the order of their tickets; the chain only grows while
// the semaphore exists, so it may be walked without the latch.
//
// A ticket's word is the truth about the ticket; see ticketWord.
type ticketRecord struct {
	_ structs.HostLayout

	owner atomic.Uint64                    // 0
	slot  atomic.Uint32                    // 8
	first atomic.Uint32                    // 12 number of the first ticket; bit 31 is a mender's
	next  atomic.Uint32                    // 16 under the slot's latch
	queue atomic.Uint32                    // 20 first request, in the slot's first record; under the slot's latch
	words [recordTicketCount]atomic.Uint64 // 24
}

const recordTicketCount = 5

// requestRecord is a request for tickets that waits. Its owner writes it
// before it is in the queue; afterwards only next changes, under the slot's
// latch, and the owner word.
type requestRecord struct {
	_ structs.HostLayout

	owner   atomic.Uint64 // 0   by CAS; see the record kinds
	slot    atomic.Uint32 // 8
	count   atomic.Uint32 // 12  tickets
	since   atomic.Uint64 // 16  ns since 1970
	next    atomic.Uint32 // 24  the request behind it
	mode    atomic.Uint32 // 28
	arrival atomic.Uint64 // 32  its place in the queue; drawn from the slot's fence
	session atomic.Uint32 // 40  record of the session that asks, 0 if none does
	_       [20]byte
}

// sessionRecord shows one session to detectors and to the inspector. Only its
// member writes it, but for the victim's bit of wait, which a detector sets by
// CAS. It is derived: without it the session only takes no part in detection.
type sessionRecord struct {
	_ structs.HostLayout

	owner      atomic.Uint64 // 0
	wait       atomic.Uint64 // 8   sessionWord; 0 if it waits for nothing. Written last, and again after the others changed
	since      atomic.Uint64 // 16  ns since 1970: when it began to wait
	generation atomic.Uint32 // 24  of the slot waited for
	number     atomic.Uint32 // 28  of the session in its process, from 1
	evidence   atomic.Uint32 // 32  of a reader that waits: its cell's epoch, plus 1, when it was seen waiting
	_          atomic.Uint32
	label      [sessionLabel / 8]atomic.Uint64 // 40
}

const sessionLabel = 24

// holdingsRecord says what a session holds beside what the locks' own words say.
type holdingsRecord struct {
	_ structs.HostLayout

	owner   atomic.Uint64 // 0
	session atomic.Uint32 // 8  record of the session; written before owner
	_       atomic.Uint32
	words   [holdingsWords]atomic.Uint64 // 16 sessionWord; 0 is free
}

const holdingsWords = 6

// rangeRecord is a piece of a Ranges that is held, or a request for one that
// waits. It is in its slot's tree, which is ordered by first and the record's
// index. The owner word is the truth; who changes another field holds the
// slot's latch.
type rangeRecord struct {
	_ structs.HostLayout

	owner   atomic.Uint64 // 0   by CAS; see the record kinds
	slot    atomic.Uint32 // 8
	holder  atomic.Uint32 // 12  number of the holder within its member
	first   atomic.Uint64 // 16
	last    atomic.Uint64 // 24  inclusive
	leftMax atomic.Uint64 // 32  the largest last in the left subtree, 0 if there is none
	left    atomic.Uint32 // 40
	right   atomic.Uint32 // 44
	arrival atomic.Uint64 // 48  ns since 1970 when it began to wait, made to rise; 0: it did not
	session atomic.Uint32 // 56  record of the holder's session, 0 if it has none
	place   atomic.Uint32 // 60  in the holder's own list; large numbers: see rangeholder.go
}

// tallyRecord is what was counted of a mutex, or of an rwmutex's writers, by
// those who track. It belongs to its slot: the owner word names nobody. All
// else is written by who holds the lock, and nothing depends on it.
type tallyRecord struct {
	_ structs.HostLayout

	owner        atomic.Uint64 // 0
	slot         atomic.Uint32 // 8
	holder       atomic.Uint32 // 12 member 31..16 | member generation 15..0: whose moment since is
	since        atomic.Uint64 // 16 ns since 1970: when the holding that lasts began; 0 none that is known
	acquisitions atomic.Uint64 // 24
	contended    atomic.Uint64 // 32 those of them that had to wait
	held         atomic.Uint64 // 40 ns, of all that have ended
	longest      atomic.Uint64 // 48 ns
	waited       atomic.Uint64 // 56 ns, of those that were served
}

// rangeBlock is the records of one segment.
type rangeBlock [segmentRecords]rangeRecord

type bucket = atomic.Uint32

// Sizes and places are the format: a change of any of these lines is a new
// format version.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(header{})-headerSize]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.limit)-64]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.segments)-128]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.fenceHigh)-192]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.nextMember)-256]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.passes)-272]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.growth)-320]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.settler)-384]
	_ = [1]struct{}{}[unsafe.Sizeof(stripe{})-stripeSize]
	_ = [1]struct{}{}[unsafe.Sizeof(member{})-memberSize]
	_ = [1]struct{}{}[unsafe.Offsetof(member{}.label)-56]
	_ = [1]struct{}{}[unsafe.Sizeof(slot{})-slotSize]
	_ = [1]struct{}{}[unsafe.Offsetof(slot{}.state)-56]
	_ = [1]struct{}{}[unsafe.Offsetof(slot{}.name)-64]
	_ = [1]struct{}{}[unsafe.Offsetof(slot{}.fence)-144]
	_ = [1]struct{}{}[unsafe.Offsetof(slot{}.deadLabel)-160]
	_ = [1]struct{}{}[unsafe.Sizeof(extension{})-slotSize]
	_ = [1]struct{}{}[unsafe.Sizeof(record{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(member{}.bell)-44]
	_ = [1]struct{}{}[unsafe.Offsetof(member{}.sentinel)-120]
	_ = [1]struct{}{}[unsafe.Sizeof(ticketRecord{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(ticketRecord{}.words)-24]
	_ = [1]struct{}{}[unsafe.Sizeof(requestRecord{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(requestRecord{}.arrival)-32]
	_ = [1]struct{}{}[unsafe.Offsetof(requestRecord{}.session)-40]
	_ = [1]struct{}{}[unsafe.Offsetof(header{}.verdict)-448]
	_ = [1]struct{}{}[unsafe.Sizeof(sessionRecord{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(sessionRecord{}.number)-28]
	_ = [1]struct{}{}[unsafe.Offsetof(sessionRecord{}.label)-40]
	_ = [1]struct{}{}[unsafe.Sizeof(holdingsRecord{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(holdingsRecord{}.words)-16]
	_ = [1]struct{}{}[unsafe.Sizeof(rangeRecord{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(rangeRecord{}.first)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(rangeRecord{}.left)-40]
	_ = [1]struct{}{}[unsafe.Offsetof(rangeRecord{}.session)-56]
	_ = [1]struct{}{}[unsafe.Sizeof(tallyRecord{})-recordSize]
	_ = [1]struct{}{}[unsafe.Offsetof(tallyRecord{}.since)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(tallyRecord{}.waited)-56]
	_ = [1]struct{}{}[unsafe.Offsetof(record{}.next)-24]
	_ = [1]struct{}{}[unsafe.Offsetof(record{}.counts)-32]
	_ = [1]struct{}{}[segmentSize%pageSize]
	_ = [1]struct{}{}[segmentsStart%pageSize]
	_ = [1]struct{}{}[inlineName+extensionName-256]
)
