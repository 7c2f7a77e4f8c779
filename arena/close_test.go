package arena

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

func TestUseAfterClose(t *testing.T) {
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	used, fresh := a.Mutex("used"), a.Mutex("fresh")
	used.Lock()
	used.Unlock()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	for _, m := range []*Mutex{used, fresh, a.Mutex("made afterwards")} {
		if m.TryLock() {
			t.Errorf("%s: TryLock took it", m.Name())
		}
		if err := recovered(m.Lock); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Lock panics with: %v", m.Name(), err)
		}
		if err := m.LockContext(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: LockContext: %v", m.Name(), err)
		}
		if err := m.Do(ctx, func(context.Context) error { t.Error("Do ran"); return nil }); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Do: %v", m.Name(), err)
		}
		if err := m.MarkConsistent(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: MarkConsistent: %v", m.Name(), err)
		}
		if _, err := m.Fence(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: Fence: %v", m.Name(), err)
		}
		if _, ok := m.Abandoned(); ok {
			t.Errorf("%s: abandoned", m.Name())
		}
		if err := recovered(m.Unlock); err != nil {
			t.Errorf("%s: Unlock panics with: %v", m.Name(), err)
		}
	}
	if err := a.Here(ctx, func(context.Context) error { t.Error("Here ran"); return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Here: %v", err)
	}
	if a.Path() != path {
		t.Errorf("Path: %s", a.Path())
	}
	s, err := ReadSnapshot(path)
	if err != nil || len(s.Members) != 0 || len(s.Locks) != 1 || s.Locks[0].Held() {
		t.Errorf("%v, members %v, locks %v", err, s.Members, s.Locks)
	}
}

