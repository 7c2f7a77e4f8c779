package explore

import (
	"encoding/binary"
	"math/bits"
)

// The sizes of a state. Models use as much of it as they need; what is zero
// costs a bit or two.
const (
	memorySize = 56
	maxActors  = 8
	logSize    = 48
)

// Addr is a word of memory: shared, private to a process, or a ghost, which
// only the invariants look at.
type Addr uint8

// high is the other half of a word, for who sleeps on it or wakes.
const high Addr = 1 << 7

// status is what an actor is up to.
type status uint8

const (
	running status = iota
	asleep         // at the futex, until somebody wakes it
	woken          // on its way back from the futex
	dead
	ended
)

// Actor is where one thread of control is: what its program has read so far,
// and no more of that than still matters (see P).
type Actor struct {
	status status
	waits  [2]Addr // the words slept on; the second may be 0
	n      uint8   // entries in use
	log    [logSize]uint64
	kinds  [logSize]uint8
}

// State is all that there is at one moment. Address 0 stays zero.
type State struct {
	Mem    [memorySize]uint64
	Actors [maxActors]Actor
}

// Asleep tells whether an actor sleeps at the futex.
func (s *State) Asleep(actor int) bool { return s.Actors[actor].status == asleep }

// Idle tells whether an actor is at the beginning of its program, or past its
// end, or dead.
func (s *State) Idle(actor int) bool {
	a := &s.Actors[actor]
	return a.status == dead || a.status == ended || a.status == running && a.n == 0
}

// Dead tells whether an actor was killed.
func (s *State) Dead(actor int) bool { return s.Actors[actor].status == dead }

// encode appends a state in few bytes; decode undoes it.
func (s *State) encode(to []byte) []byte {
	to = encodeWords(to, s.Mem[:])
	for i := range s.Actors {
		a := &s.Actors[i]
		if a.status == running && a.n == 0 {
			to = append(to, 0)
			continue
		}
		to = append(to, 1+byte(a.status), byte(a.waits[0]), byte(a.waits[1]), a.n)
		to = append(to, a.kinds[:a.n]...)
		to = encodeWords(to, a.log[:a.n])
	}
	return to
}

func (s *State) decode(from []byte) {
	*s = State{}
	from = decodeWords(from, s.Mem[:])
	for i := range s.Actors {
		a := &s.Actors[i]
		if from[0] == 0 {
			from = from[1:]
			continue
		}
		a.status, a.waits, a.n = status(from[0]-1), [2]Addr{Addr(from[1]), Addr(from[2])}, from[3]
		copy(a.kinds[:a.n], from[4:])
		from = decodeWords(from[4+int(a.n):], a.log[:a.n])
	}
}

// encodeWords writes which words are not zero, and those.
func encodeWords(to []byte, words []uint64) []byte {
	var there uint64
	for i, w := range words {
		if w != 0 {
			there |= 1 << i
		}
	}
	to = binary.AppendUvarint(to, there)
	for ; there != 0; there &= there - 1 {
		// A word's upper half changes little, so it is small where it is not 0.
		w := words[bits.TrailingZeros64(there)]
		to = binary.AppendUvarint(to, w&(1<<32-1))
		to = binary.AppendUvarint(to, w>>32)
	}
	return to
}

func decodeWords(from []byte, words []uint64) []byte {
	next := func() uint64 {
		v, n := binary.Uvarint(from)
		from = from[n:]
		return v
	}
	for there := next(); there != 0; there &= there - 1 {
		low := next()
		words[bits.TrailingZeros64(there)] = next()<<32 | low
	}
	return from
}
