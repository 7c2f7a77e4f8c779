package arena

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"lockd/internal/proc"
	"lockd/robust"
)

// Everything that can be done with an rwmutex, by several goroutines, while
// the arena is closed under them: each call ends, with what it says, and
// another process finds nothing left.
func TestRWCloseRace(t *testing.T) {
	path := testPath(t)
	other, err := Open(path, &Options{Logger: quiet, MaxLocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := proc.Start(t, "rw-leaver", []string{path})
	for {
		line := p.Next()
		if line == "done" {
			break
		}
		t.Error(line)
	}
	m := other.RWMutex("it")
	m.Lock()
	m.MarkConsistent()
	m.Unlock()
	idleRW(t, path, other)
}

// calm runs f, which may panic only as an ended arena makes it.
func calm(f func()) {
	defer func() {
		switch err := recover().(type) {
		case nil:
		case error:
			if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNotHeld) {
				proc.Say("panic: %v", err)
			}
		default:
			proc.Say("panic: %v", err)
		}
	}()
	f()
}

func init() {
	roles["rw-leaver"] = func(args []string) {
		for range 150 {
			a := reopen(args[0], &Options{Logger: quiet, MaxLocks: 1})
			m := a.RWMutex("it")
			var all sync.WaitGroup
			var begun sync.WaitGroup
			for _, f := range []func(){
				func() { m.RLock(); m.RUnlock() },
				func() {
					m.RLock()
					if m.TryUpgrade() {
						m.Downgrade()
					}
					m.RUnlock()
				},
				func() { m.Lock(); m.Unlock() },
				func() { m.Lock(); m.Downgrade(); m.RUnlock() },
				func() {
					m.ULock()
					if m.Upgrade(context.Background()) == nil {
						m.DowngradeToU()
					}
					m.UDowngrade()
					m.RUnlock()
				},
				func() {
					if m.TryRLock() {
						m.RRelease()
					}
					if m.TryLock() {
						m.Release()
					}
				},
			} {
				begun.Add(1)
				all.Go(func() {
					calm(f)
					begun.Done()
					for range 3000 {
						calm(f)
					}
				})
			}
			begun.Wait()
			for range 100 {
				runtime.Gosched()
			}
			if err := a.Close(); err != nil && !errors.Is(err, ErrWasHeld) {
				proc.Say("close: %v", err)
			}
			all.Wait()
		}
		proc.Say("done")
	}
}

// Close gives back what is held in every mode, wakes who waits, and afterwards
// no handle takes anything.
func TestRWClose(t *testing.T) {
	for _, held := range modes {
		t.Run(held.name, func(t *testing.T) {
			path := testPath(t)
			watcher, err := Open(path, &Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer watcher.Close()
			p := proc.Start(t, "rw-closer", []string{path, held.name})
			p.Expect("held")
			m := watcher.RWMutex("it")
			var wait func()
			if held.name != "R" {
				wait = proc.MustBlock(t, "ULock", m.ULock)
			} else {
				wait = proc.MustBlock(t, "Lock", m.Lock)
			}
			p.Send("close")
			p.Expect("true")
			wait()
			if d, ok := m.Abandoned(); ok != (held.name == "X") || ok && d.Cause != Closed {
				t.Errorf("abandoned: %v, %+v", ok, d)
			}
			m.MarkConsistent()
			if held.name != "R" {
				m.UUnlock()
			} else {
				m.Unlock()
			}
			p.Send("after")
			p.Expect("closed")
		})
	}
}

func init() {
	roles["rw-closer"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		m := a.RWMutex("it")
		for _, way := range modes {
			if way.name == args[1] {
				way.lock(m)
				if way.name == "R" {
					m.RLock()
				}
				ended := make(chan error)
				go func() { ended <- m.LockContext(context.Background()) }()
				proc.Say("held")
				proc.Hear()
				err := a.Close()
				proc.Say("%v", errors.Is(err, ErrWasHeld) && errors.Is(<-ended, ErrClosed))
				proc.Hear()
				way.unlock(m) // does nothing
				m.RUnlock()
				for _, again := range modes {
					if again.try(m) {
						proc.Say("%s after Close", again.name)
					}
					if err := again.wait(m, context.Background()); !errors.Is(err, ErrClosed) {
						proc.Say("%s after Close: %v", again.name, err)
					}
				}
				func() {
					defer func() { proc.Say("closed"); recover() }()
					m.RLock()
					proc.Say("RLock after Close")
				}()
			}
		}
	}
}

// Closing one of several openings wakes who waits through it, in any mode.
func TestRWCloseOneOpening(t *testing.T) {
	a, m := testRW(t)
	for _, way := range modes {
		b, err := Open(a.Path(), &Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		m.Lock()
		wait := proc.MustBlock(t, way.name, func() {
			if err := way.wait(b.RWMutex("it"), context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", way.name, err)
			}
		})
		b.Close()
		wait()
		m.Unlock()
		m.RLock() // a writer that waits for readers
		if b, err = Open(a.Path(), &Options{Logger: quiet}); err != nil {
			t.Fatal(err)
		}
		wait = proc.MustBlock(t, "X", func() {
			if err := b.RWMutex("it").LockContext(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("X beside a reader: %v", err)
			}
		})
		b.Close()
		wait()
		m.RUnlock()
	}
}

// A fast path has taken the word and shut the gate when it finds out that
// somebody reads, and then that its opening was closed: it gives both back.
func TestWriterThroughClosedOpening(t *testing.T) {
	a, b := twoOpenings(t)
	ctx := context.Background()
	m, other := a.RWMutex("m"), b.RWMutex("m")
	m.Lock()
	m.Unlock()
	other.RLock()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	free := func(what string) {
		t.Helper()
		if w := robust.Word(m.binding().slot.word.Load()); !w.IsFree() {
			t.Errorf("after %s the word is %#x", what, w)
		}
		if gate := m.binding().slot.state.Load(); gate != 0 {
			t.Errorf("after %s the gate is %#x", what, gate)
		}
	}
	if err := m.LockContext(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("LockContext: %v", err)
	}
	free("LockContext")
	if !other.TryULock() {
		t.Fatal("the word was not given back")
	}
	if err := m.Upgrade(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("Upgrade: %v", err)
	}
	other.UUnlock()
	free("Upgrade")
	other.RUnlock()
	if !other.TryLock() {
		t.Fatal("nobody holds it, and it cannot be taken")
	}
	other.Unlock()
	free("all")
}
