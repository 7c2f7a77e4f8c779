package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lockd/arena"
)

// asStranger FOLDER ARG…: the command, as a user who is not root.
const asStranger = "as-stranger"

func stranger(args []string) int {
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(userOfHisOwn), syscall.Setuid(userOfHisOwn)); err != nil {
			panic(err)
		}
	}
	folder = args[0]
	return run(args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// Who may read none of the arenas that are there is not told that all is well.
func TestNoneMayBeRead(t *testing.T) {
	dir, err := os.MkdirTemp(arena.Dir, "lockd-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	expect := func(code int, stdout, stderr string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), mustBeDone)
		defer cancel()
		c := exec.CommandContext(ctx, self(t), append([]string{asStranger, dir}, args...)...)
		var out, complaints strings.Builder
		c.Stdout, c.Stderr = &out, &complaints
		c.Run()
		if got := c.ProcessState.ExitCode(); got != code || out.String() != stdout || complaints.String() != stderr {
			t.Errorf("%q: exit code %d, %q, %q; want %d, %q, %q", args, got, out.String(), complaints.String(), code, stdout, stderr)
		}
	}
	for _, name := range []string{"billing", "new\nline"} {
		a, err := arena.Open(filepath.Join(dir, name), nil)
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	small := filepath.Join(dir, "sem.small")
	if err := os.WriteFile(small, make([]byte, 32), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, userOfHisOwn, userOfHisOwn); err != nil {
			t.Fatal(err)
		}
	}
	none := fmt.Sprintf("lockd-inspect: no arenas in %s that you may read", dir)
	both := none + `; what you may not read and may be one: billing, "new\nline"` + "\n"
	expect(2, "", both, "check")
	expect(2, "", both, "check", "-q")
	expect(2, "", both, "metrics")
	for _, name := range []string{"billing", "new\nline"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	expect(0, "", none+"\n", "check")
	expect(0, "", "", "check", "-q")
	expect(0, "", "", "metrics")
}
