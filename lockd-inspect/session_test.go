package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lockd/arena"
)

// Sessions in this process that wait for each other for ever are called a
// deadlock, with their names; two that merely wait are not.
func TestSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bank")
	a, err := arena.Open(path, &arena.Options{Label: "bank"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	open := func(label string) *arena.Session {
		return a.OpenSession(arena.SessionOptions{Label: label, DeadlockAfter: -1})
	}
	one, two, three := open("one"), open("t\x1bwo"), open("")
	x, y := a.Mutex("x"), a.RWMutex("y")
	ctx, cancel := context.WithCancel(t.Context())
	for _, err := range []error{one.Lock(ctx, x), two.Lock(ctx, y)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 3)
	go func() { ended <- three.Lock(ctx, x) }()
	go func() { ended <- one.ULock(ctx, y) }()
	eventually(t, "two wait", func() bool { return sessionsWaiting(t, path) == 2 })
	if code, stdout, stderr := call(nil, "check", path); code != 0 {
		t.Errorf("before the deadlock: exit code %d, %s%s", code, stdout, stderr)
	}
	go func() { ended <- two.Lock(ctx, x) }()
	eventually(t, "three wait", func() bool { return sessionsWaiting(t, path) == 3 })

	pid := os.Getpid()
	code, stdout, stderr := call(nil, "check", path)
	if want := fmt.Sprintf("deadlock: y:\n    one, bank: pid %d session 1 holds x and waits for y, held by pid %d session 2\n"+
		"    \"t\\x1bwo\", bank: pid %d session 2 holds y and waits for x, held by pid %d session 1\n", pid, pid, pid, pid); code != 1 || !strings.Contains(stdout, want) || strings.Contains(stdout, "possible") {
		t.Errorf("check: exit code %d, %s%s; want %s", code, stdout, stderr, want)
	}
	_, stdout, _ = call(nil, "graph", path)
	if !strings.HasPrefix(stdout, "deadlock:\n") || strings.Count(stdout, "↺ deadlock") != 1 || !strings.Contains(stdout, fmt.Sprintf("pid %d session 3 waits", pid)) {
		t.Errorf("graph: %s", stdout)
	}
	expect(t, fmt.Sprintf("%d  1  one  x  y (upgradable)\n%d  2  \"t\\x1bwo\"  y  x\n%d  3  \"\"  -  x\n", pid, pid, pid),
		"who", path, "--sessions", "--no-headers", "-o", "pid,session,label,holds,waits")
	_, stdout, _ = call(nil, "show", path, "x")
	if want := fmt.Sprintf("owner         pid %d (bank), session 1 (one), alive", pid); !strings.Contains(stdout, want) {
		t.Errorf("show: %s; want %s", stdout, want)
	}
	_, stdout, _ = call(nil, "metrics", path)
	if got := parsed(t, stdout); got[fmt.Sprintf("lockd_arena_deadlocks{arena=%q}", path)] != 1 || got[fmt.Sprintf("lockd_arena_sessions{arena=%q}", path)] != 3 {
		t.Error(stdout)
	}
	_, dump, _ := call(nil, "dump", path)
	if code, stdout, _ := call(strings.NewReader(dump), "check", "-", "--json"); code != 1 || !strings.Contains(stdout, `"severity":"deadlock"`) {
		t.Errorf("check of the dump: exit code %d, %s", code, stdout)
	}
	lookAtLive(t, path, "x")
	cancel()
	for range 3 {
		<-ended
	}
	for _, s := range []*arena.Session{one, two, three} {
		s.Close()
	}
}

func sessionsWaiting(t *testing.T, path string) (n int) {
	t.Helper()
	s, err := arena.ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range s.Sessions {
		n += one(s.Wait != nil)
	}
	return n
}
