package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

func TestRunExitCodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	text := filepath.Join(t.TempDir(), "text")
	script := filepath.Join(t.TempDir(), "script")
	for name, content := range map[string]string{text: "no arena", script: "exit $1\n"} {
		if err := os.WriteFile(name, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, path, "holder", "taken")
	for _, tc := range []struct {
		args   []string
		code   int
		stderr string // part of it; nothing if empty
	}{
		{[]string{path, "free", "--", "true"}, 0, ""},
		{[]string{path, "free", "true"}, 0, ""},
		{[]string{path, "free", "--", "sh", "-c", "exit 7"}, 7, ""},
		{[]string{path, "free", "--", "sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{[]string{path, "free", "--", "sh", "-c", "kill -KILL $$"}, 128 + 9, ""},
		{[]string{path, "free", "--", script, "5"}, 5, ""},
		{[]string{"--close", path, "free", "--", "sh", "-c", "exit 7"}, 7, ""},
		{[]string{"-n", path, "free", "--", "true"}, 0, ""},

		{[]string{"--nonblock", path, "taken", "--", "true"}, 1, ""},
		{[]string{"--timeout", "0", path, "taken", "--", "true"}, 1, ""},
		{[]string{"--timeout", "0.05", path, "taken", "--", "true"}, 1, ""},
		{[]string{"-w50ms", "-E", "9", path, "taken", "--", "true"}, 9, ""},
		{[]string{"-n", "--conflict-exit-code=0", path, "taken", "--", "false"}, 0, ""},

		{[]string{path, "free", "--", "no-such-command-anywhere"}, 69, "cannot run no-such-command-anywhere: there is no such command in PATH"},
		{[]string{path, "free", "--", "/no/such/file"}, 69, "cannot run /no/such/file: no such file or directory"},
		{[]string{path, "free", "--", text + "/"}, 69, "not a directory"},
		{[]string{path, "free", "--", "/"}, 69, "cannot run /"},

		{[]string{}, 64, "needs an ARENA"},
		{[]string{path, "free"}, 64, "needs a COMMAND"},
		{[]string{path, "free", "--"}, 64, "needs a COMMAND"},
		{[]string{path, "free", "-n", "--", "true"}, 64, "-n stands behind the arena"},
		{[]string{"--no-such-flag", path, "free", "--", "true"}, 64, "unknown flag"},
		{[]string{"--timeout", "soon", path, "free", "--", "true"}, 64, "give seconds"},
		{[]string{"--timeout", "-1", path, "free", "--", "true"}, 64, "give seconds"},
		{[]string{"-E", "256", path, "free", "--", "true"}, 64, "not in 0 … 255"},
		{[]string{path, "", "--", "true"}, 64, "bad name"},
		{[]string{"-n", path, strings.Repeat("x", 256), "--", "true"}, 64, "bad name"},
		{[]string{text, "free", "--", "true"}, 66, "not an arena"},
		{[]string{filepath.Join(text, "a"), "free", "--", "true"}, 66, "text"},
	} {
		code, stdout, stderr := call(nil, append([]string{"run"}, tc.args...)...)
		if code != tc.code || stdout != "" {
			t.Errorf("run %q: exit code %d, want %d; %q", tc.args, code, tc.code, stdout)
		}
		switch {
		case tc.stderr == "" && stderr != "":
			t.Errorf("run %q says %q", tc.args, stderr)
		case !strings.Contains(stderr, tc.stderr), tc.stderr != "" && !strings.HasPrefix(stderr, "lockd-inspect: "):
			t.Errorf("run %q says %q, want %q", tc.args, stderr, tc.stderr)
		}
	}
}

// What flock(1) and run do with the same command is the same.
func TestRunLikeFlock(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("there is no flock(1) here to compare with")
	}
	dir := t.TempDir()
	path, file := filepath.Join(dir, "a"), filepath.Join(dir, "f")
	hold(t, path, "holder", "taken")
	taken, err := os.Create(file + ".taken")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := unix.Flock(int(taken.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, tc := range [][]string{
		{"LOCK", "true"},
		{"LOCK", "sh", "-c", "exit 200"},
		{"LOCK", "sh", "-c", "kill -USR1 $$"},
		{"LOCK", "no-such-command-anywhere"},
		{"LOCK", "/"},
		{"-n", "LOCK", "true"},
		{"-n", "TAKEN", "true"},
		{"-w", "0", "TAKEN", "true"},
		{"-w", "0.05", "TAKEN", "true"},
		{"-n", "-E", "7", "TAKEN", "true"},
		{"-w", "0.05", "-E", "7", "TAKEN", "true"},
		{"-o", "LOCK", "sh", "-c", "exit 3"},
		{"-w", "nonsense", "LOCK", "true"},
		{"--no-such-flag", "LOCK", "true"},
		{"LOCK"},
		{},
	} {
		ours, theirs := []string{"run"}, []string{}
		for _, a := range tc {
			switch a {
			case "LOCK":
				ours, theirs = append(ours, path, "free"), append(theirs, file)
			case "TAKEN":
				ours, theirs = append(ours, path, "taken"), append(theirs, file+".taken")
			default:
				ours, theirs = append(ours, a), append(theirs, a)
			}
		}
		other := exec.Command(flock, theirs...)
		other.Run()
		want := other.ProcessState.ExitCode()
		if code, _, stderr := call(nil, ours...); code != want {
			t.Errorf("%q: exit code %d, flock's is %d; %s", tc, code, want, stderr)
		}
	}
}

// What a command leaves in the background keeps the lock, or with -o does not,
// in nested calls too: as flock(1) does it.
func TestRunBackgroundLikeFlock(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Skip("there is no flock(1) here to compare with")
	}
	const ours, theirs = "ours", "theirs"
	for _, tc := range []struct {
		name   string
		nested bool
		flags  []string
		busy   int // exit code of the next while the child in the background runs
	}{{"plain", false, nil, 1}, {"closed", false, []string{"-o"}, 0}, {"nested", true, nil, 1}} {
		for _, which := range []string{ours, theirs} {
			t.Run(tc.name+"/"+which, func(t *testing.T) {
				dir := t.TempDir()
				tool := func(flags []string, lock string, command ...string) []string {
					if which == theirs {
						return append(append(append([]string{flock}, flags...), filepath.Join(dir, lock)), command...)
					}
					return append(append(append([]string{self(t), asTool, "run"}, flags...), filepath.Join(dir, lock), "l", "--"), command...)
				}
				end, finish := fifo(t)
				command := []string{"sh", "-c", `"$0" "$@" & exit 5`, self(t), asUntil, end}
				if tc.nested {
					command = tool(nil, "inner", command...)
				}
				line := tool(tc.flags, "outer", command...)
				p := startWith(t, func(c *exec.Cmd) { c.Path, c.Args = line[0], line })
				p.pid()
				if code := p.exit(); code != 5 {
					t.Errorf("exit code %d, want 5", code)
				}
				try := func() int {
					line := tool([]string{"-n"}, "outer", "true")
					c := exec.Command(line[0], line[1:]...)
					c.Run()
					return c.ProcessState.ExitCode()
				}
				if code := try(); code != tc.busy {
					t.Errorf("while the child runs: exit code %d, want %d", code, tc.busy)
				}
				finish()
				eventually(t, "the lock is free", func() bool { return try() == 0 })
			})
		}
	}
}

func TestRunHoldsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	first := start(t, asTool, "run", path, "l", "--", self(t), asUntil, end)
	first.pid()
	if code, _, _ := call(nil, "run", "-n", path, "l", "--", "true"); code != 1 {
		t.Errorf("while the command runs: exit code %d, want 1", code)
	}
	second := start(t, asTool, "run", path, "l", "--", "echo", "second")
	eventually(t, "somebody waits", func() bool { return waitersOf(path, "l") == 1 })
	second.silent()
	finish()
	if code := first.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if line := second.line(); line != "second" || second.exit() != 0 {
		t.Errorf("the next says %q", line)
	}
	if told := first.complaints() + second.complaints(); told != "" {
		t.Errorf("complaints: %q", told)
	}
}

// A killed run takes its command with it, and the heir comes after that one's
// end, and is told.
func TestRunKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, _ := fifo(t)
	const slowToDie = "200" // MiB
	first := start(t, asTool, "run", path, "l", "--", self(t), asUntil, end, slowToDie)
	victim := first.pid()
	heir := start(t, asTool, "run", path, "l", "--", self(t), asCheck, strconv.Itoa(victim))
	eventually(t, "the heir waits", func() bool { return waitersOf(path, "l") == 1 })
	heir.silent()
	first.kill()
	if line := heir.line(); line != "gone" {
		t.Errorf("the heir began while the command was %s", line)
	}
	if code := heir.exit(); code != 0 {
		t.Errorf("heir: exit code %d", code)
	}
	if told := heir.complaints(); !strings.Contains(told, "l was abandoned: pid "+strconv.Itoa(first.Process.Pid)) {
		t.Errorf("the heir was told %q", told)
	}
}

