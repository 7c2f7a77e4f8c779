package arena

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"lockd/internal/proc"
)

// rangeModel is what ranges are, done naively: for each holder the mode of each
// cell, and a list of requests that wait. Its last cell goes on to the end.
type rangeModel struct {
	cells [modelHolders][modelCells]Mode // 0: not held
	queue []*modelRequest                // by arrival
}

const (
	modelCells   = 24
	modelHolders = 5
)

type modelRequest struct {
	holder, from, to int // to is exclusive
	mode             Mode
	cancel           func()
	done             chan error
}

func excludes(a, b Mode) bool { return a != 0 && b != 0 && (a == Exclusive || b == Exclusive) }

// barred tells whether a request waits for others: q may be in the queue, and
// only what comes before it there counts.
func (m *rangeModel) barred(q *modelRequest) bool {
	for h := range m.cells {
		for i := q.from; i < q.to; i++ {
			if h != q.holder && excludes(m.cells[h][i], q.mode) {
				return true
			}
		}
	}
	for _, p := range m.queue {
		if p == q {
			return false
		}
		from, to := max(p.from, q.from), min(p.to, q.to)
		if p.holder == q.holder || from >= to || !excludes(p.mode, q.mode) {
			continue
		}
		mine := &m.cells[q.holder]
		all, inItsWay := true, false
		for i := p.from; i < p.to; i++ {
			inItsWay = inItsWay || excludes(mine[i], p.mode)
			all = all && (i < from || i >= to || mine[i] != 0)
		}
		if !all && !inItsWay {
			return true
		}
	}
	return false
}

func (m *rangeModel) take(q *modelRequest) {
	for i := q.from; i < q.to; i++ {
		m.cells[q.holder][i] = q.mode
	}
}

func (m *rangeModel) release(holder, from, to int) {
	for i := from; i < to; i++ {
		m.cells[holder][i] = 0
	}
}

// serve grants what can be granted, and returns it.
func (m *rangeModel) serve() (granted []*modelRequest) {
	for k := 0; k < len(m.queue); {
		q := m.queue[k]
		if m.barred(q) {
			k++
			continue
		}
		m.take(q)
		m.queue = slices.Delete(m.queue, k, k+1)
		granted = append(granted, q)
		k = 0 // it may have made something shared that was exclusive
	}
	return granted
}

func (m *rangeModel) held(holder int) (all []Range) {
	row := m.cells[holder]
	for i := 0; i < modelCells; {
		end := i
		for end < modelCells && row[end] == row[i] {
			end++
		}
		if row[i] != 0 {
			start, length := modelSpan(i, end)
			all = append(all, Range{start, length, row[i]})
		}
		i = end
	}
	return all
}

// modelSpan is where cells are: the last ones end at the end of all.
func modelSpan(from, to int) (start, length int64) {
	if to == modelCells {
		return int64(from) * 10, 0
	}
	return int64(from) * 10, int64(to-from) * 10
}

// Random operations of several holders, some of which wait, do exactly what the
// naive model does, in the same order.
func TestRangesModel(t *testing.T) {
	seeds, steps := 40, 400
	if testing.Short() {
		seeds = 8
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { followModel(t, rand.New(rand.NewPCG(seed, 7)), steps) })
	}
}

func followModel(t *testing.T, random *rand.Rand, steps int) {
	a := testArena(t, nil)
	var m rangeModel
	var holders [modelHolders]*Ranges
	for i := range holders {
		holders[i] = a.Ranges("model")
	}
	waits := make(map[int]*modelRequest) // by holder
	settle := func() {
		for _, q := range m.serve() {
			if err := <-q.done; err != nil {
				t.Fatalf("holder %d, %d … %d: %v", q.holder, q.from, q.to, err)
			}
			delete(waits, q.holder)
		}
		for i, r := range holders {
			if got, want := r.Held(), m.held(i); !slices.Equal(got, want) {
				t.Fatalf("holder %d holds %v, should hold %v", i, got, want)
			}
		}
		if got := waitingRanges(a); got != len(m.queue) {
			t.Fatalf("%d requests wait, %d should", got, len(m.queue))
		}
	}
	for step := range steps {
		h := random.IntN(modelHolders)
		from := random.IntN(modelCells)
		to := from + 1 + random.IntN(modelCells-from)
		if random.IntN(3) > 0 {
			to = min(to, from+4)
		}
		start, length := modelSpan(from, to)
		q := &modelRequest{holder: h, from: from, to: to, mode: Mode(1 + random.IntN(2)), done: make(chan error, 1)}
		what := random.IntN(10)
		switch w := waits[h]; {
		case w != nil && what < 3: // it gives up
			w.cancel()
			if err := <-w.done; !errors.Is(err, context.Canceled) {
				t.Fatalf("step %d: %v", step, err)
			}
			m.queue = slices.DeleteFunc(m.queue, func(q *modelRequest) bool { return q == w })
			delete(waits, h)
		case w != nil || what < 3: // a part, or all
			if random.IntN(12) == 0 {
				from, to, start, length = 0, modelCells, 0, 0
				if err := holders[h].ReleaseAll(); err != nil {
					t.Fatal(err)
				}
			} else if err := holders[h].Release(start, length); err != nil {
				t.Fatal(err)
			}
			m.release(h, from, to)
		case what < 6:
			got, err := holders[h].TryLock(q.mode, start, length)
			if want := !m.barred(q); got != want || err != nil {
				t.Fatalf("step %d: a try is %v (%v), should be %v", step, got, err, want)
			} else if got {
				m.take(q)
			}
		default:
			ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
			defer cancel()
			barred, before := m.barred(q), len(m.queue)
			q.cancel = cancel
			go func() { q.done <- holders[h].Lock(ctx, q.mode, start, length) }()
			if !barred {
				if err := <-q.done; err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				m.take(q)
				break
			}
			for waitingRanges(a) <= before {
				select {
				case err := <-q.done:
					t.Fatalf("step %d: it does not wait for who goes before it (%v)", step, err)
				default:
				}
			}
			m.queue = append(m.queue, q)
			waits[h] = q
		}
		settle()
	}
	for _, w := range waits {
		w.cancel()
		<-w.done
	}
	for _, r := range holders {
		r.ReleaseAll()
	}
	expectNoRanges(t, a)
}

// waitingRanges counts the requests that wait for ranges of the arena.
func waitingRanges(a *Arena) (n int) {
	a.core.eachRange(func(_ uint32, _ *rangeRecord, owner uint64) {
		if kindOfRecord(owner).isRangeWait() {
			n++
		}
	})
	return n
}

// expectNoRanges fails the test if any record is of ranges still, or any slot
// of a Ranges is not idle.
func expectNoRanges(t testing.TB, a *Arena) {
	t.Helper()
	settleWhole(t, a)
	kinds := make(map[recordKind]int)
	a.core.noticeGrowth()
	a.core.eachRange(func(_ uint32, _ *rangeRecord, owner uint64) { kinds[kindOfRecord(owner)]++ })
	if len(kinds) > 0 {
		t.Errorf("records of ranges in use, by kind: %v", kinds)
	}
	for i := uint32(1); i < a.core.head.bump.Load(); i++ {
		s := a.core.slotAt(i)
		if life := slotLife(s.life.Load()); life.isLive() && life.kind() == KindRanges && (s.records.Load() != 0 || s.state.Load() != 0) {
			t.Errorf("the tree of slot %d has root %d, %d wait", i, s.records.Load(), s.state.Load())
		}
	}
}
