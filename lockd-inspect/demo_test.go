package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lockd/arena"
)

// demoOf starts the show; what it makes is in /dev/shm.
func demoOf(t *testing.T, args ...string) (p *process, file string) {
	t.Helper()
	p = start(t, append([]string{asTool, "demo"}, args...)...)
	return p, filepath.Join(arena.Dir, fmt.Sprintf("lockd-demo-%d", p.Process.Pid))
}

func (p *process) until(text string) (seen []string) {
	p.t.Helper()
	for {
		line := p.line()
		if seen = append(seen, line); strings.Contains(line, text) {
			return seen
		}
	}
}

func TestDemo(t *testing.T) {
	p, file := demoOf(t)
	seen := strings.Join(p.until("All of it is gone again."), "\n")
	if code := p.exit(); code != 0 || p.complaints() != "" {
		t.Errorf("exit code %d, %s", code, p.complaints())
	}
	for _, want := range []string{
		"\ninvoices  mutex  held ", "\n$ lockd-inspect show ", "\nwaiters       2\n",
		"\nstate         inherited: ", "./number-invoices) died, ", // the heir
		": deadlock: ", " holds disk while its pid ", " holds tape while its pid ", "↺ deadlock",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("it does not show %q:\n%s", want, seen)
		}
	}
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", file, err)
	}
}

// Ctrl-C ends it in the middle, and nothing and nobody is left.
func TestDemoInterrupted(t *testing.T) {
	keyboard, terminal := openTerminal(t)
	p := startWith(t, func(c *exec.Cmd) {
		c.Stdin = terminal
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	}, asTool, "demo", "--pause", "1h")
	file := filepath.Join(arena.Dir, fmt.Sprintf("lockd-demo-%d", p.Process.Pid))
	p.until("COMMAND")
	p.until("number-invoices")
	s, err := arena.ReadSnapshot(file)
	if err != nil || len(s.Members) != 3 {
		t.Fatalf("%v, %+v", err, s)
	}
	keyboard.WriteString("\x03")
	for range p.lines {
	}
	if code := p.exit(); code != exitInterrupted || p.complaints() != "" {
		t.Errorf("exit code %d, %q", code, p.complaints())
	}
	if _, err := os.Lstat(file); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", file, err)
	}
	for _, m := range s.Members {
		if err := syscall.Kill(int(m.PID), 0); err != syscall.ESRCH {
			t.Errorf("pid %d is left: %v", m.PID, err)
		}
	}
}

func TestDemoRefuses(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"--pause", "-1s"}, {"--fast"}} {
		if code, _, stderr := call(nil, append([]string{"demo"}, args...)...); code != 2 || !strings.Contains(stderr, "help demo says more") {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}

// nothing is what a lock is taken for that is to be in the table.
func nothing(context.Context) error { return nil }
