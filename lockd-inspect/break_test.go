package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

func TestBreak(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	owner := hold(t, path, "ow\nner", "l", "kept")
	pid := owner.Process.Pid
	code, stdout, stderr := call(nil, "break", path, "l", "--yes")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	me := userName(uint32(os.Getuid()))
	for _, want := range []string{
		fmt.Sprintf("owner         pid %d, alive\n", pid), "  label       \"ow\\nner\"\n", "  user        " + me + "\n", "  command     ", asHolder, "waiters       0\n",
		fmt.Sprintf("took l away from pid %d (\"ow\\nner\")\n", pid), "run --mark-consistent " + path + " l -- COMMAND\n", fmt.Sprintf("kill %d\n", pid),
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	expect(t, "kept  held\nl  abandoned\n", "locks", path, "--no-headers", "-o", "name,state")
	_, stdout, _ = call(nil, "check", path)
	if want := fmt.Sprintf("abandoned: l: pid %d (\"ow\\nner\") was robbed holding it", pid); !strings.Contains(stdout, want) {
		t.Errorf("check: %s; want %s", stdout, want)
	}
	code, _, stderr = call(nil, "run", "--mark-consistent", path, "l", "--", "true")
	if want := fmt.Sprintf("l was abandoned: pid %d (\"ow\\nner\") was robbed holding it", pid); code != 0 || !strings.Contains(stderr, want) {
		t.Errorf("the heir: exit code %d, %q; want %s", code, stderr, want)
	}
	fmt.Fprintln(owner.stdin, "release:l")
	if line := owner.line(); !strings.Contains(line, arena.ErrRobbed.Error()) {
		t.Errorf("the robbed is told %q", line)
	}
	fmt.Fprintln(owner.stdin, "release:kept")
	if line := owner.line(); line != "<nil>" {
		t.Errorf("the other lock: %q", line)
	}
}

// A stopped owner is robbed, and who waited goes on; a run that was robbed
// says so at its end.
func TestBreakHandsOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	robbed := start(t, asTool, "run", path, "l", "--", self(t), asUntil, end)
	robbed.pid()
	heir := start(t, asTool, "run", path, "l", "--", "echo", "served")
	eventually(t, "it waits", func() bool { return waitersOf(path, "l") == 1 })
	robbed.stop()
	code, stdout, stderr := call(nil, "break", "--yes", path, "l")
	if code != 0 || !strings.Contains(stdout, fmt.Sprintf("pid %d, stopped\n", robbed.Process.Pid)) || !strings.Contains(stdout, "waiters       1\n") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	if line := heir.line(); line != "served" {
		t.Errorf("the heir says %q", line)
	}
	robbed.Process.Signal(syscall.SIGCONT)
	finish()
	robbed.exit()
	if said := robbed.complaints(); !strings.Contains(said, "l was taken away while the command ran") {
		t.Errorf("the robbed says %q", said)
	}
}

// A run that has ended has no pid any more that one could kill.
func TestBreakInherited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	p := start(t, asTool, "run", path, "l", "--", "sh", "-c", `"$0" `+asUntil+` "$1" & exit 0`, self(t), end)
	heir := p.pid()
	p.exit()
	code, stdout, stderr := call(nil, "break", "--yes", path, "l")
	for _, want := range []string{fmt.Sprintf("owner         pid %d, inherited\n", p.Process.Pid), fmt.Sprintf("  kept by     pid %d: ", heir), fmt.Sprintf("to end it: kill %d\n", heir)} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, %s%s; want %s", code, stdout, stderr, want)
		}
	}
	if code, _, stderr := call(nil, "run", "-n", path, "l", "--", "true"); code != 0 || !strings.Contains(stderr, "was robbed") {
		t.Errorf("the next: exit code %d, %q", code, stderr)
	}
	finish()
}

