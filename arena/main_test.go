package arena

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"lockd/internal/proc"
)

// roles are what the processes do that tests start; each test file adds its own.
var roles = map[string]proc.Role{}

const testPrefix = "lockd-test-"

// On a loaded machine whoever has a latch may not get to run for long. A try
// that gives up for that says nothing about the lock.
func init() { tryPatience, rangePatience = 2*time.Second, 2*time.Second }

func TestMain(m *testing.M) {
	proc.Main(m, roles, proc.NoGoroutines, proc.NoFiles(testPrefix, "pidfd"), proc.NoMappings(testPrefix))
}

// testArena opens a new arena in Dir. At the test's end its Check must be
// clean, nothing must be left, and it is removed.
func testArena(t testing.TB, o *Options) *Arena {
	t.Helper()
	a, err := Open(testPath(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// testPath is a path in Dir for an arena, which is checked and removed at the
// test's end.
func testPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(Dir, testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "arena")
	t.Cleanup(func() {
		if _, err := os.Stat(path); err == nil {
			problems, err := Check(path)
			if err != nil {
				t.Errorf("check: %v", err)
			}
			for _, p := range problems {
				if p.Severity == Damage {
					t.Errorf("check: %v", p)
				}
			}
		}
		os.RemoveAll(dir)
	})
	return path
}

// reopen opens the arena at a path that another process made.
func reopen(path string, o *Options) *Arena {
	a, err := Open(path, o)
	if err != nil {
		proc.Say("open: %v", err)
		os.Exit(1)
	}
	return a
}
