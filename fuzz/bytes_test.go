package fuzz

import (
	"os"
	"testing"
)

// FuzzBytes has any bytes decoded: as they are, or put into an image of the
// right size, or behind a header that says they are one.
func FuzzBytes(f *testing.F) {
	seedBytes(f)
	var sized, headed []byte
	f.Fuzz(func(t *testing.T, how uint8, at uint32, bytes []byte) {
		if how&(asHeaded|asSized) == 0 {
			decodes(t, bytes)
			return
		}
		if sized == nil {
			sized, headed = placed(t, asSized, 0, nil), placed(t, asHeaded, 0, nil)
		}
		content := sized
		if how&asHeaded != 0 {
			content = headed
		}
		place := int(at) % len(content)
		was := append([]byte(nil), content[place:min(place+len(bytes), len(content))]...)
		copy(content[place:], bytes)
		defer func() { copy(content[place:], was) }()
		decodes(t, content)
	})
}

// FuzzOpen has any bytes opened as an arena, in the same ways, and used.
func FuzzOpen(f *testing.F) {
	seedBytes(f)
	path := shmPath(f)
	f.Fuzz(func(t *testing.T, how uint8, at uint32, bytes []byte) {
		put(t, path, placed(t, how, at, bytes))
		defer os.Remove(path)
		use(t, path, nil, false)
	})
}

// The ways in which bytes are put into a file.
const (
	asSized  = 1
	asHeaded = 2
)

func seedBytes(f *testing.F) {
	f.Add(uint8(0), uint32(0), []byte(nil))
	f.Add(uint8(0), uint32(0), []byte("lockd\x00A1"))
	f.Add(uint8(asSized), uint32(0), image(f, 0)[:80])
	f.Add(uint8(asSized|asHeaded), uint32(4096), []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint8(asSized|asHeaded), uint32(139264+192), []byte{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 4, 1, 0, 0, 0})
	f.Add(uint8(asSized|asHeaded), uint32(128), []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(uint8(asHeaded), uint32(64), []byte{0, 0, 0, 0})
}

// placed is bytes as a file's content.
func placed(t *testing.T, how uint8, at uint32, bytes []byte) []byte {
	if how&(asHeaded|asSized) == 0 {
		return bytes
	}
	fresh := image(t, 0)
	content := make([]byte, len(fresh))
	if how&asHeaded != 0 {
		copy(content, fresh[:4096])
	}
	copy(content[int(at)%len(content):], bytes)
	return content
}