func TestHowToEnd(t *testing.T) {
	for want, m := range map[string]*member{
		"in its own pid namespace": {PID: 7, Foreign: true}, "kill 7": {PID: 7}, "kill 8 9": {PID: 7, Ended: true, Heirs: []heir{{8, ""}, {9, ""}}},
		"end what its command left running": {PID: 7, Ended: true},
	} {
		if got := m.howToEnd(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBreakRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	owner := hold(t, path, "owner", "l", "pass:free", "r:book", "range:x:0:1:rows")
	call(nil, "sem", path, "make", "gpu", "2")
	deserted := path + "-deserted"
	hold(t, deserted, "dead", "orphan").kill()
	call(nil, "settle", path) // so the owner need not, who looks after the dead when it has attached
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, tc := range []struct {
		stdin io.Reader
		args  []string
		code  int
		says  string
	}{
		{nil, []string{path, "l"}, 2, "nobody can be asked here: break needs --yes"},
		{strings.NewReader("y\n"), []string{path, "l"}, 2, "nobody can be asked here"},
		{file, []string{path, "l"}, 2, "nobody can be asked here"},
		{nil, []string{}, 2, "break needs an ARENA and a LOCK"},
		{nil, []string{path, "--yes"}, 2, "break needs an ARENA and a LOCK"},
		{nil, []string{path, "l", "free", "--yes"}, 2, "break needs an ARENA and a LOCK"},
		{nil, []string{path, "l", "--force"}, 2, "unknown flag: --force"},
		{nil, []string{path, "none", "--yes"}, 1, "no lock named none in " + path + "; there are: book, free, gpu, l, rows"},
		{nil, []string{path, "free", "--yes"}, 1, "nobody holds free: it is free"},
		{nil, []string{deserted, "orphan", "--yes"}, 1, "is dead: the next who locks it inherits it; lockd-inspect settle " + deserted},
		{nil, []string{path, "book", "--yes"}, 2, "book is of kind rwmutex, and only a mutex can be taken away; end the process that holds it: lockd-inspect show " + path + " book says which"},
		{nil, []string{path, "gpu", "--yes"}, 2, "of kind semaphore"},
		{nil, []string{path, "rows", "--yes"}, 2, "of kind ranges"},
		{nil, []string{path + "x", "l", "--yes"}, 2, "no arena at " + path + "x"},
		{nil, []string{billing, "busy", "--yes"}, 2, "not an arena"},
	} {
		code, _, stderr := call(tc.stdin, append([]string{"break"}, tc.args...)...)
		if code != tc.code || !strings.Contains(stderr, tc.says) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", tc.args, code, stderr, tc.code, tc.says)
		}
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed (%v)", err)
	}
	call(nil, "settle", deserted)
	if code, _, stderr := call(nil, "break", "-y", deserted, "orphan"); code != 1 || !strings.Contains(stderr, "was abandoned; the next who locks it is told") {
		t.Errorf("abandoned: exit code %d, %q", code, stderr)
	}
	fmt.Fprintln(owner.stdin, "release:l")
	if line := owner.line(); line != "<nil>" {
		t.Errorf("the owner was robbed: %q", line)
	}
}

// On a terminal it asks, and takes nothing but a yes for one. While it asks
// the lock may change hands: then nobody is robbed.
func TestBreakAsks(t *testing.T) {
	for _, tc := range []struct {
		answer string
		code   int
		state  string
	}{{"n", 1, "held"}, {"", 1, "held"}, {"yess", 1, "held"}, {"\x04", 1, "held"}, {"y", 0, "abandoned"}, {"YES", 0, "abandoned"}} {
		path := filepath.Join(t.TempDir(), "a")
		owner := hold(t, path, "owner", "l")
		screen, code := asked(t, path, tc.answer, func() {})
		if want := fmt.Sprintf("Take l away from pid %d (owner)? [y/N] ", owner.Process.Pid); code != tc.code || !strings.Contains(screen, want) {
			t.Errorf("%q: exit code %d, %s", tc.answer, code, screen)
		}
		expect(t, tc.state+"\n", "locks", path, "--no-headers", "-o", "state")
	}
	path := filepath.Join(t.TempDir(), "a")
	owner := hold(t, path, "owner", "l")
	var other *process
	screen, code := asked(t, path, "y", func() {
		fmt.Fprintln(owner.stdin, "release:l")
		owner.line()
		other = hold(t, path, "other", "l")
	})
	if want := fmt.Sprintf("nothing was taken: l changed hands meanwhile, pid %d (owner) holds it no more; look again: lockd-inspect show %s l", owner.Process.Pid, path); code != 1 || !strings.Contains(screen, want) {
		t.Errorf("another owner: exit code %d, %s; want %s", code, screen, want)
	}
	expect(t, fmt.Sprintf("held  %d\n", other.Process.Pid), "locks", path, "--no-headers", "-o", "state,pid")
}

// asked runs break on a terminal and types an answer to its question; what is
// to happen between the two is done.
func asked(t *testing.T, path, answer string, between func()) (screen string, code int) {
	t.Helper()
	keyboard, terminal := openTerminal(t)
	unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 200})
	ended := make(chan int)
	go func() { ended <- run([]string{"break", path, "l"}, terminal, terminal, terminal) }()
	var shown strings.Builder
	buffer := make([]byte, 4096)
	until := func(text string) {
		for !strings.Contains(shown.String(), text) {
			n, err := keyboard.Read(buffer)
			if err != nil {
				t.Fatal(err)
			}
			shown.Write(buffer[:n])
		}
	}
	until("[y/N] ")
	between()
	fmt.Fprintln(keyboard, answer)
	code = <-ended
	const end = "the end"
	fmt.Fprintln(terminal, end)
	until(end)
	return shown.String(), code
}
