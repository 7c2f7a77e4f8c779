package arena

import (
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Asking for memory is asking: it does not fault where a load would.
func TestPrefetchDoesNotFault(t *testing.T) {
	b, err := unix.Mmap(-1, 0, pageSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	prefetch(unsafe.Pointer(unsafe.SliceData(b)))
	prefetch(nil)
}

// Handles are made, and do nothing, when what they would lead to is gone.
func TestNewHandlesAfterClose(t *testing.T) {
	a := testArena(t, nil)
	a.Mutex("before").Lock()
	a.Mutex("before").Unlock()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if name := strconv.Itoa(i); a.Mutex(name).TryLock() || a.RWMutex(name).TryRLock() {
			t.Fatalf("%s was taken in an arena that is closed", name)
		}
	}
}
