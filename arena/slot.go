package arena

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"lockd/internal/words"
	"lockd/robust"
)

// Kind is what sort of lock a name is.
type Kind uint8

// The kinds of locks; the numbers are the format's.
const (
	KindMutex     Kind = 1
	KindRWMutex   Kind = 2
	KindSemaphore Kind = 3
	KindRanges    Kind = 4

	kindExtension Kind = words.Extension
)

func (k Kind) String() string {
	switch k {
	case KindMutex:
		return "mutex"
	case KindRWMutex:
		return "rwmutex"
	case KindSemaphore:
		return "semaphore"
	case KindRanges:
		return "ranges"
	case kindExtension:
		return "extension"
	}
	return "unknown"
}

// latched tells the kinds whose owner word is a latch and no lock: whoever dies
// in it leaves what it guards to be mended, and nobody inherits anything.
func (k Kind) latched() bool { return k == KindSemaphore || k == KindRanges }

// slotLife is the word that says what a slot is used for.
//
//	empty ──claim──▶ claimed ──publish──▶ live ──evict──▶ claimed or empty
//
// Only a claimed slot is written to, by its claimer; only a live one is in a
// chain. A claim of a dead member is settled to empty.
type slotLife words.Life

const (
	lifeEmpty   = words.Empty
	lifeClaimed = words.Claimed
	lifeLive    = words.Live
)

func claimedLife(m robust.Member) slotLife { return slotLife(words.ClaimedLife(m)) }

func liveLife(generation uint32, length int, kind Kind) slotLife {
	return slotLife(words.LiveLife(generation, length, uint8(kind)))
}

// extensionLife says whose name an extension ends: a slot and, as many bits as
// there is room for, its generation.
func extensionLife(main uint32, generation uint32) slotLife {
	return slotLife(main)<<44 | slotLife(generation&(1<<20-1))<<24 | slotLife(kindExtension)<<16 | lifeLive
}

func (l slotLife) extends() uint32 { return uint32(l >> 44) }

func (l slotLife) phase() uint8       { return words.Life(l).Phase() }
func (l slotLife) isLive() bool       { return l.phase() == lifeLive }
func (l slotLife) isLock() bool       { return words.Life(l).IsLock() }
func (l slotLife) isExtension() bool  { return l.isLive() && l.kind() == kindExtension }
func (l slotLife) isClaimed() bool    { return l.phase() == lifeClaimed }
func (l slotLife) generation() uint32 { return words.Life(l).Generation() }
func (l slotLife) length() int        { return int(uint8(l >> 24)) }
func (l slotLife) kind() Kind         { return Kind(words.Life(l).Kind()) }

func (l slotLife) claimer() robust.Member { return words.Life(l).Claimer() }

// slotOffset is where slot i is in the file.
func slotOffset(i uint32) uint64 {
	return segmentsStart + uint64(i/segmentSlots)*segmentSize + uint64(i%segmentSlots)*slotSize
}

// slotAt returns slot i, or nil if there is no such slot: 0, or an index that
// only damaged memory can hold.
func (c *core) slotAt(i uint32) *slot {
	if i == 0 || i >= maxSegments*segmentSlots {
		return nil
	}
	s := at[slot](c.mapped.Load(), slotOffset(i))
	if s == nil && c.noticeGrowth() {
		s = at[slot](c.mapped.Load(), slotOffset(i))
	}
	return s
}

func (c *core) extensionAt(i uint32) *extension {
	if c.slotAt(i) == nil {
		return nil
	}
	return at[extension](c.mapped.Load(), slotOffset(i))
}

func (c *core) bucketAt(i uint32) *bucket {
	return at[bucket](c.mapped.Load(), bucketOffset(i))
}

// bucketOffset is where bucket i is in the file.
func bucketOffset(i uint32) uint64 {
	return segmentsStart + uint64(i/segmentBuckets)*segmentSize + bucketsInside + uint64(i%segmentBuckets)*bucketSize
}

func (c *core) recordAt(i uint32) *record {
	if i == 0 {
		return nil
	}
	return at[record](c.mapped.Load(), recordOffset(i))
}

// recordOffset is where record i is in the file.
func recordOffset(i uint32) uint64 {
	return segmentsStart + uint64(i/segmentRecords)*segmentSize + recordsInside + uint64(i%segmentRecords)*recordSize
}

func (c *core) stripeAt(hash uint64) *stripe {
	return at[stripe](c.mapped.Load(), stripeOffset(hash))
}

// stripeOffset is where the stripe of a hash is in the file.
func stripeOffset(hash uint64) uint64 { return stripesStart + hash%stripeCount*stripeSize }

// slotName reads a live slot's name.
func (c *core) slotName(s *slot) string {
	return loadName(s, c.extensionAt(s.extension.Load()), slotLife(s.life.Load()).length())
}

// segments is how many this process may touch.
func (c *core) segments() uint32 {
	return uint32((c.mapped.Load().usable.Load() - segmentsStart) / segmentSize)
}

// noticeGrowth looks whether others have made the file larger. What the header
// says is believed only as far as the file goes.
func (c *core) noticeGrowth() bool {
	said := min(c.head.segments.Load(), maxSegments)
	if said <= c.segments() {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(int(c.file.Fd()), &st) != nil || uint64(st.Size) < fileSize(said) {
		return false
	}
	raise(&c.mapped.Load().usable, fileSize(said))
	return true
}

// raise makes a word at least v.
func raise(word *atomic.Uint64, v uint64) {
	for {
		old := word.Load()
		if old >= v || word.CompareAndSwap(old, v) {
			return
		}
	}
}
