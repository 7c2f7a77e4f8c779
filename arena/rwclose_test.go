package arena

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"lockd/internal/proc"
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
