package explore

import "encoding/binary"

// queue holds encoded states in few large pieces.
type queue struct {
	pieces [][]byte
	count  int
	buffer []byte
}

const pieceSize = 1 << 20

func (q *queue) push(data []byte) {
	last := len(q.pieces) - 1
	if last < 0 || cap(q.pieces[last])-len(q.pieces[last]) < len(data)+4 {
		q.pieces = append(q.pieces, make([]byte, 0, pieceSize))
		last++
	}
	p := binary.AppendUvarint(q.pieces[last], uint64(len(data)))
	q.pieces[last] = append(p, data...)
	q.count++
}

// all yields the states in order, and lets go of what it has yielded.
func (q *queue) all(yield func([]byte) bool) {
	for i, piece := range q.pieces {
		q.pieces[i] = nil
		for len(piece) > 0 {
			size, n := binary.Uvarint(piece)
			data := piece[n : n+int(size)]
			piece = piece[n+int(size):]
			if !yield(data) {
				return
			}
		}
	}
}

type bitmap []uint64

func (b *bitmap) set(n uint32) {
	for int(n/64) >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b bitmap) has(n uint32) bool { return int(n/64) < len(b) && b[n/64]>>(n%64)&1 != 0 }

// links are the states that follow each state, in the order of the states.
type links struct {
	first []uint32
	to    []uint32
}

func (l *links) begin()       { l.first = append(l.first, uint32(len(l.to))) }
func (l *links) add(n uint32) { l.to = append(l.to, n) }

func (l *links) of(n uint32) []uint32 {
	if int(n)+1 < len(l.first) {
		return l.to[l.first[n]:l.first[n+1]]
	}
	return l.to[l.first[n]:]
}

// reversed are the states that come before each.
func (l *links) reversed(states int) links {
	r := links{first: make([]uint32, states+1), to: make([]uint32, len(l.to))}
	for _, n := range l.to {
		r.first[n+1]++
	}
	for i := range states {
		r.first[i+1] += r.first[i]
	}
	at := append([]uint32(nil), r.first[:states]...)
	for n := range uint32(states) {
		for _, to := range l.of(n) {
			r.to[at[to]] = n
			at[to]++
		}
	}
	return r
}

// findStranded looks for a state from which no sure way leads to a goal. Of
// those it tells the first.
func (x *search) findStranded() {
	states := int(x.seen.count)
	back := x.forward.reversed(states)
	reaches := append(bitmap(nil), x.goals...)
	var todo []uint32
	for n := range uint32(states) {
		if reaches.has(n) {
			todo = append(todo, n)
		}
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, before := range back.of(n) {
			if !reaches.has(before) {
				reaches.set(before)
				todo = append(todo, before)
			}
		}
	}
	for n := range uint32(states) {
		if !reaches.has(n) {
			x.result.Violation = "somebody waits for ever"
			x.result.Trace = x.trace(n)
			return
		}
	}
}
