package fuzz

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"lockd/arena"
)

// mutexModel is what a mutex is for one process: held or not, abandoned or
// not, and the last fence.
type mutexModel struct {
	*openings
	held      bool
	abandoned bool
	cause     arena.Cause
	count     int
	fence     uint64
}

const modelName = "the lock"

func (m *mutexModel) mutex(t *rapid.T) *arena.Mutex { return m.any(t).Mutex(modelName) }

func (m *mutexModel) end(cause arena.Cause) {
	m.held, m.abandoned, m.cause = false, true, cause
	m.count++
}

func (m *mutexModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"try": func(t *rapid.T) {
			if got := tries(!m.held, m.mutex(t).TryLock); got == m.held {
				t.Fatalf("try: %v, held: %v", got, m.held)
			}
			m.held = true
		},
		"lock": func(t *rapid.T) {
			if m.held {
				timesOut(t, "lock", m.mutex(t).LockContext)
				return
			}
			comesAbout(t, "lock", m.mutex(t).LockContext)
			m.held = true
		},
		"release": func(t *rapid.T) {
			is(t, "release", m.mutex(t).Release(), notHeldUnless(m.held))
			m.held = false
		},
		"unlock": func(t *rapid.T) {
			is(t, "unlock", panics(m.mutex(t).Unlock), notHeldUnless(m.held))
			m.held = false
		},
		"abandoned": func(t *rapid.T) {
			d, told := m.mutex(t).Abandoned()
			if told != (m.held && m.abandoned) || told && (d.Cause != m.cause || d.Count < 1) {
				t.Fatalf("told %v: %+v, must be %+v", told, d, m)
			}
		},
		"mark": func(t *rapid.T) {
			is(t, "mark", m.mutex(t).MarkConsistent(), notHeldUnless(m.held))
			m.abandoned = m.abandoned && !m.held
		},
		"fence": func(t *rapid.T) {
			n, err := m.mutex(t).Fence()
			is(t, "fence", err, notHeldUnless(m.held))
			if err == nil && n <= m.fence {
				t.Fatalf("fence %d after %d", n, m.fence)
			}
			m.fence = max(n, m.fence)
		},
		"do": func(t *rapid.T) {
			mu := m.mutex(t)
			want := rapid.SampledFrom([]error{nil, errOfDo}).Draw(t, "error")
			if m.held {
				timesOut(t, "do", func(ctx context.Context) error {
					return mu.Do(ctx, func(context.Context) error { t.Fatal("it ran"); return nil })
				})
				return
			}
			is(t, "do", mu.Do(context.Background(), func(context.Context) error {
				if mu.TryLock() {
					t.Fatal("not held inside")
				}
				return want
			}), want)
		},
		"panic": func(t *rapid.T) {
			if m.held {
				return
			}
			mu := m.mutex(t)
			is(t, "panic", panics(func() {
				mu.Do(context.Background(), func(context.Context) error { panic(errOfDo) })
			}), errOfDo)
			m.end(arena.Panicked)
		},
		"another kind": func(t *rapid.T) {
			if m.held || m.abandoned { // then the name is surely there
				is(t, "read", m.any(t).RWMutex(modelName).RLockContext(context.Background()), arena.ErrKind)
			}
		},
		"crowd": m.crowd,
		"open or close": func(t *rapid.T) {
			m.toggle(t, func(err error) {
				if !m.held {
					is(t, "close", err, nil)
					return
				}
				is(t, "close", err, arena.ErrWasHeld)
				m.end(arena.Closed)
			})
		},
	}
}

var errOfDo = errors.New("from inside")

func mutexProperty(path string) func(*rapid.T) {
	return func(t *rapid.T) {
		m := &mutexModel{openings: open(t, path)}
		defer m.close()
		t.Repeat(m.actions())
	}
}

func TestMutexModel(t *testing.T) { rapid.Check(t, mutexProperty(modelPath(t))) }

func FuzzMutexModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(mutexProperty(modelPath(f)))) }
