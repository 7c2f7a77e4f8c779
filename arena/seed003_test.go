package arena

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"lockd/internal/proc"
)

// What the fourth of the systems that this one replaces promises, in the order
// of its README: named locks from a factory.
func TestSeed003(t *testing.T) {
	const patience = 100 * time.Millisecond
	ctx := context.Background()
	factory := testArena(t, &Options{Patience: Patience{Timeout: patience}})
	one, two, other := factory.Mutex("my-lock"), factory.Mutex("my-lock"), factory.Mutex("my-other-lock")

	// The same name excludes, another does not; without waiting.
	if !one.TryLock() {
		t.Fatal("the first did not get it")
	}
	if two.TryLock() {
		t.Fatal("the second got it too")
	}
	if !other.TryLock() {
		t.Fatal("another lock is held")
	}
	other.Unlock()

	// Waiting ends after the factory's time.
	within := func(asked time.Duration, wait func() error) {
		t.Helper()
		began := time.Now()
		err := wait()
		took := time.Since(began)
		if !errors.Is(err, ErrTimeout) || took < asked {
			t.Errorf("%v after %v, asked for %v", err, took, asked)
		}
		t.Logf("asked for %v, took %v", asked, took)
	}
	within(patience, func() error { return two.LockContext(ctx) })

	// The call can say otherwise, and so can the lock.
	within(300*time.Millisecond, func() error {
		longer, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		return two.LockContext(longer)
	})
	three := factory.Mutex("my-lock").With(Patience{Timeout: 2 * patience})
	within(2*patience, func() error { return three.LockContext(ctx) })

	// Released, it can be had.
	one.Unlock()
	if err := two.LockContext(ctx); err != nil {
		t.Fatal(err)
	}
	two.Unlock()

	// As a block: held inside, free after; and the block is not run if the lock
	// is not to be had.
	err := one.Do(ctx, func(ctx context.Context) error {
		if two.TryLock() {
			t.Error("held inside the block")
		}
		err := two.Do(ctx, func(context.Context) error {
			t.Error("a block runs without its lock")
			return nil
		})
		if !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if !two.TryLock() {
		t.Error("held after the block")
	}
	two.Unlock()

	// A block that ends badly gives the lock back.
	func() {
		defer func() { recover() }()
		one.Do(ctx, func(context.Context) error { panic("in the block") })
	}()
	if !two.TryLock() {
		t.Error("held after a panic")
	}
	two.MarkConsistent()
	two.Unlock()

	// A process that crashes gives it back.
	crashing := proc.Start(t, "actor", []string{factory.Path(), "crashing"})
	crashing.Expect("ready")
	crashing.Send("lock my-lock")
	crashing.Expect("held")
	if one.TryLock() {
		t.Error("two hold it")
	}
	crashing.Kill()
	// With more patience than the factory's: this process may have the lock in
	// hand, to settle it, and be slow.
	long, cancelLong := context.WithTimeout(ctx, proc.Soon)
	defer cancelLong()
	if err := one.LockContext(long); err != nil {
		t.Fatal(err)
	}
	if d, ok := one.Abandoned(); !ok || d.PID != crashing.PID() {
		t.Errorf("%+v, %v", d, ok)
	}
	one.MarkConsistent()
	one.Unlock()

	// Theirs gives a lock back when the collector finds it unused, whenever that
	// is. Ours keeps what it protects locked, and says who lost it, and where.
	lines := make(lineLog, 100)
	careless := testArena(t, &Options{Logger: slog.New(slog.NewTextHandler(lines, nil))})
	lose := func() {
		if err := careless.Session("careless").Lock(ctx, careless.Mutex("lost")); err != nil {
			t.Error(err)
		}
	}
	lose()
	deadline := time.After(proc.Soon)
	for told := false; !told; {
		runtime.GC()
		select {
		case line := <-lines:
			told = strings.Contains(line, "careless") && strings.Contains(line, "lost") && strings.Contains(line, "seed003_test.go")
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("nobody reports a session that was lost while it held a lock")
		}
	}
	if careless.Mutex("lost").TryLock() {
		t.Error("the collector gave a lock back")
	}
	if err := careless.Mutex("lost").Release(); err != nil {
		t.Error(err)
	}
}
