package main

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"lockd/arena"
)

var rangesKind = kind{
	name: "ranges", weight: 4, ledger: unsafe.Sizeof([rangesNames]strip{}), turn: rangesTurn,
	sit: func(part unsafe.Pointer, w who) {
		for i := range (*[rangesNames]strip)(part) {
			(*[rangesNames]strip)(part)[i].places[w.seat()].sit(w)
		}
	},
}

const (
	rangesNames = 2
	cells       = 12
	cellLength  = 1 << 20
)

// strip is who has which cell of a Ranges, and how; each seat has a place of
// its own. A cell is cellLength offsets, the last one all there are.
type strip struct {
	places [maxSeats]cellsOf
}

type cellsOf struct {
	who               atomic.Uint64
	shared, exclusive [cells]atomic.Int32
	_                 [24]byte
}

func (p *cellsOf) sit(w who) {
	for i := range cells {
		p.shared[i].Store(0)
		p.exclusive[i].Store(0)
	}
	p.who.Store(uint64(w))
}

// inside is who has a cell now.
func (s *strip) inside(b *board, me *cellsOf, cell int) (shared, exclusive int32) {
	for i := range s.places {
		p := &s.places[i]
		x, e := p.shared[cell].Load(), p.exclusive[cell].Load()
		if x|e != 0 && (p == me || !who(p.who.Load()).isDead(b)) {
			shared, exclusive = shared+x, exclusive+e
		}
	}
	return shared, exclusive
}

// renter is one holder of ranges, what it has of each cell, and what it can do.
type renter struct {
	*turn
	name  string
	strip *strip
	me    *cellsOf
	has   [cells]arena.Mode // 0: nothing
}

func (t *turn) renter(name string, s *strip) *renter {
	return &renter{turn: t, name: name, strip: s, me: &s.places[t.seat]}
}

// note changes what is written down of a cell.
func (h *renter) note(cell int, mode arena.Mode) {
	count := func(mode arena.Mode, n int32) {
		switch mode {
		case arena.Shared:
			h.me.shared[cell].Add(n)
		case arena.Exclusive:
			h.me.exclusive[cell].Add(n)
		}
	}
	count(h.has[cell], -1)
	count(mode, 1)
	h.has[cell] = mode
}

// look looks at who else is in the cells that h has.
func (h *renter) look() {
	for cell, mode := range h.has {
		if mode == 0 {
			continue
		}
		shared, exclusive := h.strip.inside(h.board, h.me, cell)
		if mode == arena.Shared && exclusive > 0 || mode == arena.Exclusive && (exclusive != 1 || shared > 0) {
			h.violated("%s in %s: %v has cell %d %v, of which %d are shared, %d exclusive\n%s",
				h.name, h.opening.name, h.turn.me, cell, mode, shared, exclusive, h.picture(h.name))
		}
	}
}

// offsets are those of cells from one to another.
func offsets(from, to int) (start, length int64) {
	if start = int64(from) * cellLength; to < cells {
		length = int64(to-from) * cellLength
	}
	return start, length
}

func (h *renter) someCells() (from, to int) {
	from = h.r.IntN(cells)
	return from, min(cells, from+1+h.r.IntN(4))
}

// take has f take cells, and writes down that it did, if it did. What becomes
// weaker is written down before, for others may be there at once.
func (h *renter) take(mode arena.Mode, from, to int, f func(start, length int64) bool) bool {
	had := h.has
	if mode == arena.Shared {
		for cell := from; cell < to; cell++ {
			if had[cell] == arena.Exclusive {
				h.note(cell, arena.Shared)
			}
		}
	}
	taken := f(offsets(from, to))
	for cell := from; cell < to; cell++ {
		if taken {
			h.note(cell, mode)
		} else {
			h.note(cell, had[cell])
		}
	}
	h.look()
	return taken
}

// give writes down, before it is so, what is given back.
func (h *renter) give(from, to int, f func(start, length int64) error) {
	for cell := from; cell < to; cell++ {
		h.note(cell, 0)
	}
	if err := f(offsets(from, to)); err != nil {
		h.violated("%s in %s: %v", h.name, h.opening.name, err)
	}
}

// ranges are what the holder must have, pieces that touch being one.
func (h *renter) ranges() (all []arena.Range) {
	for from := 0; from < cells; {
		to := from + 1
		for to < cells && h.has[to] == h.has[from] {
			to++
		}
		if h.has[from] != 0 {
			start, length := offsets(from, to)
			all = append(all, arena.Range{Start: start, Length: length, Mode: h.has[from]})
		}
		from = to
	}
	return all
}

// rangesTurn takes some cells, patiently, then more, converts and gives back
// parts. Who has something waits only for a moment, for others may wait for it.
func rangesTurn(t *turn) {
	i := t.r.IntN(rangesNames)
	h := t.renter(fmt.Sprintf("ranges %d", i), &(*[rangesNames]strip)(t.part)[i])
	r := t.a.Ranges(h.name)
	for step := range 1 + t.r.IntN(5) {
		from, to := h.someCells()
		mode := arena.Shared
		if t.r.IntN(2) == 0 {
			mode = arena.Exclusive
		}
		switch n := t.r.IntN(8); {
		case step > 0 && n < 3:
			h.give(from, to, r.Release)
		case n < 5:
			h.take(mode, from, to, func(start, length int64) bool {
				taken, err := r.TryLock(mode, start, length)
				t.failed(h.name, attempt{}, err)
				return taken
			})
		default:
			try := t.attempt()
			if h.has != [cells]arena.Mode{} {
				try.end()
				try = t.soon()
			}
			h.take(mode, from, to, func(start, length int64) bool {
				return !t.failed(h.name, try, r.Lock(try, mode, start, length))
			})
			try.end()
		}
		t.dwell()
		if held := r.Held(); !slices.Equal(held, h.ranges()) {
			t.violated("%s in %s: holds %v, should hold %v", h.name, t.opening.name, held, h.ranges())
		}
	}
	h.look()
	h.give(0, cells, func(int64, int64) error { return r.ReleaseAll() })
}
