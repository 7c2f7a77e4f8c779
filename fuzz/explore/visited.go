package explore

import (
	"encoding/binary"
	"math/bits"
)

// print128 stands for a state in the set of those seen. Of a hundred million
// states two share one with a probability of 1 in 10^22.
type print128 struct{ a, b uint64 }

func printOf(data []byte) print128 {
	p := print128{0x9e3779b97f4a7c15, 0xd1b54a32d192ed03 ^ uint64(len(data))}
	mix := func(v uint64) {
		h, l := bits.Mul64(p.a^v, 0xa0761d6478bd642f)
		p.a = h ^ l ^ p.b
		h, l = bits.Mul64(p.b^bits.RotateLeft64(v, 32), 0xe7037ed1a0b428db)
		p.b = h ^ l + p.a
	}
	for ; len(data) >= 8; data = data[8:] {
		mix(binary.LittleEndian.Uint64(data))
	}
	var rest [8]byte
	copy(rest[:], data)
	mix(binary.LittleEndian.Uint64(rest[:]))
	mix(0)
	if p == (print128{}) {
		p.a = 1
	}
	return p
}

// visited numbers the states in the order in which they were met.
type visited struct {
	prints  []print128 // open addressing; zero is an empty place
	numbers []uint32
	count   uint32
}

func newVisited() *visited {
	return &visited{prints: make([]print128, 1<<16), numbers: make([]uint32, 1<<16)}
}

// add returns a state's number, and whether it is new.
func (v *visited) add(p print128) (uint32, bool) {
	if int(v.count) > len(v.prints)/4*3 {
		v.grow()
	}
	mask := uint64(len(v.prints) - 1)
	for i := p.a & mask; ; i = (i + 1) & mask {
		switch v.prints[i] {
		case p:
			return v.numbers[i], false
		case print128{}:
			v.prints[i], v.numbers[i] = p, v.count
			v.count++
			return v.count - 1, true
		}
	}
}

func (v *visited) grow() {
	old := *v
	v.prints, v.numbers = make([]print128, 2*len(old.prints)), make([]uint32, 2*len(old.prints))
	mask := uint64(len(v.prints) - 1)
	for k, p := range old.prints {
		if p == (print128{}) {
			continue
		}
		i := p.a & mask
		for v.prints[i] != (print128{}) {
			i = (i + 1) & mask
		}
		v.prints[i], v.numbers[i] = p, old.numbers[k]
	}
}
