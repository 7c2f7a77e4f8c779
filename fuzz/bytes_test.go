package fuzz

import (
	"os"
	"testing"

	"lockd/arena"
)

// FuzzBytes has any bytes decoded and opened as an arena: as they are, or put
// into a file of the right size, or behind a header that says they are one.
func FuzzBytes(f *testing.F) {
	fresh := image(f, 0)
	f.Add(uint8(0), uint32(0), []byte(nil))
	f.Add(uint8(0), uint32(0), []byte("lockd\x00A1"))
	f.Add(uint8(1), uint32(0), fresh[:80])
	f.Add(uint8(3), uint32(4096), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint8(3), uint32(139264+192), []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 4, 1, 0, 0, 0})
	f.Add(uint8(3), uint32(128), []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(uint8(2), uint32(64), []byte{0, 0, 0, 0})
	path := shmPath(f)
	f.Fuzz(func(t *testing.T, how uint8, at uint32, bytes []byte) {
		const headed, sized = 2, 1
		content := bytes
		if how&(headed|sized) != 0 {
			content = make([]byte, len(fresh))
			if how&headed != 0 {
				copy(content, fresh[:4096])
			}
			copy(content[int(at)%len(content):], bytes)
		}
		if s, err := arena.Decode(content); s == nil && err == nil {
			t.Error("neither a snapshot nor an error")
		} else if s != nil {
			s.Problems()
		}
		put(t, path, content)
		defer os.Remove(path)
		use(t, path, nil, false)
	})
}
