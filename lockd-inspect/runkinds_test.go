package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lockd/arena"
)

func TestRunShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	first := start(t, asTool, "run", "--shared", path, "l", "--", self(t), asUntil, end)
	first.pid()
	if code, _, stderr := call(nil, "run", "-n", "-s", path, "l", "--", "true"); code != 0 || stderr != "" {
		t.Errorf("a second reader: exit code %d, %s", code, stderr)
	}
	for _, writer := range [][]string{{"-x"}, {}, {"-x", "-w", "0.05"}} {
		if code, _, _ := call(nil, append(append([]string{"run", "-n"}, writer...), path, "l", "--", "true")...); code != 1 {
			t.Errorf("a writer %q beside a reader: exit code %d", writer, code)
		}
	}
	finish()
	first.exit()
	for _, writer := range [][]string{{"-x"}, {}} { // without, of the kind that it is
		if code, _, stderr := call(nil, append(append([]string{"run"}, writer...), path, "l", "--", "true")...); code != 0 {
			t.Errorf("a writer %q alone: exit code %d, %s", writer, code, stderr)
		}
	}
	call(nil, "run", path, "mutex", "--", "true")
	if code, _, stderr := call(nil, "run", "-s", path, "mutex", "--", "true"); code != 65 || !strings.Contains(stderr, "run --exclusive") {
		t.Errorf("shared, of a mutex: exit code %d, %q", code, stderr)
	}
	for _, args := range [][]string{{"-s", "-x"}, {"-s", "--tickets", "1"}, {"--tickets", "0"}, {"--tickets", "-1"}, {"-s", "--mark-consistent"}, {"--tickets=1", "--mark-consistent"}} {
		if code, _, stderr := call(nil, append(append([]string{"run"}, args...), path, "l", "--", "true")...); code != 64 || stderr == "" {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}

func TestRunTickets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	if code, _, stderr := call(nil, "run", "--tickets", "1", path, "gpu", "--", "true"); code != 66 || !strings.Contains(stderr, "sem "+path+" make gpu TICKETS") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	call(nil, "sem", path, "make", "gpu", "4")
	end, finish := fifo(t)
	first := start(t, asTool, "run", "--tickets", "3", path, "gpu", "--", "sh", "-c", `echo "$LOCKD_TICKETS"; exec "$0" "$@"`, self(t), asUntil, end)
	if line := first.line(); line != "0 1 2" {
		t.Errorf("its tickets are %q", line)
	}
	first.pid()
	second := start(t, asTool, "run", "--tickets=1", path, "gpu", "--", "sh", "-c", `echo "$LOCKD_TICKETS"`)
	if line := second.line(); line != "3" {
		t.Errorf("the other's are %q", line)
	}
	second.exit()
	if code, _, _ := call(nil, "run", "--tickets", "2", "-n", path, "gpu", "--", "true"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if code, _, stderr := call(nil, "run", "--tickets", "5", path, "gpu", "--", "true"); code != 64 || !strings.Contains(stderr, "more tickets than") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	waiting := start(t, asTool, "run", "--tickets", "2", path, "gpu", "--", "echo", "served")
	eventually(t, "somebody waits", func() bool { return waitersOf(path, "gpu") == 1 })
	first.kill()
	if line := waiting.line(); line != "served" {
		t.Errorf("after the holder was killed: %q", line)
	}
	finish()
}

func TestRunMarkConsistent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	hold(t, path, "dead", "l").kill()
	for _, tc := range []struct {
		args  []string
		code  int
		told  bool
		state string
	}{
		{[]string{"true"}, 0, true, "abandoned"},
		{[]string{"sh", "-c", "exit 3"}, 3, true, "abandoned"},
		{[]string{"true"}, 0, true, "free"},
		{[]string{"true"}, 0, false, "free"},
	} {
		args := []string{"run", path, "l", "--"}
		if tc.code != 0 || tc.state == "free" {
			args = []string{"run", "--mark-consistent", path, "l", "--"}
		}
		code, _, stderr := call(nil, append(args, tc.args...)...)
		if code != tc.code || strings.Contains(stderr, "was abandoned") != tc.told {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
		expect(t, tc.state+"\n", "locks", path, "--no-headers", "-o", "state")
	}
}

func TestRunVerbose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	holder := hold(t, path, "hol\nder", "l")
	p := startWith(t, func(c *exec.Cmd) {
		c.Path = "/bin/sh"
		c.Args = append([]string{"sh", "-c", `exec "$0" "$@" 2>&1`}, c.Args...)
	}, asTool, "run", "--verbose", path, "l", "--", "true")
	if line, want := p.line(), fmt.Sprintf(`lockd-inspect: waiting for l, held by pid %d ("hol\nder"); 1 wait`, holder.Process.Pid); line != want {
		t.Errorf("it says %q, want %q", line, want)
	}
	holder.stdin.Close()
	if line := p.line(); !strings.HasPrefix(line, "lockd-inspect: got l after ") {
		t.Errorf("then it says %q", line)
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	hold(t, path, "holder", "m")
	code, _, stderr := call(nil, "run", "--verbose", "-w", "0.1", path, "m", "--", "true")
	if code != 1 || !strings.Contains(stderr, "gave up on m after ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// Two scripts that lock two things in opposite order are found, named, and
// told how to end.
func TestDeadlockedScripts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	both, meet := fifo(t)
	script := func(first, second string) *process {
		return start(t, asTool, "run", path, first, "--", "sh", "-c", `"$0" `+asUntil+` "$1"; "$0" `+asTool+` run "$2" "$3" -- true; exit $?`, self(t), both, path, second)
	}
	one, two := script("x", "y"), script("y", "x")
	one.pid()
	two.pid()
	if code, stdout, _ := call(nil, "check", path); code != 0 {
		t.Errorf("before they meet: exit code %d, %s", code, stdout)
	}
	meet()
	eventually(t, "both wait", func() bool { return waitersOf(path, "x") == 1 && waitersOf(path, "y") == 1 })
	inner := waiterOf(t, path, "y")
	code, stdout, stderr := call(nil, "check", path)
	if want := fmt.Sprintf("pid %d holds x while its pid %d waits for y, held by pid %d", one.Process.Pid, inner, two.Process.Pid); code != 1 ||
		!strings.Contains(stdout, ": deadlock: ") || !strings.Contains(stdout, want) {
		t.Errorf("check: exit code %d, %s%s; want %s", code, stdout, stderr, want)
	}
	code, stdout, _ = call(nil, "graph", path)
	if code != 0 || !strings.HasPrefix(stdout, "deadlock:\n") || !strings.Contains(stdout, "↺ deadlock") {
		t.Errorf("graph: exit code %d, %s", code, stdout)
	}
	lookAtLive(t, path, "x")

	// What check says to kill ends it.
	_, stdout, _ = call(nil, "check", path, "--json")
	var victim int
	if _, after, found := strings.Cut(stdout, "kill "); found {
		fmt.Sscan(after, &victim)
	}
	if victim != inner && victim != waiterOf(t, path, "x") {
		t.Fatalf("check says kill %d: %s", victim, stdout)
	}
	syscall.Kill(victim, syscall.SIGTERM)
	one.exit()
	two.exit()
	if a, b := one.ProcessState.ExitCode(), two.ProcessState.ExitCode(); (a != 0) == (b != 0) {
		t.Errorf("exit codes %d and %d: one of them should have got both", a, b)
	}
}

// The run that took the lock has ended, and what its command left waits: that
// is the same deadlock.
func TestDeadlockedHeirs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	p := start(t, asTool, "run", path, "x", "--", "sh", "-c", `"$0" `+asTool+` run "$1" x -- true & exit 0`, self(t), path)
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	eventually(t, "what it left waits", func() bool { return waitersOf(path, "x") == 1 })
	inner := waiterOf(t, path, "x")
	code, stdout, _ := call(nil, "check", path)
	if want := fmt.Sprintf(": pid %d holds x while its pid %d waits for x, held by pid %d", p.Process.Pid, inner, p.Process.Pid); code != 1 || !strings.Contains(stdout, "deadlock: x:\n") || !strings.Contains(stdout, want) {
		t.Errorf("check: exit code %d, %s; want %s", code, stdout, want)
	}
	_, stdout, _ = call(nil, "show", path, "x")
	if want := fmt.Sprintf("kept by     pid %d: ", inner); !strings.Contains(stdout, "inherited, ") || !strings.Contains(stdout, want) {
		t.Errorf("show: %s; want %s", stdout, want)
	}
	syscall.Kill(inner, syscall.SIGTERM)
	eventually(t, "the lock is free", func() bool { code, _, _ := call(nil, "run", "-n", path, "x", "--", "true"); return code == 0 })
}

// Programs whose goroutines may do something else are not accused.
func TestPossibleDeadlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	one := hold(t, path, "one", "p")
	two := hold(t, path, "two", "q")
	one.stdin.Write([]byte("q\n"))
	two.stdin.Write([]byte("p\n"))
	eventually(t, "both wait", func() bool { return waitersOf(path, "p") == 1 && waitersOf(path, "q") == 1 })
	code, stdout, _ := call(nil, "check", path)
	if code != 1 || !strings.Contains(stdout, ": possible deadlock: ") || strings.Contains(stdout, ": deadlock: ") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	lookAtLive(t, path, "p")
}

func waiterOf(t *testing.T, path, lock string) int {
	t.Helper()
	s, err := arena.ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Locks {
		if l.Name == lock && len(l.Waiting) == 1 {
			return int(l.Waiting[0].PID)
		}
	}
	t.Fatalf("nobody waits for %s", lock)
	return 0
}
