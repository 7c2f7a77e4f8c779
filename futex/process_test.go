//go:build linux && (amd64 || arm64)

package futex

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childRole, where set, makes the test binary another process of a test.
const childRole = "LOCKD_FUTEX_CHILD"

func TestMain(m *testing.M) {
	role := strings.Fields(os.Getenv(childRole))
	if len(role) == 0 {
		os.Exit(m.Run())
	}
	if err := play(role); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func play(role []string) error {
	if role[0] == "forbidden" {
		return forbidden(role[1])
	}
	page, err := mapShared(os.NewFile(3, "shared"))
	if err != nil {
		return err
	}
	wait := waitFunc(waitOn)
	if role[1] == "WaitAny" {
		wait = waitOne
	}
	if role[0] == "echo" {
		return echo(page, wait)
	}
	return answerBesideWaiters(page, wait)
}

// child is another process that runs this test binary. It gives up by itself
// after a while, should the test be killed.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string
}

func startChild(t *testing.T, role string, shared *os.File) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0]), lines: make(chan string, 1)}
	c.cmd.Env = append(os.Environ(), childRole+"="+role)
	c.cmd.Stderr = os.Stderr
	if shared != nil {
		c.cmd.ExtraFiles = []*os.File{shared}
	}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.in = in
	heard := make(chan struct{})
	t.Cleanup(func() {
		in.Close()
		c.cmd.Process.Kill()
		<-heard
		c.cmd.Wait()
	})
	go func() {
		defer close(heard)
		defer close(c.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			c.lines <- scan.Text()
		}
	}()
	return c
}

// hear returns the child's next line, "" when it has no more to say.
func (c *child) hear() string {
	c.t.Helper()
	select {
	case line := <-c.lines:
		return line
	case <-time.After(surelyDone):
		c.t.Fatal("the child says nothing")
		panic("unreachable")
	}
}

// finish waits until the child has ended well.
func (c *child) finish() {
	c.t.Helper()
	c.in.Close()
	if line := c.hear(); line != "" {
		c.t.Error(line)
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Error(err)
	}
}

func sharedPage(t testing.TB) (*os.File, []byte) {
	t.Helper()
	fd, err := unix.MemfdCreate("futex-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "futex-test")
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(int64(unix.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	page, err := mapShared(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(page) })
	return file, page
}

func mapShared(file *os.File) ([]byte, error) {
	return unix.Mmap(int(file.Fd()), 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// wordAt returns the word at the start of the i-th cache line.
func wordAt(page []byte, i int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&page[64*i : 64*i+4][0]))
}

const echoRounds = 200

// waitFor sleeps until word is want, which follows on want-1.
func waitFor(word *atomic.Uint32, want uint32, deadline int64, wait waitFunc) error {
	for word.Load() != want {
		if err := wait(word, want-1, deadline); err != nil && err != ErrChanged {
			return fmt.Errorf("waiting for round %d: %w", want, err)
		}
	}
	return nil
}

func echo(page []byte, wait waitFunc) error {
	call, answer := wordAt(page, 0), wordAt(page, 1)
	for round := uint32(1); round <= echoRounds; round++ {
		if err := waitFor(call, round, surely(), wait); err != nil {
			return err
		}
		answer.Store(round)
		Wake(answer, 1)
	}
	return nil
}

func TestWakeAcrossProcesses(t *testing.T) {
	for _, name := range []string{"Wait", "WaitAny"} {
		t.Run(name, func(t *testing.T) {
			wait := waitFunc(waitOn)
			if name == "WaitAny" {
				needWaitAny(t)
				wait = waitOne
			}
			file, page := sharedPage(t)
			call, answer := wordAt(page, 0), wordAt(page, 1)
			c := startChild(t, "echo "+name, file)
			for round := uint32(1); round <= echoRounds; round++ {
				if round%10 == 1 {
					// Otherwise the child might see every store without ever sleeping.
					wakeExactly(t, 1, func() int { return Wake(call, All) })
				}
				call.Store(round)
				Wake(call, 1)
				if err := waitFor(answer, round, surely(), wait); err != nil {
					t.Fatal(err)
				}
			}
			c.finish()
		})
	}
}

const processors = 2

// answerBesideWaiters answers lines while as many goroutines as it has
// processors are in waits. These have no deadline: the signals by which the
// runtime tries to get a processor back would end a Wait that has one.
func answerBesideWaiters(page []byte, wait waitFunc) error {
	runtime.GOMAXPROCS(processors)
	word := wordAt(page, 0)
	ended := make(chan error, processors)
	for range processors {
		go func() { ended <- waitFor(word, 1, 0, wait) }()
	}
	for scan := bufio.NewScanner(os.Stdin); scan.Scan(); {
		fmt.Println(scan.Text())
	}
	word.Store(1)
	Wake(word, All)
	for range processors {
		if err := <-ended; err != nil {
			return err
		}
	}
	return nil
}

func TestWaitersHoldNoProcessor(t *testing.T) {
	for _, name := range []string{"Wait", "WaitAny"} {
		t.Run(name, func(t *testing.T) {
			if name == "WaitAny" {
				needWaitAny(t)
			}
			file, page := sharedPage(t)
			word := wordAt(page, 0)
			c := startChild(t, "waiters "+name, file)
			wakeExactly(t, processors, func() int { return Wake(word, All) })
			for _, question := range []string{"alive?", "still?"} {
				if _, err := fmt.Fprintln(c.in, question); err != nil {
					t.Fatal(err)
				}
				if answer := c.hear(); answer != question {
					t.Fatalf("got %q", answer)
				}
			}
			c.finish()
		})
	}
}
