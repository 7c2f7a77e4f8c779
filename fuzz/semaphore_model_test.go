package fuzz

import (
	"context"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"lockd/arena"
)

// semaphoreModel is what a semaphore is for one process: its size, and which
// tickets are held together.
type semaphoreModel struct {
	*openings
	size int // 0: there is none
	held []arena.Tickets
	have [][]int
}

const mostModelTickets = 13 // of three records

// sem is a handle to the semaphore that is there, or nil.
func (m *semaphoreModel) sem(t *rapid.T) *arena.Semaphore {
	if m.size == 0 {
		return nil
	}
	return m.any(t).Semaphore(modelName, rapid.SampledFrom([]int{0, m.size}).Draw(t, "told"))
}

func (m *semaphoreModel) inUse() (n int) {
	for _, h := range m.have {
		n += len(h)
	}
	return n
}

// available is how many tickets can be had.
func (m *semaphoreModel) available() int {
	n := m.size
	for _, h := range m.have {
		for _, number := range h {
			if number < m.size {
				n--
			}
		}
	}
	return n
}

func (m *semaphoreModel) got(t *rapid.T, h arena.Tickets, n int) {
	numbers := h.Numbers()
	if len(numbers) != n || h.Count() != n || !slices.IsSorted(numbers) {
		t.Fatalf("asked for %d, got %v", n, numbers)
	}
	for i, number := range numbers {
		if number < 0 || number >= m.size || i > 0 && numbers[i-1] == number {
			t.Fatalf("of %d got %v", m.size, numbers)
		}
		for _, other := range m.have {
			if slices.Contains(other, number) {
				t.Fatalf("got %v, and hold %v", numbers, m.have)
			}
		}
	}
	m.held, m.have = append(m.held, h), append(m.have, numbers)
}

// one is a holding, or -1.
func (m *semaphoreModel) one(t *rapid.T) int {
	if len(m.held) == 0 {
		return -1
	}
	return rapid.IntRange(0, len(m.held)-1).Draw(t, "holding")
}

func (m *semaphoreModel) forget(i int) {
	m.held, m.have = slices.Delete(m.held, i, i+1), slices.Delete(m.have, i, i+1)
}

