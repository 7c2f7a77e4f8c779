package fuzz

import (
	"testing"

	"lockd/arena"
)

// decodes has bytes decoded, and what came of it checked.
func decodes(t *testing.T, bytes []byte) {
	s, err := arena.Decode(bytes)
	if s == nil && err == nil {
		t.Error("neither a snapshot nor an error")
	}
	if s != nil {
		s.Problems()
	}
}

// copies are of the goldens, to be changed and put right again.
var copies = map[uint8][]byte{}

func copyOf(t *testing.T, golden uint8) (changed, whole []byte) {
	whole = image(t, golden)
	if copies[golden] == nil {
		copies[golden] = append([]byte(nil), whole...)
	}
	return copies[golden], whole
}

// FuzzDecode gives the decoder an arena in one of the golden states in which
// words are changed, or which is cut off: whatever it says, it neither panics
// nor reads out of bounds, and what it decodes can be checked.
func FuzzDecode(f *testing.F) { fuzzDecode(f, 0, firstLarge) }

// FuzzDecodeLarge is the same with those that have a thousand locks, which takes
// fifty times as long.
func FuzzDecodeLarge(f *testing.F) { fuzzDecode(f, firstLarge, len(goldens)) }

func fuzzDecode(f *testing.F, first, last int) {
	image(f, 0)
	seedChanges(func(golden uint8, change []byte) { f.Add(golden, ^uint32(0), change) })
	for _, size := range []uint32{0, 15, 100, 4096, 139264, 300_000} {
		f.Add(uint8(1), size, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, golden uint8, size uint32, bytes []byte) {
		golden = uint8(first + int(golden)%(last-first))
		changed, whole := copyOf(t, golden)
		c := changes(bytes)
		for i := range c.len() {
			at := c.apply(i, changed)
			defer func() { copy(changed[at:], whole[at:min(at+lineSize, len(whole))]) }()
		}
		decodes(t, changed[:min(int(size), len(changed))])
	})
}
