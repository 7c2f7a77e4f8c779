package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

const (
	mustBeDone    = 60 * time.Second
	mustStillWait = 100 * time.Millisecond
)

// The test binary is also the command itself, and the programs that tests run
// under locks: the first argument says which.
const (
	asTool    = "as-lockd-inspect"
	asHolder  = "as-holder"  // PATH LABEL LOCK…: holds the locks (r:, u:, x: rwmutexes; range:MODE:START:LENGTH:) until its standard input ends
	asChurner = "as-churner" // PATH LABEL: takes locks of all kinds until its standard input ends
	asUntil   = "as-until"   // FIFO [MIB]: ends when the fifo does
	asCheck   = "as-check"   // PID: says whether that process is gone
	asSignals = "as-signals" // says which signals it gets, until SIGTERM
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		args := os.Args[2:]
		switch os.Args[1] {
		case asTool:
			os.Exit(run(args, os.Stdin, os.Stdout, os.Stderr))
		case asHolder:
			holder(args[0], args[1], args[2:])
			os.Exit(0)
		case asChurner:
			churner(args[0], args[1])
			os.Exit(0)
		case asUntil:
			until(args)
			os.Exit(0)
		case asCheck:
			check(args[0])
			os.Exit(0)
		case asLimited:
			os.Exit(limited(args))
		case asSignals:
			tellSignals()
			os.Exit(0)
		}
	}
	// A shell starts what runs in its background with some signals ignored,
	// and what is ignored stays so in all that we start. What is caught does not.
	for _, sig := range passedOn() {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig)
		}
	}
	os.Exit(m.Run())
}

func holder(path, label string, locks []string) {
	a, err := arena.Open(path, &arena.Options{Label: label})
	if err != nil {
		panic(err)
	}
	rw := map[string]func(*arena.RWMutex, context.Context) error{
		"r": (*arena.RWMutex).RLockContext, "u": (*arena.RWMutex).ULockContext, "x": (*arena.RWMutex).LockContext,
	}
	for _, name := range locks {
		if mode, name, _ := strings.Cut(name, ":"); rw[mode] != nil {
			if err := rw[mode](a.RWMutex(name), context.Background()); err != nil {
				panic(err)
			}
			continue
		}
		if rest, ok := strings.CutPrefix(name, "range:"); ok {
			lockRange(a, rest)
			continue
		}
		name, passing := strings.CutPrefix(name, "pass:")
		if err := a.Mutex(name).LockContext(context.Background()); err != nil {
			panic(err)
		}
		if passing {
			a.Mutex(name).Unlock()
		}
	}
	fmt.Println("ready")
	// Each line is one more mutex or range to wait for, or a mutex to release.
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "release:"); ok {
			fmt.Println(a.Mutex(name).Release())
			continue
		}
		if rest, ok := strings.CutPrefix(lines.Text(), "range:"); ok {
			go lockRange(a, rest)
			continue
		}
		go a.Mutex(lines.Text()).LockContext(context.Background())
	}
	a.Close()
}

func lockRange(a *arena.Arena, text string) {
	parts := strings.SplitN(text, ":", 4)
	start, _ := strconv.ParseInt(parts[1], 10, 64)
	length, _ := strconv.ParseInt(parts[2], 10, 64)
	mode := arena.Exclusive
	if parts[0] == "s" {
		mode = arena.Shared
	}
	if err := a.Ranges(parts[3]).Lock(context.Background(), mode, start, length); err != nil && !errors.Is(err, arena.ErrClosed) {
		panic(err)
	}
}

func churner(path, label string) {
	a, err := arena.Open(path, &arena.Options{Label: label})
	if err != nil {
		panic(err)
	}
	ended := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	ctx := context.Background()
	nothing := func(context.Context) error { return nil }
	for i := 0; ; i++ {
		select {
		case <-ended:
			a.Close()
			return
		default:
		}
		a.Mutex(fmt.Sprint("l", i%50)).Do(ctx, nothing)
		a.RWMutex(fmt.Sprint("r", i%20)).RDo(ctx, nothing)
		a.RWMutex(fmt.Sprint("r", i%7)).Do(ctx, nothing)
		if t, err := a.Semaphore("s", 4).Acquire(ctx, 1+i%4); err == nil {
			t.Release()
		}
		a.Ranges("t").Do(ctx, arena.Mode(1+i%2), int64(i%9), 3, nothing)
		if i == 0 {
			fmt.Println("ready")
		}
	}
}

func until(args []string) {
	if len(args) > 1 { // memory makes dying slow
		mib, _ := strconv.Atoi(args[1])
		memory := make([]byte, mib<<20)
		for i := 0; i < len(memory); i += 4096 {
			memory[i] = 1
		}
		defer bytes.Clone(memory[:1])
	}
	f, err := os.Open(args[0])
	if err != nil {
		panic(err)
	}
	fmt.Println("pid", os.Getpid())
	io.Copy(io.Discard, f)
}

func check(number string) {
	pid, _ := strconv.Atoi(number)
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		unix.Poll(poll, 0)
		if poll[0].Revents == 0 {
			fmt.Println("alive")
			return
		}
	}
	fmt.Println("gone")
}

func tellSignals() {
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, passedOn()...)
	fmt.Println("ready")
	for sig := range caught {
		fmt.Println(sig)
		if sig == syscall.SIGTERM {
			os.Exit(33)
		}
	}
}

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
