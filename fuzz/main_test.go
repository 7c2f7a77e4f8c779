package fuzz

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"lockd/arena"
	"lockd/internal/proc"
)

// roles are what the processes do that tests start.
var roles = map[string]proc.Role{}

const testPrefix = "lockd-fuzz-"

func TestMain(m *testing.M) {
	proc.Main(m, roles, proc.NoGoroutines, proc.NoFiles(testPrefix, "pidfd"), proc.NoMappings(testPrefix))
}

var quiet = slog.New(slog.DiscardHandler)

// shmPath is where an arena of a test may be; its folder goes with the test.
func shmPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(arena.Dir, testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "arena")
}
