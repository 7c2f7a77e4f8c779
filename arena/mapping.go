package arena

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"github.com/edsrzf/mmap-go"
	"golang.org/x/sys/unix"
)

// mapping is an arena file in memory. It reserves addresses for the largest
// file there can be, so that a slot's address never changes while the file
// grows; only what the file has is ever touched.
//
// Once retired it is zero pages: a compare-and-swap that comes late misses
// there, because no free or held word is zero. The pages go when the last
// handle that points into them is collected.
type mapping struct {
	bytes mmap.MMap
	// usable is how many bytes may be touched: they are in the file and allocated.
	usable atomic.Uint64
}

const reserved = segmentsStart + maxSegments*segmentSize

// mapFile maps the file behind f for reading and writing. The mapping holds
// the open file description, and with it the liveness byte, until it goes.
func mapFile(f *os.File, usable uint64) (*mapping, error) {
	b, err := mmap.MapRegion(f, reserved, mmap.RDWR, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("arena: map %s (%d MiB of addresses): %w", f.Name(), reserved>>20, err)
	}
	if err := unix.Madvise(b, unix.MADV_DONTFORK); err != nil {
		b.Unmap()
		return nil, fmt.Errorf("arena: keep %s out of forked children: %w", f.Name(), err)
	}
	m := &mapping{bytes: b}
	m.usable.Store(usable)
	return m, nil
}

// retire puts zero pages over the mapping. A store or compare-and-swap that is
// under way lands either in the file or in the zero pages, never nowhere.
func (m *mapping) retire() error {
	// Only what handles can point to has to be there; the rest keeps its
	// addresses, at no cost where memory is not overcommitted.
	page := uint64(os.Getpagesize())
	usable := min((m.usable.Load()+page-1)/page*page, uint64(len(m.bytes)))
	for _, part := range []struct {
		bytes []byte
		prot  int
	}{{m.bytes[usable:], unix.PROT_NONE}, {m.bytes[:usable], unix.PROT_READ | unix.PROT_WRITE}} {
		if len(part.bytes) == 0 {
			continue
		}
		_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(part.bytes)), uintptr(len(part.bytes)),
			part.prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED|unix.MAP_NORESERVE)
		if err != nil {
			return fmt.Errorf("arena: retire mapping: %w", err)
		}
	}
	runtime.AddCleanup(m, func(b mmap.MMap) { b.Unmap() }, m.bytes)
	return nil
}

// at returns the T at an offset of the file, or nil if it is not wholly inside
// the usable part or not aligned. It is where offsets become pointers.
//
// SAFETY: the bytes are mapped for as long as m is reachable: m unmaps nothing
// before it is collected, and every pointer handed to a handle is kept beside
// m. All fields of every T are atomics, so that what other processes do to
// them is no data race.
func at[T any](m *mapping, offset uint64) *T {
	var t T
	if offset%uint64(unsafe.Alignof(t)) != 0 {
		return nil
	}
	usable := m.usable.Load()
	if size := uint64(unsafe.Sizeof(t)); size > usable || offset > usable-size {
		return nil
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(m.bytes[offset:])))
}