func TestCloseWhileHolding(t *testing.T) {
	path := testPath(t)
	a, err := Open(path, &Options{Label: "here", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	other := startActor(t, path, "other")
	other.must("held", "lock theirs")
	for i := range 20 {
		a.Mutex("ours" + strconv.Itoa(i)).Lock()
	}
	other.Send("lock ours0")
	other.Silent()
	m := a.Mutex("ours1")
	err = a.Close()
	if !errors.Is(err, ErrWasHeld) || !strings.Contains(err.Error(), "20 ") || !strings.Contains(err.Error(), `"ours`) {
		t.Errorf("Close: %v", err)
	}
	other.Expect(heirOf(unix.Getpid(), "here", Closed, 1))
	m.Unlock() // not ours any more, and no harm
	other.must(heirOf(unix.Getpid(), "here", Closed, 1), "try ours1")
	m.Unlock()
	other.must("ok", "unlock ours1")

	// A second opening keeps the process's locks.
	a, err = Open(path, &Options{Label: "again", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Mutex("kept").Lock()
	if err := a.Close(); err != nil {
		t.Errorf("closing one of two: %v", err)
	}
	other.must("busy", "try kept")
	if err := b.Mutex("kept").Release(); err != nil {
		t.Error(err)
	}
	other.must("held", "try kept")
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWakesWaiters(t *testing.T) {
	for _, inside := range []bool{false, true} {
		t.Run(fmt.Sprintf("held_here=%v", inside), func(t *testing.T) {
			t.Parallel()
			path := testPath(t)
			a, err := Open(path, &Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			other := startActor(t, path, "other")
			m := a.Mutex("a")
			if inside {
				m.Lock()
			} else {
				other.must("held", "lock a")
			}
			const each = 5
			errs := make(chan error, 3*each)
			for range each {
				go func() { errs <- m.LockContext(context.Background()) }()
				go func() { errs <- m.Do(context.Background(), func(context.Context) error { return nil }) }()
				go func() { errs <- recovered(m.Lock) }()
			}
			for {
				if s, err := ReadSnapshot(path); err == nil && len(s.Locks) == 1 && s.Locks[0].Waiters == 3*each {
					break
				}
			}
			if err := a.Close(); inside != errors.Is(err, ErrWasHeld) {
				t.Errorf("Close: %v", err)
			}
			for range 3 * each {
				select {
				case err := <-errs:
					if !errors.Is(err, ErrClosed) {
						t.Errorf("a waiter was told: %v", err)
					}
				case <-time.After(proc.Soon):
					t.Fatal("a waiter sleeps on")
				}
			}
		})
	}
}

// Everything that there is to call, while the arena closes, and afterwards: a
// result that is defined, and no fault.
func TestCloseRace(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	other := proc.Start(t, "rival", []string{path})
	other.Expect("ready")
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	const goroutines = 12
	for round := range rounds {
		a, err := Open(path, &Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		m := a.Mutex("contended")
		var started, done sync.WaitGroup
		over := make(chan struct{})
		started.Add(goroutines)
		for g := range goroutines {
			done.Go(func() {
				started.Done()
				i := 0
				for ; ; i++ {
					err := useArena(a, m, g, i)
					if errors.Is(err, ErrClosed) || a.closed.Load() {
						break
					}
					if err != nil {
						t.Errorf("round %d: %v", round, err)
					}
				}
				<-over
				for late := range 12 {
					if err := useArena(a, m, g, i+late); err != nil && !errors.Is(err, ErrClosed) {
						t.Errorf("round %d: %v", round, err)
					}
				}
			})
		}
		started.Wait()
		for end := time.Now().Add(time.Duration(round%50) * 10 * time.Microsecond); time.Now().Before(end); {
		}
		if err := a.Close(); err != nil && !errors.Is(err, ErrWasHeld) {
			t.Errorf("round %d: Close: %v", round, err)
		}
		// The old handles go on while the file is open anew.
		b, err := Open(path, &Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		close(over)
		if err := b.Mutex("contended").LockContext(context.Background()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if m.TryLock() {
			t.Errorf("round %d: a handle of the closed arena took the lock", round)
		}
		if err := b.Mutex("contended").MarkConsistent(); err != nil {
			t.Errorf("round %d: the lock was lost: %v", round, err)
		}
		done.Wait()
		if err := b.Mutex("contended").Release(); err != nil {
			t.Errorf("round %d: the lock was released through a handle of the closed arena: %v", round, err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("round %d: Close: %v", round, err)
		}
		if t.Failed() {
			break
		}
	}
	other.Send("stop")
	other.Expect("stopped")
}

// useArena calls one thing after another. Unlock's panic for what is not held
// is expected only of whoever lost a race for it to nobody.
func useArena(a *Arena, m *Mutex, g, i int) (err error) {
	ctx := context.Background()
	switch (g + i) % 6 {
	case 0:
		if err = recovered(m.Lock); err == nil {
			return recovered(m.Unlock)
		}
	case 1:
		if m.TryLock() {
			m.Abandoned()
			m.MarkConsistent()
			return m.Release()
		}
	case 2:
		if err = m.LockContext(ctx); err == nil {
			m.Fence()
			return m.Release()
		}
	case 3:
		return m.Do(ctx, func(context.Context) error { return nil })
	case 4:
		own := a.Mutex(fmt.Sprint("own ", g, " ", i%100))
		if err = own.LockContext(ctx); err == nil {
			return recovered(own.Unlock)
		}
	default:
		return a.Here(ctx, func(context.Context) error { return nil })
	}
	return err
}

func init() {
	roles["rival"] = func(args []string) {
		a := reopen(args[0], &Options{Label: "rival", Logger: quiet})
		m := a.Mutex("contended")
		stop := make(chan struct{})
		go func() { proc.Hear(); close(stop) }()
		proc.Say("ready")
		for {
			select {
			case <-stop:
				proc.Say("stopped")
				return
			default:
				m.Lock()
				m.MarkConsistent()
				m.Unlock()
			}
		}
	}
}

// Openings come and go in one process; whoever has one open has the lock's
// exclusion, and nobody else's closing ends it.
func TestOpenAndCloseRace(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	rounds := 200
	if testing.Short() {
		rounds = 30
	}
	var inside atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range rounds {
				a, err := Open(path, &Options{Logger: quiet})
				if err != nil {
					t.Error(err)
					return
				}
				m := a.Mutex("a")
				m.Lock()
				if inside.Add(1) != 1 {
					t.Error("two have it")
				}
				inside.Add(-1)
				if err := m.Release(); err != nil {
					t.Error(err)
				}
				if err := a.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