func (m *semaphoreModel) actions() map[string]func(*rapid.T) {
	number := rapid.IntRange(1, mostModelTickets+1)
	return map[string]func(*rapid.T){
		"make": func(t *rapid.T) {
			n := rapid.IntRange(1, mostModelTickets).Draw(t, "size")
			got, err := m.any(t).Semaphore(modelName, n).Tickets()
			switch {
			case m.size == 0:
				is(t, "make", err, nil)
				m.size = n
			case m.size != n:
				is(t, "make", err, arena.ErrSize)
			case got != n || err != nil:
				t.Fatalf("size %d: %v, must be %d", got, err, n)
			}
		},
		"none": func(t *rapid.T) {
			if m.size == 0 {
				_, err := m.any(t).Semaphore(modelName, 0).Acquire(context.Background(), 1)
				is(t, "acquire", err, arena.ErrNoSemaphore)
			}
		},
		"try": func(t *rapid.T) {
			n := number.Draw(t, "tickets")
			if s := m.sem(t); s != nil {
				var h arena.Tickets
				may := n <= m.available()
				ok := tries(may, func() (ok bool) { h, ok = s.TryAcquire(n); return ok })
				if ok != may {
					t.Fatalf("try of %d: %v, there are %d", n, ok, m.available())
				}
				if ok {
					m.got(t, h, n)
				}
			}
		},
		"acquire": func(t *rapid.T) {
			n := number.Draw(t, "tickets")
			s := m.sem(t)
			if s == nil {
				return
			}
			var h arena.Tickets
			acquire := func(ctx context.Context) (err error) { h, err = s.Acquire(ctx, n); return err }
			switch {
			case n > m.size:
				is(t, "acquire", acquire(context.Background()), arena.ErrTooMany)
			case n > m.available():
				timesOut(t, "acquire", acquire)
			default:
				comesAbout(t, "acquire", acquire)
				m.got(t, h, n)
			}
		},
		"acquire patiently": func(t *rapid.T) {
			n := number.Draw(t, "tickets")
			s := m.sem(t)
			if s == nil {
				return
			}
			var h arena.Tickets
			acquire := func(ctx context.Context) (err error) { h, err = s.AcquirePatiently(ctx, n); return err }
			if n > m.available() {
				timesOut(t, "acquire", acquire)
				return
			}
			comesAbout(t, "acquire", acquire)
			m.got(t, h, n)
		},
		"acquire none": func(t *rapid.T) {
			if s := m.sem(t); s != nil {
				_, err := s.Acquire(context.Background(), rapid.SampledFrom([]int{0, -1, arena.MaxTickets + 1}).Draw(t, "tickets"))
				is(t, "acquire", err, arena.ErrTickets)
			}
		},
		"release": func(t *rapid.T) {
			if i := m.one(t); i >= 0 {
				h := m.held[i]
				is(t, "release", h.Release(), nil)
				m.forget(i)
			}
		},
		"release some": func(t *rapid.T) {
			i := m.one(t)
			if i < 0 {
				return
			}
			some := rapid.SliceOfDistinct(rapid.SampledFrom(m.have[i]), rapid.ID[int]).Draw(t, "numbers")
			is(t, "release", m.held[i].ReleaseSome(append(some, 99)...), arena.ErrNotHeld)
			if len(some) > 0 {
				is(t, "release", m.held[i].ReleaseSome(append(some, some[0])...), arena.ErrTickets)
			}
			is(t, "release", m.held[i].ReleaseSome(some...), nil)
			m.have[i] = slices.DeleteFunc(m.have[i], func(n int) bool { return slices.Contains(some, n) })
			if !slices.Equal(m.held[i].Numbers(), m.have[i]) {
				t.Fatalf("hold %v, must hold %v", m.held[i].Numbers(), m.have[i])
			}
			if len(m.have[i]) == 0 {
				m.forget(i)
			}
		},
		"count": func(t *rapid.T) {
			if s := m.sem(t); s != nil {
				size, err := s.Tickets()
				is(t, "tickets", err, nil)
				n, err := s.InUse()
				is(t, "in use", err, nil)
				if size != m.size || n != m.inUse() {
					t.Fatalf("%d of %d, must be %d of %d", n, size, m.inUse(), m.size)
				}
			}
			all, err := m.any(t).Semaphores()
			is(t, "list", err, nil)
			if (len(all) == 1) != (m.size > 0) || m.size > 0 && all[0] != (arena.SemaphoreInfo{Name: modelName, Tickets: m.size, InUse: m.inUse()}) {
				t.Fatalf("list: %+v", all)
			}
		},
		"resize": func(t *rapid.T) {
			n := number.Draw(t, "size")
			if s := m.sem(t); s != nil {
				is(t, "resize", s.Resize(n), nil)
				m.size = n
			}
		},
		"resize and wait": func(t *rapid.T) {
			n := number.Draw(t, "size")
			s := m.sem(t)
			if s == nil {
				return
			}
			beyond := slices.ContainsFunc(slices.Concat(m.have...), func(number int) bool { return number >= n })
			resize := func(ctx context.Context) error { return s.ResizeWait(ctx, n) }
			if beyond {
				ctx, cancel := context.WithTimeout(context.Background(), short)
				is(t, "resize", resize(ctx), context.DeadlineExceeded)
				cancel()
			} else {
				comesAbout(t, "resize", resize)
			}
			m.size = n
		},
		"destroy": func(t *rapid.T) {
			s := m.sem(t)
			if s == nil {
				return
			}
			if m.inUse() > 0 {
				timesOut(t, "destroy", s.Destroy)
				return
			}
			old := m.sem(t)
			is(t, "look", func() error { _, err := old.Tickets(); return err }(), nil)
			comesAbout(t, "destroy", s.Destroy)
			m.size = 0
			for _, s := range []*arena.Semaphore{s, old} {
				_, err := s.Acquire(context.Background(), 1)
				is(t, "acquire", err, arena.ErrDestroyed)
			}
		},
		"crowd": m.crowd,
		"open or close": func(t *rapid.T) {
			m.toggle(t, func(err error) {
				if m.inUse() > 0 {
					is(t, "close", err, arena.ErrWasHeld)
				} else {
					is(t, "close", err, nil)
				}
				for _, h := range m.held {
					is(t, "release after close", h.Release(), nil)
				}
				m.held, m.have = nil, nil
			})
		},
	}
}

func semaphoreProperty(path string) func(*rapid.T) {
	return func(t *rapid.T) {
		m := &semaphoreModel{openings: open(t, path)}
		defer m.close()
		t.Repeat(m.actions())
	}
}

func TestSemaphoreModel(t *testing.T) { rapid.Check(t, semaphoreProperty(modelPath(t))) }

func FuzzSemaphoreModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(semaphoreProperty(modelPath(f)))) }
