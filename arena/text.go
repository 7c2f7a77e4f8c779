package arena

import (
	"encoding/binary"
	"strings"
	"sync/atomic"
	"unicode/utf8"
)

// storeText writes a text into words of shared memory, cut to what fits at a
// rune's boundary and padded with NUL.
func storeText(words []atomic.Uint64, text string) {
	text = cutText(text, len(words)*8)
	var raw [8]byte
	for i := range words {
		raw = [8]byte{}
		text = text[copy(raw[:], text):]
		words[i].Store(binary.LittleEndian.Uint64(raw[:]))
	}
}

// loadText reads what storeText wrote, or whatever bytes are there, up to the
// first NUL.
func loadText(words []atomic.Uint64) string {
	raw := make([]byte, 0, 96)
	for i := range words {
		raw = binary.LittleEndian.AppendUint64(raw, words[i].Load())
	}
	text, _, _ := strings.Cut(string(raw), "\x00")
	return text
}

func cutText(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size]
}

// nameWords are the words of shared memory that hold a name of this length:
// those in the slot, then those in its extension.
func nameWord(s *slot, x *extension, i int) *atomic.Uint64 {
	if i < len(s.name) {
		return &s.name[i]
	}
	return &x.name[i-len(s.name)]
}

// storeName writes the name of a claimed slot.
func storeName(s *slot, x *extension, name string) {
	var raw [8]byte
	for i := 0; len(name) > 0; i++ {
		raw = [8]byte{}
		name = name[copy(raw[:], name):]
		nameWord(s, x, i).Store(binary.LittleEndian.Uint64(raw[:]))
	}
}

// sameName compares the stored name with one of the same length, without
// allocating.
func sameName(s *slot, x *extension, name string) bool {
	var raw [8]byte
	for i := 0; len(name) > 0; i++ {
		if i == len(s.name) && x == nil {
			return false
		}
		raw = [8]byte{}
		name = name[copy(raw[:], name):]
		if nameWord(s, x, i).Load() != binary.LittleEndian.Uint64(raw[:]) {
			return false
		}
	}
	return true
}

// loadName reads the name of a slot, for errors and heirs.
func loadName(s *slot, x *extension, length int) string {
	raw := make([]byte, 0, MaxName+8)
	for i := 0; i*8 < length; i++ {
		if i >= len(s.name) && x == nil {
			break
		}
		raw = binary.LittleEndian.AppendUint64(raw, nameWord(s, x, i).Load())
	}
	return string(raw[:min(length, len(raw))])
}
