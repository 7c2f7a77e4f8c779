package fuzz

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"lockd/arena"
	"lockd/internal/proc"
)

// roles are what the processes do that tests start.
var roles = map[string]proc.Role{}

// folder names the one in which all arenas of a run of the tests are. The
// processes that fuzz for it, which end without cleaning up, inherit it.
const folder = "LOCKD_FUZZ_FOLDER"

const testPrefix = "lockd-fuzz-"

func TestMain(m *testing.M) {
	if os.Getenv(folder) != "" {
		proc.Main(m, roles)
	}
	dir, err := os.MkdirTemp(arena.Dir, testPrefix)
	if err != nil {
		panic(err)
	}
	os.Chmod(dir, 0o711) // one test has another user in it
	os.Setenv(folder, dir)
	code := m.Run()
	os.RemoveAll(dir)
	for _, check := range []func() error{proc.NoGoroutines, proc.NoFiles(testPrefix, "pidfd"), proc.NoMappings(testPrefix)} {
		if err := check(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

var quiet = slog.New(slog.DiscardHandler)

// shmPath is where an arena of a test may be; its folder goes with the test.
func shmPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv(folder), testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "arena")
}
