package fuzz

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lockd/arena"
)

// rangesModel is what ranges are for one process: a few holders, and the mode
// in which each has each cell. A cell is ten offsets, the last one all there are.
type rangesModel struct {
	*openings
	holders [3]modelHolder
}

type modelHolder struct {
	r       *arena.Ranges
	opening *arena.Arena // that it was made through
	cells   [modelCells]arena.Mode
}

const (
	modelCells      = 12
	modelCellLength = 10
)

func modelSpan(from, to int) (start, length int64) {
	if start = int64(from) * modelCellLength; to < modelCells {
		length = int64(to-from) * modelCellLength
	}
	return start, length
}

// holds is what the holder must say that it holds.
func (h *modelHolder) holds() (all []arena.Range) {
	for from := 0; from < modelCells; {
		to := from + 1
		for to < modelCells && h.cells[to] == h.cells[from] {
			to++
		}
		if mode := h.cells[from]; mode != 0 {
			start, length := modelSpan(from, to)
			all = append(all, arena.Range{Start: start, Length: length, Mode: mode})
		}
		from = to
	}
	return all
}

func (h *modelHolder) set(from, to int, mode arena.Mode) {
	for cell := from; cell < to; cell++ {
		h.cells[cell] = mode
	}
}

func (m *rangesModel) holder(t *rapid.T) *modelHolder {
	h := &m.holders[rapid.IntRange(0, len(m.holders)-1).Draw(t, "holder")]
	if h.r == nil {
		h.opening = m.any(t)
		h.r = h.opening.Ranges(modelName)
	}
	return h
}

func someCells(t *rapid.T) (from, to int) {
	from = rapid.IntRange(0, modelCells-1).Draw(t, "from")
	return from, rapid.IntRange(from+1, modelCells).Draw(t, "to")
}

// barred tells whether another holder is in the way.
func (m *rangesModel) barred(h *modelHolder, from, to int, mode arena.Mode) bool {
	for i := range m.holders {
		other := &m.holders[i]
		for cell := from; cell < to; cell++ {
			if theirs := other.cells[cell]; other != h && theirs != 0 && (theirs == arena.Exclusive || mode == arena.Exclusive) {
				return true
			}
		}
	}
	return false
}

func (m *rangesModel) held() bool {
	return slices.ContainsFunc(m.holders[:], func(h modelHolder) bool { return h.cells != [modelCells]arena.Mode{} })
}

func (m *rangesModel) actions() map[string]func(*rapid.T) {
	modes := rapid.SampledFrom([]arena.Mode{arena.Shared, arena.Exclusive})
	return map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			for i := range m.holders {
				if h := &m.holders[i]; h.r != nil && !slices.Equal(h.r.Held(), h.holds()) {
					t.Fatalf("holder %d holds %v, must hold %v", i, h.r.Held(), h.holds())
				}
			}
		},
		"take": func(t *rapid.T) {
			h, mode := m.holder(t), modes.Draw(t, "mode")
			from, to := someCells(t)
			start, length := modelSpan(from, to)
			lock := func(ctx context.Context) error { return h.r.Lock(ctx, mode, start, length) }
			barred, try := m.barred(h, from, to, mode), rapid.Bool().Draw(t, "try")
			switch {
			case !slices.Contains(m.all[:], h.opening):
				_, err := h.r.TryLock(mode, start, length)
				is(t, "try", err, arena.ErrClosed)
				is(t, "lock", lock(context.Background()), arena.ErrClosed)
				return
			case try:
				var err error
				got := tries(!barred, func() (got bool) {
					got, err = h.r.TryLock(mode, start, length)
					return got || err != nil
				})
				if got == barred || err != nil {
					t.Fatalf("try: %v, %v; barred: %v", got, err, barred)
				}
			case barred:
				timesOut(t, "lock", lock)
			default:
				comesAbout(t, "lock", lock)
			}
			if !barred {
				h.set(from, to, mode)
			}
		},
		"release": func(t *rapid.T) {
			h := m.holder(t)
			from, to := someCells(t)
			is(t, "release", h.r.Release(modelSpan(from, to)), nil)
			h.set(from, to, 0)
		},
		"release all": func(t *rapid.T) {
			h := m.holder(t)
			is(t, "release", h.r.ReleaseAll(), nil)
			*h = modelHolder{} // the next one is another
		},
		"do": func(t *rapid.T) {
			h, mode := m.holder(t), modes.Draw(t, "mode")
			from, to := someCells(t)
			if m.barred(h, from, to, mode) || !slices.Contains(m.all[:], h.opening) {
				return
			}
			start, length := modelSpan(from, to)
			is(t, "do", h.r.Do(context.Background(), mode, start, length, func(context.Context) error {
				h.set(from, to, mode)
				if !slices.Equal(h.r.Held(), h.holds()) {
					t.Fatalf("holds %v inside, must hold %v", h.r.Held(), h.holds())
				}
				return errOfDo
			}), errOfDo)
			h.set(from, to, 0)
		},
		"no range": func(t *rapid.T) {
			h := m.holder(t)
			start := rapid.SampledFrom([]int64{-1, 1<<63 - 1}).Draw(t, "start")
			is(t, "lock", h.r.Lock(context.Background(), arena.Shared, start, 2), arena.ErrRange)
			is(t, "release", h.r.Release(start, -1), arena.ErrRange)
		},
		"another kind": func(t *rapid.T) {
			if m.held() { // then the name is surely there
				is(t, "lock", m.any(t).Mutex(modelName).LockContext(context.Background()), arena.ErrKind)
			}
		},
		"crowd": m.crowd,
		"open or close": func(t *rapid.T) {
			m.toggle(t, func(err error) {
				if m.held() {
					is(t, "close", err, arena.ErrWasHeld)
				} else {
					is(t, "close", err, nil)
				}
				for i := range m.holders {
					if h := &m.holders[i]; h.r != nil {
						is(t, "release after close", h.r.ReleaseAll(), nil)
					}
					m.holders[i] = modelHolder{}
				}
			})
		},
	}
}

func rangesProperty(path string) func(*rapid.T) {
	return func(t *rapid.T) {
		m := &rangesModel{openings: open(t, path)}
		defer m.close()
		t.Repeat(m.actions())
	}
}

func TestRangesModel(t *testing.T) { rapid.Check(t, rangesProperty(modelPath(t))) }

func FuzzRangesModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(rangesProperty(modelPath(f)))) }
