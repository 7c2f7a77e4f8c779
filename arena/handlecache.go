package arena

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// handleCache gives callers that ask an Arena for the same names again the
// same handles, quickly. A name's hash leads to two neighbouring buckets, and
// whoever finds both full takes the place of another: it is bounded, and needs
// no lock.
type handleCache struct {
	table   atomic.Pointer[handleTable]
	growing sync.Mutex
}

// handleTable is a power of two of buckets, somewhat more places than the arena
// has slots.
type handleTable struct{ buckets []handleBucket }

// handleBucket is one line of the processor's cache. The lower seven bytes of
// tags are some bits of the hash of the name that stands at each place, 0 if
// none does, so that a look-up follows one pointer as a rule. The two are not
// written at once: a tag is a hint.
type handleBucket struct {
	tags   atomic.Uint64
	places [handleWays]atomic.Pointer[lockHandle]
}

const (
	// firstBuckets are enough for an arena of one segment; the table grows with
	// the arena.
	firstBuckets = 256
	handleWays   = 7

	eachByte  = 0x0101_0101_0101_0101
	wayBytes  = 1<<(8*handleWays) - 1
	highBits  = 0x80 * eachByte & wayBytes
	lastOfTag = 8 * (handleWays - 1)
)

func tagOf(hash uint32) uint64 { return uint64(max(hash>>24, 1)) }

func (t *handleTable) bucket(hash uint32) uint32 { return hash >> 1 & uint32(len(t.buckets)-1) }

// named returns the handle to this name that is there, or puts a new one there.
func (h *handleCache) named(a *Arena, kind Kind, name string) *lockHandle {
	hash := maphash.String(handleSeed, name)
	t := h.table.Load()
	if t != nil {
		if l := t.find(uint32(hash), name); l != nil {
			return l
		}
	}
	a.core.askForBucket(name) // new to the arena, too, perhaps
	l := a.core.cells.of(a, hash, kind, name).handleFor(a)
	h.fit(a, t).put(uint32(hash), l)
	return l
}

func (t *handleTable) find(hash uint32, name string) *lockHandle {
	at := t.bucket(hash)
	for range 2 {
		b := &t.buckets[at]
		tags := b.tags.Load()
		// A byte that is zero after this has the tag; now and then another has not.
		x := tags ^ tagOf(hash)*eachByte
		for found := (x - eachByte) &^ x & highBits; found != 0; found &= found - 1 {
			if l := b.places[bits.TrailingZeros64(found)/8].Load(); l != nil && l.cell.name == name {
				return l
			}
		}
		if tags>>lastOfTag == 0 {
			return nil
		}
		at ^= 1
	}
	return nil
}

func (t *handleTable) put(hash uint32, l *lockHandle) {
	at := t.bucket(hash)
	for _, b := range []*handleBucket{&t.buckets[at], &t.buckets[at^1]} {
		for tags := b.tags.Load(); tags>>lastOfTag == 0; tags = b.tags.Load() {
			way := (bits.Len64(tags) + 7) / 8
			if b.tags.CompareAndSwap(tags, tags|tagOf(hash)<<(8*way)) {
				b.places[way].Store(l)
				return
			}
		}
	}
	b, way := &t.buckets[at], int(hash>>20)%handleWays
	b.places[way].Store(l)
	for {
		tags := b.tags.Load()
		if b.tags.CompareAndSwap(tags, tags&^(0xff<<(8*way))|tagOf(hash)<<(8*way)) {
			return
		}
	}
}

// fit makes the table somewhat larger than the arena's number of slots.
func (h *handleCache) fit(a *Arena, t *handleTable) *handleTable {
	size := firstBuckets
	for slots := int(a.core.slotCount()); size*handleWays < slots+slots/4; {
		size *= 2
	}
	if t != nil && (len(t.buckets) >= size || !h.growing.TryLock()) {
		return t
	}
	if t == nil {
		h.growing.Lock()
	}
	defer h.growing.Unlock()
	switch now := h.table.Load(); {
	case now == t:
	case now == nil: // dropped
		return t
	default:
		return now
	}
	larger := &handleTable{make([]handleBucket, size)}
	if t != nil {
		for i := range t.buckets {
			for k := range t.buckets[i].places {
				if l := t.buckets[i].places[k].Load(); l != nil {
					larger.put(l.cell.mark.Load(), l)
				}
			}
		}
	}
	h.table.Store(larger)
	return larger
}

// drop forgets all handles, for an opening that was closed.
func (h *handleCache) drop() {
	h.growing.Lock()
	defer h.growing.Unlock()
	h.table.Store(nil)
}