// What a killed run's command had started keeps the lock until it ends.
func TestRunKilledWithGrandchild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	first := start(t, asTool, "run", path, "l", "--", "sh", "-c", `"$0" "$@" & wait`, self(t), asUntil, end)
	first.pid()
	heir := start(t, asTool, "run", path, "l", "--", "echo", "heir")
	eventually(t, "the heir waits", func() bool { return waitersOf(path, "l") == 1 })
	first.kill()
	heir.silent()
	finish()
	if line := heir.line(); line != "heir" || heir.exit() != 0 {
		t.Errorf("the heir says %q", line)
	}
	if told := heir.complaints(); !strings.Contains(told, "abandoned") {
		t.Errorf("the heir was told %q", told)
	}
}

// A child in the background keeps the lock, in good order.
func TestRunBackground(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	first := start(t, asTool, "run", path, "l", "--", "sh", "-c", `"$0" "$@" & exit 5`, self(t), asUntil, end)
	first.pid()
	if code := first.exit(); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	if code, _, _ := call(nil, "run", "-n", path, "l", "--", "true"); code != 1 {
		t.Errorf("while the child runs: exit code %d, want 1", code)
	}
	heir := start(t, asTool, "run", path, "l", "--", "echo", "heir")
	eventually(t, "the heir waits", func() bool { return waitersOf(path, "l") == 1 })
	heir.silent()
	finish()
	if line := heir.line(); line != "heir" || heir.exit() != 0 {
		t.Errorf("the heir says %q", line)
	}
	if told := heir.complaints(); told != "" {
		t.Errorf("the heir was told %q", told)
	}
}

func TestRunClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	defer finish()
	first := start(t, asTool, "run", "--close", path, "l", "--", "sh", "-c", `"$0" "$@" & exit 5`, self(t), asUntil, end)
	first.pid()
	if code := first.exit(); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	if code, _, stderr := call(nil, "run", "-n", path, "l", "--", "true"); code != 0 {
		t.Errorf("while the child runs: exit code %d; %s", code, stderr)
	}
}

// What the command of an inner run leaves in the background keeps the locks
// of both.
func TestRunNested(t *testing.T) {
	dir := t.TempDir()
	outer, inner := filepath.Join(dir, "outer"), filepath.Join(dir, "inner")
	end, finish := fifo(t)
	first := start(t, asTool, "run", outer, "l", "--", self(t), asTool, "run", inner, "l", "--",
		"sh", "-c", `"$0" "$@" & exit 6`, self(t), asUntil, end)
	first.pid()
	if code := first.exit(); code != 6 {
		t.Errorf("exit code %d, want 6", code)
	}
	for _, path := range []string{outer, inner} {
		if code, _, _ := call(nil, "run", "-n", path, "l", "--", "true"); code != 1 {
			t.Errorf("%s: exit code %d while the child runs, want 1", path, code)
		}
	}
	finish()
	for _, path := range []string{outer, inner} {
		if code, _, stderr := call(nil, "run", path, "l", "--", "true"); code != 0 || stderr != "" {
			t.Errorf("%s: exit code %d after the child's end; %s", path, code, stderr)
		}
	}
}

// A signal that ends a waiting run ends it in good order.
func TestRunInterruptedWhileWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	holder := hold(t, path, "holder", "l")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1} {
		p := start(t, asTool, "run", path, "l", "--", "true")
		eventually(t, "it waits", func() bool { return waitersOf(path, "l") == 1 })
		p.Process.Signal(sig)
		if code := p.exit(); code != 128+int(sig) {
			t.Errorf("%v: exit code %d", sig, code)
		}
		s, err := arena.ReadSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Members) != 1 || int(s.Members[0].PID) != holder.Process.Pid {
			t.Errorf("%v: members left: %+v", sig, s.Members)
		}
	}
}
