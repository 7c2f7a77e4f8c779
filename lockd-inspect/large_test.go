package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lockd/arena"
)

// Of an arena that is too large to be copied all verbs say the same as of a
// small one.
func TestLargeArena(t *testing.T) {
	const names = 34000
	path := filepath.Join(t.TempDir(), "large")
	a, err := arena.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		if err := a.Mutex(fmt.Sprint("idle ", i)).Do(t.Context(), nothing); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Semaphore("gpu", 4).Tickets(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	owner := hold(t, path, "owner", "busy", "r:book")
	waiter := start(t, asHolder, path, "waiter", "busy")
	eventually(t, "it waits", func() bool { return waitersOf(path, "busy") == 1 })
	owner.stop()

	said := lookAtLive(t, path, "busy")
	for verb, want := range map[string]string{
		"show":  fmt.Sprintf("owner         pid %d (owner), stopped, ", owner.Process.Pid),
		"who":   "busy, book (shared)",
		"graph": fmt.Sprintf("pid %d waits ", waiter.Process.Pid),
		"check": fmt.Sprintf("1 %s: stopped: busy: pid %d (owner) holds it", path, owner.Process.Pid),
		"sem":   "gpu         4       0",
		"top":   fmt.Sprintf("  %d locks, 2 in use, 1 waiting", names+3),
	} {
		if !strings.Contains(said[verb], want) {
			t.Errorf("%s does not say %q:\n%.2000s", verb, want, said[verb])
		}
	}
	code, stdout, _ := call(nil, "locks", path, "--no-headers", "-o", "name")
	all := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	if slices.Sort(all); code != 0 || len(all) != names+3 || len(slices.Compact(all)) != names+3 || !slices.Contains(all, "idle 33999") {
		t.Errorf("exit code %d, %d names", code, len(all))
	}
	if _, stdout, _ = call(nil, path, "--held", "--no-headers", "-o", "name", "--sort", "name"); stdout != "book\nbusy\n" {
		t.Errorf("held are %q", stdout)
	}
	if code, _, stderr := call(nil, "show", path, "none"); code != 1 || !strings.Contains(stderr, fmt.Sprintf("there are %d, such as: ", names+3)) {
		t.Errorf("exit code %d, %s", code, stderr)
	}

	var listed struct {
		Arena struct {
			Names  int
			In_use int
		}
		Locks []struct{ Name, State string }
	}
	_, stdout, _ = call(nil, "locks", path, "--json")
	if err := json.Unmarshal([]byte(stdout), &listed); err != nil || len(listed.Locks) != names+3 || listed.Arena.Names != names+3 || listed.Arena.In_use != 2 {
		t.Errorf("%v, %d locks, %+v", err, len(listed.Locks), listed.Arena)
	}
	_, dump, _ := call(nil, "dump", path)
	if _, stdout, _ = call(strings.NewReader(dump), "locks", "-", "--no-headers", "-o", "name", "--sort", "name"); strings.Count(stdout, "\n") != names+3 {
		t.Errorf("%d locks in the dump", strings.Count(stdout, "\n"))
	}
	if got := parsed(t, said["metrics"][2:]); got[fmt.Sprintf(`lockd_arena_locks{arena=%q,kind="mutex",state="free"}`, path)] != names {
		t.Errorf("metrics: %.2000s", said["metrics"])
	}

	w := watching(t, path)
	waiter.kill()
	owner.Process.Signal(syscall.SIGCONT)
	w.until("died", "")
	w.kill()
}
