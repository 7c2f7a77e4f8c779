package fuzz

import (
	"os"
	"path/filepath"
	"testing"

	"lockd/arena"
)

// liveImage is the bytes of an arena in use: a lock held, one abandoned, a
// long name.
func liveImage(f *testing.F) []byte {
	path := filepath.Join(f.TempDir(), "arena")
	a, err := arena.Open(path, &arena.Options{Label: "seed"})
	if err != nil {
		f.Fatal(err)
	}
	long := make([]byte, arena.MaxName)
	for i := range long {
		long[i] = 'n'
	}
	for _, name := range []string{"held", "abandoned", string(long)} {
		a.Mutex(name).Lock()
	}
	for at := range int64(20) {
		a.Ranges("ranges").TryLock(arena.Shared, at*10, 15)
	}
	if err := a.Mutex(string(long)).Release(); err != nil {
		f.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	a.Close()
	return image
}

// FuzzDecode gives the decoder an arena with bytes put over it at a place, or
// cut off: whatever it says, it neither panics nor reads out of bounds, and
// what it decodes can be checked.
func FuzzDecode(f *testing.F) {
	image := liveImage(f)
	f.Add(uint32(0), uint32(len(image)), []byte("lockd"))
	f.Add(uint32(24), uint32(100), []byte{0})
	f.Add(uint32(139264), uint32(len(image)), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, place, size uint32, bytes []byte) {
		mutated := make([]byte, min(int(size), len(image)))
		copy(mutated, image)
		if int(place) < len(mutated) {
			copy(mutated[place:], bytes)
		}
		s, err := arena.Decode(mutated)
		if s == nil && err == nil {
			t.Fatal("neither a snapshot nor an error")
		}
		if s != nil {
			s.Problems()
		}
	})
}
