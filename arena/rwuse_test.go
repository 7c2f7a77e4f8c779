package arena

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/internal/proc"
)

// Misuse panics, or is an error, and leaves the lock as it was.
func TestRWMisuse(t *testing.T) {
	a, m := testRW(t)
	other := a.RWMutex("another")
	type act struct {
		name string
		do   func()
	}
	all := map[string]act{
		"R": {"RUnlock", m.RUnlock}, "U": {"UUnlock", m.UUnlock}, "X": {"Unlock", m.Unlock},
	}
	for _, held := range []string{"", "R", "U", "X"} {
		for _, way := range modes {
			if way.name == held {
				way.lock(m)
			}
		}
		for mode, release := range all {
			if mode != held {
				mustPanic(t, held+" "+release.name, release.do)
			}
		}
		if held != "X" {
			mustPanic(t, held+" Downgrade", m.Downgrade)
			mustPanic(t, held+" DowngradeToU", m.DowngradeToU)
		}
		if held != "U" {
			mustPanic(t, held+" UDowngrade", m.UDowngrade)
			if err := m.Upgrade(context.Background()); !errors.Is(err, ErrNotHeld) {
				t.Errorf("%s Upgrade: %v", held, err)
			}
		}
		if held != "R" {
			mustPanic(t, held+" TryUpgrade", func() { m.TryUpgrade() })
		}
		if _, err := m.Fence(); (err == nil) != (held == "U" || held == "X") {
			t.Errorf("%s Fence: %v", held, err)
		}
		for _, way := range modes { // still held, and only so
			if got, want := way.try(m), held == "" || together(held, way.name); got != want {
				t.Errorf("held %q: try %s is %v", held, way.name, got)
			} else if got {
				way.unlock(m)
			}
		}
		for _, way := range modes {
			if way.name == held {
				way.unlock(m)
			}
		}
	}
	mustPanic(t, "RUnlock of a name never used", other.RUnlock)
	a.Mutex("a mutex").Lock()
	defer a.Mutex("a mutex").Unlock()
	err := a.RWMutex("a mutex").RLockContext(context.Background())
	if !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "mutex") || !strings.Contains(err.Error(), "rwmutex") {
		t.Errorf("a mutex as an rwmutex: %v", err)
	}
	if err := a.RWMutex("").RLockContext(context.Background()); !errors.Is(err, ErrName) {
		t.Errorf("no name: %v", err)
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s: %v", what, err)
		}
	}()
	f()
}

// Upgrading and downgrading let nobody in between: a writer that waits gets in
// only afterwards, and readers at once where they may.
func TestRWConversions(t *testing.T) {
	a, m := testRW(t)
	p, writer := startRW(t, a), startRW(t, a)
	m.RLock()
	do(t, p, "U")
	do(t, p, "R?")
	do(t, p, "R-")
	p.Send("U>X") // waits for the reader here
	p.Silent()
	if m.TryRLock() {
		t.Error("a new reader beside an upgrade")
	}
	writer.Send("X")
	writer.Silent()
	m.RUnlock()
	p.Expect("ok")
	writer.Silent()
	do(t, p, "X>U")
	m.RLock() // beside it
	m.RUnlock()
	writer.Silent()
	do(t, p, "U>R")
	writer.Silent() // it waits for the reader now, and keeps others out
	if m.TryRLock() {
		t.Error("a new reader beside a writer that waits")
	}
	do(t, p, "R-")
	writer.Expect("ok")
	reader := proc.MustBlock(t, "RLock", m.RLock)
	do(t, writer, "X>R")
	reader()
	writer.Send("R>X?")
	writer.Expect("refused")
	m.RUnlock()
	do(t, writer, "R>X?")
	if m.TryRLock() {
		t.Error("a reader beside who upgraded")
	}
	do(t, writer, "X-")
}

// Contexts that end at about the moment when the lock is granted: an error
// means not held, and nothing is lost either way.
func TestRWCancelRace(t *testing.T) {
	a, m := testRW(t)
	holder := startRW(t, a)
	var held [3]atomic.Int64
	for round := range 40 {
		do(t, holder, "X")
		var all sync.WaitGroup
		for i, way := range modes {
			for k := range 4 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration((round+1)*(k+1)*5)*time.Microsecond)
					defer cancel()
					err := way.wait(m, ctx)
					if err == nil {
						held[i].Add(1)
						way.unlock(m)
					} else if !errors.Is(err, ErrTimeout) {
						t.Error(err)
					}
				})
			}
		}
		do(t, holder, "X-")
		all.Wait()
		if !m.TryLock() {
			t.Fatal("not free after all have gone")
		}
		m.Unlock()
	}
	t.Logf("of 160 each, R %d, U %d, X %d got in", held[0].Load(), held[1].Load(), held[2].Load())
}

// A time-out says who was in the way.
func TestRWTimeoutError(t *testing.T) {
	a, m := testRW(t)
	for _, held := range []string{"R", "X"} {
		holder := startRW(t, a)
		do(t, holder, held)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := m.LockContext(ctx)
		cancel()
		var e *TimeoutError
		if !errors.As(err, &e) || e.HolderPID != holder.PID() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beside %s of %d: %v", held, holder.PID(), err)
		}
		ctx, cancel = context.WithCancel(context.Background())
		cancel()
		if err := m.LockContext(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		do(t, holder, held+"-")
	}
}

// A panic in Do leaves the lock abandoned, in RDo it is merely given back.
func TestRWDo(t *testing.T) {
	_, m := testRW(t)
	boom := func(context.Context) error { panic("boom") }
	func() {
		defer func() { recover() }()
		m.RDo(context.Background(), boom)
	}()
	m.ULock()
	if _, ok := m.Abandoned(); ok {
		t.Error("abandoned by a reader")
	}
	m.UUnlock()
	func() {
		defer func() { recover() }()
		m.Do(context.Background(), boom)
	}()
	m.RLock()
	if d, ok := m.Abandoned(); !ok || d.Cause != Panicked {
		t.Errorf("not abandoned by a panic: %v %+v", ok, d)
	}
	m.RUnlock()
	if err := m.Do(context.Background(), func(context.Context) error { return m.MarkConsistent() }); err != nil {
		t.Error(err)
	}
	l := m.RLocker()
	l.Lock()
	l.Unlock()
}
