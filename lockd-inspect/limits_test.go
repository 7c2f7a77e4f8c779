package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

// asLimited N PATH LOCK: run, as a user of his own, who may have N threads.
const asLimited = "as-limited"

const userOfHisOwn = 54321

var diesOfThreads = regexp.MustCompile(`failed to create new OS thread|pthread_create failed`)

func limited(args []string) int {
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(userOfHisOwn), syscall.Setuid(userOfHisOwn)); err != nil {
		panic(err)
	}
	n, _ := strconv.Atoi(args[0])
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: uint64(n), Max: uint64(n)}); err != nil {
		panic(err)
	}
	return run([]string{"run", args[1], args[2], "--", "true"}, os.Stdin, os.Stdout, os.Stderr)
}

// Who may start no more processes is told so, or, where Go itself cannot do
// without one more thread, dies of it. Either way others get the lock.
func TestRunWithoutProcesses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be a user without other processes")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(arena.Dir, "lockd-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, userOfHisOwn, userOfHisOwn); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a")
	codes := make(map[int]int)
	for _, n := range []int{1, 4, 6, 8, 10, 12, 100} {
		cmd := exec.Command(exe, asLimited, strconv.Itoa(n), path, "lock")
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		cmd.Run()
		code := cmd.ProcessState.ExitCode()
		codes[code]++
		switch {
		case code == 0:
		case code == exitSystem && strings.Contains(complaints.String(), "cannot run true"):
		case code == 2 && diesOfThreads.MatchString(complaints.String()):
		default:
			t.Errorf("with %d threads: exit code %d: %s", n, code, complaints.String())
		}
		if _, err := os.Stat(path); err == nil {
			takeAfter(t, path)
		}
	}
	t.Logf("exit codes: %v", codes)
	if codes[0] == 0 || len(codes) < 2 {
		t.Error("the limit made no difference")
	}
}

func takeAfter(t *testing.T, path string) {
	t.Helper()
	a, err := arena.Open(path, &arena.Options{AllowOtherOwner: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(context.Background(), mustBeDone)
	defer cancel()
	m := a.Mutex("lock")
	if err := m.LockContext(ctx); err != nil {
		t.Fatal(err)
	}
	m.MarkConsistent()
	m.Unlock()
}
