package fuzz

import (
	"context"
	"testing"

	"pgregory.net/rapid"

	"lockd/arena"
)

// rwmutexModel is what a readers-writer lock is for one process: how many read
// locks it has, and whether it holds it upgradably or exclusively.
type rwmutexModel struct {
	*openings
	readers            int
	upgradable, writer bool
	abandoned          bool
	cause              arena.Cause
}

func (m *rwmutexModel) rw(t *rapid.T) *arena.RWMutex { return m.any(t).RWMutex(modelName) }

func (m *rwmutexModel) free() bool { return m.readers == 0 && !m.upgradable && !m.writer }

// takes checks a try, or an acquisition that waits.
func (m *rwmutexModel) takes(t *rapid.T, may bool, try func() bool, wait func(context.Context) error) bool {
	switch {
	case rapid.Bool().Draw(t, "try"):
		if got := tries(may, try); got != may {
			t.Fatalf("try: %v, must be %v", got, may)
		}
	case may:
		comesAbout(t, "acquisition", wait)
	default:
		timesOut(t, "acquisition", wait)
	}
	return may
}

func (m *rwmutexModel) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"read": func(t *rapid.T) {
			rw := m.rw(t)
			if m.takes(t, !m.writer, rw.TryRLock, rw.RLockContext) {
				m.readers++
			}
		},
		"write": func(t *rapid.T) {
			rw := m.rw(t)
			m.writer = m.takes(t, m.free(), rw.TryLock, rw.LockContext) || m.writer
		},
		"upgradable": func(t *rapid.T) {
			rw := m.rw(t)
			m.upgradable = m.takes(t, !m.upgradable && !m.writer, rw.TryULock, rw.ULockContext) || m.upgradable
		},
		"read release": func(t *rapid.T) {
			is(t, "read release", m.rw(t).RRelease(), notHeldUnless(m.readers > 0))
			m.readers = max(0, m.readers-1)
		},
		"read unlock": func(t *rapid.T) {
			is(t, "read unlock", panics(m.rw(t).RUnlock), notHeldUnless(m.readers > 0))
			m.readers = max(0, m.readers-1)
		},
		"release": func(t *rapid.T) {
			is(t, "release", m.rw(t).Release(), notHeldUnless(m.writer))
			m.writer = false
		},
		"upgradable release": func(t *rapid.T) {
			is(t, "upgradable release", m.rw(t).URelease(), notHeldUnless(m.upgradable))
			m.upgradable = false
		},
		"upgrade": func(t *rapid.T) {
			rw := m.rw(t)
			switch {
			case !m.upgradable:
				is(t, "upgrade", rw.Upgrade(context.Background()), arena.ErrNotHeld)
			case m.readers > 0:
				timesOut(t, "upgrade", rw.Upgrade)
			default:
				comesAbout(t, "upgrade", rw.Upgrade)
				m.upgradable, m.writer = false, true
			}
		},
		"try upgrade": func(t *rapid.T) {
			rw := m.rw(t)
			done := false
			may := m.readers == 1 && !m.upgradable && !m.writer
			is(t, "try upgrade", panics(func() { done = tries(may, rw.TryUpgrade) }), notHeldUnless(m.readers > 0))
			if done != may {
				t.Fatalf("try upgrade: %v, must be %v", done, may)
			}
			if done {
				m.readers, m.writer = 0, true
			}
		},
		"downgrade": func(t *rapid.T) {
			is(t, "downgrade", panics(m.rw(t).Downgrade), notHeldUnless(m.writer))
			if m.writer {
				m.writer, m.readers = false, 1
			}
		},
		"downgrade to upgradable": func(t *rapid.T) {
			is(t, "downgrade", panics(m.rw(t).DowngradeToU), notHeldUnless(m.writer))
			m.upgradable, m.writer = m.upgradable || m.writer, false
		},
		"upgradable downgrade": func(t *rapid.T) {
			is(t, "downgrade", panics(m.rw(t).UDowngrade), notHeldUnless(m.upgradable))
			if m.upgradable {
				m.upgradable = false
				m.readers++
			}
		},
		"abandoned": func(t *rapid.T) {
			d, told := m.rw(t).Abandoned()
			if told != (!m.free() && m.abandoned) || told && d.Cause != m.cause {
				t.Fatalf("told %v: %+v, must be %+v", told, d, m)
			}
		},
		"mark": func(t *rapid.T) {
			may := m.writer || m.upgradable
			is(t, "mark", m.rw(t).MarkConsistent(), notHeldUnless(may))
			m.abandoned = m.abandoned && !may
		},
		"fence": func(t *rapid.T) {
			_, err := m.rw(t).Fence()
			is(t, "fence", err, notHeldUnless(m.writer || m.upgradable))
		},
		"panic": func(t *rapid.T) {
			if !m.free() {
				return
			}
			rw := m.rw(t)
			is(t, "panic", panics(func() {
				rw.Do(context.Background(), func(context.Context) error { panic(errOfDo) })
			}), errOfDo)
			m.abandoned, m.cause = true, arena.Panicked
		},
		"crowd": m.crowd,
		"open or close": func(t *rapid.T) {
			m.toggle(t, func(err error) {
				if m.free() {
					is(t, "close", err, nil)
					return
				}
				is(t, "close", err, arena.ErrWasHeld)
				if m.writer {
					m.abandoned, m.cause = true, arena.Closed
				}
				m.readers, m.upgradable, m.writer = 0, false, false
			})
		},
	}
}

func rwmutexProperty(path string) func(*rapid.T) {
	return func(t *rapid.T) {
		m := &rwmutexModel{openings: open(t, path)}
		defer m.close()
		t.Repeat(m.actions())
	}
}

func TestRWMutexModel(t *testing.T) { rapid.Check(t, rwmutexProperty(modelPath(t))) }

func FuzzRWMutexModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(rwmutexProperty(modelPath(f)))) }
