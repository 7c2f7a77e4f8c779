package arena

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"lockd/robust"
)

// layoutHash names this layout: builds that disagree about any size or place, or
// do not know a flag of the owner words, refuse each other's files.
const layoutHash uint64 = formatVersion<<56 |
	headerSize<<40 ^ stripeCount<<36 ^ memberEntries<<28 ^ memberSize<<24 ^
	segmentSlots<<16 ^ segmentRecords<<12 ^ segmentBuckets<<8 ^
	slotSize<<4 ^ recordSize ^ inlineName<<20 ^ maxSegments<<32 ^ memberLabel<<48 ^
	uint64(robust.Dozing)

// headerImage is the first page of a new file.
func headerImage(boot [16]byte, seed, created uint64, limit uint32) []byte {
	page := make([]byte, headerSize)
	put64 := func(at uintptr, v uint64) { binary.LittleEndian.PutUint64(page[at:], v) }
	put32 := func(at uintptr, v uint32) { binary.LittleEndian.PutUint32(page[at:], v) }
	var h header
	put64(unsafe.Offsetof(h.magic), magic)
	put32(unsafe.Offsetof(h.version), formatVersion)
	put32(unsafe.Offsetof(h.headerBytes), headerSize)
	put64(unsafe.Offsetof(h.layoutHash), layoutHash)
	copy(page[unsafe.Offsetof(h.bootID):], boot[:])
	put64(unsafe.Offsetof(h.seed), seed)
	put64(unsafe.Offsetof(h.created), created)
	put32(unsafe.Offsetof(h.members), memberLimit)
	put32(unsafe.Offsetof(h.slots), segmentSlots)
	put32(unsafe.Offsetof(h.limit), limit)
	put32(unsafe.Offsetof(h.segments), 1)
	put32(unsafe.Offsetof(h.bump), 1)
	put64(unsafe.Offsetof(h.fenceHigh), created)
	return page
}

// stripesImage are the stripes of a new file.
func stripesImage() []byte {
	b := make([]byte, stripeCount*stripeSize)
	var s stripe
	for i := range stripeCount {
		binary.LittleEndian.PutUint32(b[i*stripeSize+int(unsafe.Offsetof(s.level)):], levelFor(1))
	}
	return b
}

// preamble is what an opener learns from a file's first page before it maps it.
type preamble struct {
	boot     [16]byte
	segments uint32
}

// readPreamble judges the first page of a file of this size.
func readPreamble(path string, page []byte, size uint64) (preamble, error) {
	var p preamble
	var h header
	get64 := func(at uintptr) uint64 { return binary.LittleEndian.Uint64(page[at:]) }
	get32 := func(at uintptr) uint32 { return binary.LittleEndian.Uint32(page[at:]) }
	if len(page) < 16 || get64(unsafe.Offsetof(h.magic)) != magic {
		return p, fmt.Errorf("arena: %w: %s (%d bytes) does not begin like one", ErrNotArena, path, size)
	}
	if v := get32(unsafe.Offsetof(h.version)); v != formatVersion {
		return p, fmt.Errorf("arena: %w: %s has version %d, this build reads version %d", ErrVersion, path, v, formatVersion)
	}
	if len(page) < headerSize || size < minFileSize {
		return p, fmt.Errorf("arena: %w: %s has %d bytes, an arena has at least %d", ErrTruncated, path, size, minFileSize)
	}
	if l := get64(unsafe.Offsetof(h.layoutHash)); l != layoutHash {
		return p, fmt.Errorf("arena: %w: %s has layout %#x, this build has %#x", ErrLayout, path, l, layoutHash)
	}
	damaged := func(what string, got, want uint64) error {
		return fmt.Errorf("arena: %w: %s: %s is %d, must be %d", ErrDamaged, path, what, got, want)
	}
	if v := get32(unsafe.Offsetof(h.headerBytes)); v != headerSize {
		return p, damaged("header size", uint64(v), headerSize)
	}
	if v := get32(unsafe.Offsetof(h.members)); v != memberLimit {
		return p, damaged("number of members", uint64(v), memberLimit)
	}
	if v := get32(unsafe.Offsetof(h.slots)); v != segmentSlots {
		return p, damaged("slots a segment", uint64(v), segmentSlots)
	}
	copy(p.boot[:], page[unsafe.Offsetof(h.bootID):])
	p.segments = get32(unsafe.Offsetof(h.segments))
	if p.segments < 1 || p.segments > maxSegments {
		return p, fmt.Errorf("arena: %w: %s: %d segments are not in 1 … %d", ErrDamaged, path, p.segments, maxSegments)
	}
	if need := fileSize(p.segments); size < need {
		return p, fmt.Errorf("arena: %w: %s has %d bytes, its %d segments need %d", ErrTruncated, path, size, p.segments, need)
	}
	return p, nil
}

// fileSize is the size of a file with that many segments.
func fileSize(segments uint32) uint64 { return segmentsStart + uint64(segments)*segmentSize }
