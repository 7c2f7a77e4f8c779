package fuzz

import (
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A region is a table of the file; see doc/FORMAT.md. Of most only the first
// entries are in use, and those are what is changed.
var regions = []struct{ start, size, entries int }{
	{0, 8, 56},          // header
	{4096, 64, 64},      // stripes
	{8192, 128, 4},      // members; who opens the file is among the first
	{139264, 192, 16},   // slots
	{335872, 64, 64},    // records
	{368640, 8, 512},    // buckets
	{139264, 192, 1024}, // all slots
	{335872, 64, 512},   // all records
	{385024, 192, 80},   // slots of the second segment
	{64, 8, 48},         // what changes of the header
	{0, 4096, 92},       // anything
}

// A change is ten bytes: how, region, entry (2), word, argument (5).
const changeSize = 10

// changes are applied to an image, or to a file while it is used.
type changes []byte

func (c changes) len() int { return min(len(c)/changeSize, 64) }

// place is where a word is that region, entry and word name.
func place(region, entry, word int, size int) int {
	r := regions[region%len(regions)]
	at := r.start + entry%r.entries*r.size + word*8%r.size
	if at+8 > size {
		at %= size - 8
	}
	return at &^ 7
}

// apply makes one change, and says where.
func (c changes) apply(i int, image []byte) (at int) {
	b := c[i*changeSize : (i+1)*changeSize]
	at = place(int(b[1]), int(binary.LittleEndian.Uint16(b[2:])), int(b[4]), len(image))
	argument := binary.LittleEndian.Uint32(b[5:])
	word := binary.LittleEndian.Uint64(image[at:])
	switch b[0] % 8 {
	case 0:
		word ^= 1 << (argument % 64)
	case 1:
		word = 0
	case 2: // of the same table, or of another
		word = binary.LittleEndian.Uint64(image[place(int(b[1])+int(b[9]%2), int(argument&0xffff), int(argument>>16), len(image)):])
	case 3:
		word = ^uint64(0)
	case 4:
		word = word&^0xffffffff | uint64(argument)
	case 5:
		word = word&0xffffffff | uint64(argument)<<32
	case 6:
		word += uint64(int64(int8(b[9])))
	case 7: // a whole line
		from := place(int(b[1]), int(argument&0xffff), 0, len(image)-lineSize)
		copy(image[at:min(at+lineSize, len(image))], image[from:])
		return at
	}
	binary.LittleEndian.PutUint64(image[at:], word)
	return at
}

// lineSize is the most that a change changes.
const lineSize = 64

// seedChanges calls add with each golden state and some changes.
func seedChanges(add func(golden uint8, change []byte)) {
	for i := range goldens {
		for _, b := range [][]byte{
			nil,
			{0, 3, 1, 0, 0, 40},
			{1, 3, 2, 0, 1, 0},
			{2, 3, 1, 0, 0, 2, 0, 0, 0, 0, 2, 4, 1, 0, 0, 2, 0, 0, 0, 0},
			{4, 3, 1, 0, 3, 1, 0, 0, 0, 0, 4, 3, 2, 0, 3, 2, 0, 0, 0, 0}, // chains that go round
			{5, 3, 1, 0, 3, 0xff, 0xff, 0xff, 0xff, 0, 7, 4, 2, 0, 0, 1, 0, 0, 0, 0},
			{4, 0, 16, 0, 0, 0, 4, 0, 0, 0}, // more segments than there are
		} {
			add(uint8(i), b)
		}
	}
}

// FuzzWords changes words of an arena in one of the golden states, some before
// it is opened and some while it is used. Nobody panics, hangs beyond the
// deadlines, reads where there is nothing, or takes much space.
func FuzzWords(f *testing.F) {
	seedChanges(func(golden uint8, change []byte) {
		f.Add(golden, uint8(64), change)
		f.Add(golden, uint8(0), change)
	})
	image(f, 0)
	path := shmPath(f)
	f.Fuzz(func(t *testing.T, golden, before uint8, bytes []byte) {
		changed := append([]byte(nil), image(t, golden)...)
		c := changes(bytes)
		early := min(int(before), c.len())
		for i := range early {
			c.apply(i, changed)
		}
		put(t, path, changed)
		defer os.Remove(path)
		late, unmap, err := shared(path)
		if err != nil {
			t.Fatal(err)
		}
		defer unmap()
		next := early
		use(t, path, func() {
			if next < c.len() {
				c.apply(next, late)
				next++
			}
		}, false)
	})
}

// shared maps a file as a hostile member does.
func shared(path string) ([]byte, func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s: %w", path, err)
	}
	return b, func() { unix.Munmap(b) }, nil
}
