package arena

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// checkName says which rule a lock's name breaks.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("arena: %w: a lock's name has 1 to %d bytes, this one is empty", ErrName, MaxName)
	case len(name) > MaxName:
		return fmt.Errorf("arena: %w: a lock's name has 1 to %d bytes, this one has %d: %.32q…", ErrName, MaxName, len(name), name)
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("arena: %w: a lock's name has no NUL byte: %q", ErrName, name)
	}
	return nil
}

// Odd constants for the name hash: the fractional parts of square roots of
// primes, as many hashes use. They are part of the format.
const (
	hashA = 0x6a09e667f3bcc909
	hashB = 0xbb67ae8584caa73b
)

// hashName is the format's hash of a name: eight bytes at a time, little-endian,
// each folded in by a 64 × 64 → 128 bit multiplication, seeded per arena so
// that names cannot be chosen to collide everywhere.
func hashName(seed uint64, name string) uint64 {
	h := seed ^ hashA*uint64(len(name))
	var word [8]byte
	for len(name) >= 8 {
		copy(word[:], name[:8])
		h = fold(h^binary.LittleEndian.Uint64(word[:]), hashB)
		name = name[8:]
	}
	word = [8]byte{}
	copy(word[:], name)
	h = fold(h^binary.LittleEndian.Uint64(word[:]), hashA)
	return fold(h, hashB) | 1<<63 // never zero
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo ^ a
}
