package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

const (
	mustBeDone    = 5 * time.Minute
	mustStillWait = 100 * time.Millisecond
)

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a real one, killed at the end of the test at the latest.
type process struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	lines chan string // of standard output
	ended chan struct{}

	read   chan struct{} // all of standard error has been
	stderr bytes.Buffer  // only after that
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWith(t, func(*exec.Cmd) {}, args...)
}

func startWith(t *testing.T, change func(*exec.Cmd), args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(self(t), args...), t: t, lines: make(chan string, 100), ended: make(chan struct{}), read: make(chan struct{})}
	change(p.Cmd)
	if p.Stdin == nil {
		stdin, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.stdin = stdin
	}
	// Pipes of our own: Wait shall not wait for those in the background.
	outRead, outWrite := pipe(t)
	errRead, errWrite := pipe(t)
	p.Cmd.Stdout, p.Cmd.Stderr = outWrite, errWrite
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	outWrite.Close()
	errWrite.Close()
	go func() {
		for lines := bufio.NewScanner(outRead); lines.Scan(); {
			p.lines <- lines.Text()
		}
		close(p.lines)
	}()
	go func() {
		io.Copy(&p.stderr, errRead)
		close(p.read)
	}()
	go func() {
		p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.ended
		if p.stdin != nil {
			p.stdin.Close()
		}
		outRead.Close()
		errRead.Close()
		<-p.read
	})
	return p
}

func pipe(t *testing.T) (*os.File, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func (p *process) line() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("%v ended without a line: %s", p.Args[1:], p.complaints())
		}
		return line
	case <-time.After(mustBeDone):
		p.t.Fatalf("%v says nothing", p.Args[1:])
	}
	return ""
}

func (p *process) pid() int {
	p.t.Helper()
	number, ok := strings.CutPrefix(p.line(), "pid ")
	pid, err := strconv.Atoi(number)
	if !ok || err != nil {
		p.t.Fatalf("%v gives no pid", p.Args[1:])
	}
	return pid
}

func (p *process) silent() {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		p.t.Fatalf("%v went on too early: %q, %v", p.Args[1:], line, ok)
	case <-time.After(mustStillWait):
	}
}

func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(mustBeDone):
		p.t.Fatalf("%v does not end", p.Args[1:])
	}
	return p.ProcessState.ExitCode()
}

// complaints waits until nobody can write any more of them.
func (p *process) complaints() string {
	p.t.Helper()
	select {
	case <-p.read:
	case <-time.After(mustBeDone):
		p.t.Fatalf("somebody still has the standard error of %v", p.Args[1:])
	}
	return p.stderr.String()
}

func (p *process) kill() {
	p.t.Helper()
	p.Process.Kill()
	p.exit()
}

// stop returns when none of its threads does anything any more.
func (p *process) stop() {
	p.t.Helper()
	p.Process.Signal(syscall.SIGSTOP)
	eventually(p.t, "it is stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.Process.Pid))
		return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, func(path string) bool { return stateIn(path) != 'T' })
	})
}

// stopIdle stops it where it has none of the arena's latches: soon after it came
// it looks after the dead, and whoever is stopped meanwhile is in others' way.
func (p *process) stopIdle(path string) {
	p.t.Helper()
	eventually(p.t, "it is stopped without a latch", func() bool {
		p.stop()
		s, err := arena.ReadSnapshot(path)
		if err != nil {
			p.t.Fatal(err)
		}
		if !slices.ContainsFunc(s.Latches, func(l arena.LatchInfo) bool { return l.Owner != nil && int(l.Owner.PID) == p.Process.Pid }) {
			return true
		}
		p.Process.Signal(syscall.SIGCONT)
		return false
	})
}

func hold(t *testing.T, path, label string, locks ...string) *process {
	t.Helper()
	p := start(t, append([]string{asHolder, path, label}, locks...)...)
	if line := p.line(); line != "ready" {
		t.Fatalf("holder says %q", line)
	}
	return p
}

// fifo is what as-until waits for the end of.
func fifo(t *testing.T) (path string, end func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return path, func() { f.Close() }
}

// eventually polls what can only be seen from outside.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(mustBeDone); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func waitersOf(path, lock string) int {
	s, err := arena.ReadSnapshot(path)
	if err != nil {
		return -1
	}
	for _, l := range s.Locks {
		if l.Name == lock {
			return l.Waiters
		}
	}
	return 0
}

// call is run in this process.
func call(stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, stdin, &out, &err)
	return code, out.String(), err.String()
}
