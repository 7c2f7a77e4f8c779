package arena

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Asking for memory ahead. Making a slot for a new name is mostly waiting for
// lines of memory that no cache has, one after the other. Those whose address
// is known before they are needed are asked for, while something else is done.
// Nothing depends on that: what was asked for is read again when it is needed.

// prefetch asks the processor for the line of memory that p points to. It never
// faults, wherever p points.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// lineSize is that of a line of the processor's cache. A longer one is asked for
// twice.
const lineSize = 64

// askForBucket asks for where the chain of a name begins. It is for who makes a
// handle, which is allowed after the arena was closed, and while it is: the first
// mapping is zero pages then.
func (c *core) askForBucket(name string) {
	m := c.first.Load()
	if m == nil {
		return
	}
	hash := hashName(c.seed, name)
	level := at[stripe](m, stripeOffset(hash)).level.Load()
	if b := at[bucket](m, bucketOffset(bucketNumber(hash, level))); b != nil {
		prefetch(unsafe.Pointer(b))
	}
	runtime.KeepAlive(m)
}

// askForVictims asks for what the two next claims will need if the clock's hand
// is at slot i and passes none: the slot after the next, and where the chain
// begins that the next is in, of which this knows by now.
func (c *core) askForVictims(i, slots uint32) {
	if s := c.slotAt((i + 1) % slots); s != nil {
		hash := s.hash.Load()
		if b := c.bucketAt(bucketNumber(hash, c.stripeAt(hash).level.Load())); b != nil {
			prefetch(unsafe.Pointer(b))
		}
	}
	if s := c.slotAt((i + 2) % slots); s != nil {
		for line := uintptr(0); line < slotSize; line += lineSize {
			prefetch(unsafe.Add(unsafe.Pointer(s), line))
		}
	}
}

// populate maps the pages of a segment that this process has made and is about
// to use, all at once: each would be a page fault otherwise. Where that cannot
// be done, they are.
func (m *mapping) populate(segment uint32) {
	start := fileSize(segment)
	unix.Madvise(m.bytes[start:start+segmentSize], unix.MADV_POPULATE_WRITE)
}
