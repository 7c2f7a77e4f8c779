package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"lockd/arena"
)

// unread starts the command, reads its first line, and then goes away.
func unread(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	from, to := pipe(t)
	defer from.Close()
	ctx, cancel := context.WithTimeout(t.Context(), mustBeDone)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, self(t), append([]string{asTool}, args...)...)
	c.Stdout = to
	err := c.Start()
	to.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReaderSize(from, 16).ReadString('\n'); err != nil {
		t.Error(err)
	}
	return c
}

// Whose reader has gone ends, though it had nothing more to write.
func TestWatchUnread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	a, err := arena.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := unread(t, "watch", path, "--interval", "5ms")
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitUnread {
		t.Errorf("exit code %d", code)
	}
}

// The show leaves nothing when nobody looks any more.
func TestDemoUnread(t *testing.T) {
	c := unread(t, "demo")
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitUnread {
		t.Errorf("it ends with %v, exit code %d", c.ProcessState, code)
	}
	file := filepath.Join(arena.Dir, fmt.Sprintf("lockd-demo-%d", c.Process.Pid))
	if err := os.Remove(file); err == nil {
		t.Errorf("%s was left", file)
	}
}

// tickets holds all that a semaphore has.
func tickets(t *testing.T) (path string, held arena.Tickets) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a")
	a, err := arena.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if held, err = a.Semaphore("gpu", 2).Acquire(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	return path, held
}

// Ctrl-C takes back what somebody waits for.
func TestSemInterrupted(t *testing.T) {
	path, held := tickets(t)
	for _, args := range [][]string{{"destroy", "gpu"}, {"resize", "gpu", "1", "--wait"}} {
		p := start(t, append([]string{asTool, "sem", path}, args...)...)
		eventually(t, "it waits", func() bool { return waitersOf(path, "gpu") == 1 })
		p.Process.Signal(syscall.SIGINT)
		if code := p.exit(); code != exitInterrupted || p.complaints() != "" {
			t.Errorf("%q: exit code %d, %s", args, code, p.complaints())
		}
		s, err := arena.ReadSnapshot(path)
		if err != nil || len(s.Members) != 1 || waitersOf(path, "gpu") != 0 {
			t.Errorf("%q leaves %+v, %d wait; %v", args, s.Members, waitersOf(path, "gpu"), err)
		}
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}

// Under nohup the end of a terminal is none of what waits there.
func TestSemNotHungUp(t *testing.T) {
	path, held := tickets(t)
	p := startWith(t, func(c *exec.Cmd) {
		c.Path = "/bin/sh"
		c.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, c.Args...)
	}, asTool, "sem", path, "destroy", "gpu")
	eventually(t, "it waits", func() bool { return waitersOf(path, "gpu") == 1 })
	p.Process.Signal(syscall.SIGHUP)
	p.silent()
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if code := p.exit(); code != exitFine || p.complaints() != "" {
		t.Errorf("exit code %d, %s", code, p.complaints())
	}
}
