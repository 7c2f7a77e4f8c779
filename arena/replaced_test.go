package arena

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// logBook is a log that can be read while it is written.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBook) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), s)
}

// An arena's file goes away, or another comes in its place, while programs
// use it.
func TestArenaReplaced(t *testing.T) {
	for _, c := range []struct {
		what     string
		recreate bool
		inside   bool // the lock that is waited for is held by this process
	}{
		{"unlinked", false, false},
		{"unlinked, held here", false, true},
		{"recreated", true, false},
		{"recreated, held here", true, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			path := testPath(t)
			var book logBook
			o := &Options{Logger: slog.New(slog.NewTextHandler(&book, nil))}
			a, err := Open(path, o)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			other := startActor(t, path, "other")
			m := a.Mutex("a")
			if c.inside {
				m.Lock()
			} else {
				other.must("held", "lock a")
			}

			const sleepers = 5
			errs := make(chan error, sleepers)
			for range sleepers {
				go func() { errs <- m.LockContext(context.Background()) }()
			}
			locked := make(chan struct{})
			go func() {
				defer close(locked)
				if err := recovered(m.Lock); err != nil {
					t.Errorf("Lock panics: %v", err)
				}
			}()
			for {
				if s, err := ReadSnapshot(path); err == nil && len(s.Locks) > 0 && s.Locks[0].Waiters == sleepers+1 {
					break
				}
			}

			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			var second *actor
			if c.recreate {
				second = startActor(t, path, "second")
				second.must("held", "lock a") // the other file's
			}
			for range sleepers {
				select {
				case err := <-errs:
					if !errors.Is(err, ErrReplaced) {
						t.Errorf("a sleeper was told: %v", err)
					}
				case <-time.After(proc.Soon):
					t.Fatalf("a sleeper was not told within %v", proc.Soon)
				}
			}
			// Lock cannot fail, and the old file's lock still excludes.
			select {
			case <-locked:
				t.Fatal("Lock took a lock that is held")
			case <-time.After(proc.StillBlocks):
			}
			if c.inside {
				m.Unlock()
			} else {
				other.must("ok", "unlock a")
			}
			select {
			case <-locked:
			case <-time.After(proc.Soon):
				t.Fatal("Lock sleeps on")
			}
			m.Unlock()

			if n := book.count("removed or replaced"); n != 1 {
				t.Errorf("it is in the log %d times", n)
			}
			if err := a.Mutex("new name").LockContext(context.Background()); !errors.Is(err, ErrReplaced) {
				t.Errorf("a new name: %v", err)
			}

			// Who opens it while the old one is open is told, and leaves nothing.
			var before, after unix.Stat_t
			missing := unix.Lstat(path, &before)
			if _, err := Open(path, o); !errors.Is(err, ErrReplaced) {
				t.Errorf("Open: %v", err)
			}
			if err := unix.Lstat(path, &after); err != missing || after.Ino != before.Ino {
				t.Errorf("Open changed what is there: %v, was %v", err, missing)
			}
			if c.recreate {
				second.must("ok", "unlock a")
			}
			if err := a.Close(); !errors.Is(err, ErrReplaced) {
				t.Errorf("Close: %v", err)
			}
			a, err = Open(path, o)
			if err != nil {
				t.Fatalf("Open after Close: %v", err)
			}
			if err := a.Mutex("a").LockContext(context.Background()); err != nil {
				t.Error(err)
			}
			a.Mutex("a").Unlock()
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nobody waits when the file goes: who opens and who closes finds out.
func TestArenaReplacedUnnoticed(t *testing.T) {
	path := testPath(t)
	var book logBook
	o := &Options{Logger: slog.New(slog.NewTextHandler(&book, nil))}
	a, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	m := a.Mutex("a")
	m.Lock()
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path + ".moved")
	if err := a.Close(); !errors.Is(err, ErrWasHeld) {
		t.Errorf("Close with a lock held: %v", err)
	}
	if book.count("removed or replaced") != 1 {
		t.Error("it is not in the log")
	}
}

// An arena that is opened by its path and by a link to the folder is one.
func TestOpenedByTwoPaths(t *testing.T) {
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	dir := shmFolder(t)
	if err := os.Symlink(path[:strings.LastIndexByte(path, '/')], dir+"/link"); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir+"/link/arena", &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a.Mutex("a").Lock()
	if b.Mutex("a").TryLock() {
		t.Error("two members in one process")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	other := startActor(t, path, "other")
	other.must("busy", "try a") // closing one must not end the other
	a.Mutex("a").Unlock()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	other.must("held", "try a")
	other.must("ok", "unlock a")
}
