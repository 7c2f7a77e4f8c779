// Command lockd-inspect shows who holds what in the arenas of this host, and
// runs commands under a lock. It reads arenas without becoming a member and
// without writing a byte, so it works while everything is wedged; only the
// verbs run, sem, settle, break and rm take part.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

func main() { os.Exit(begin(os.Args[1:])) }

// begin is all that this process does.
func begin(args []string) int {
	if len(args) > 0 && args[0] == "run" {
		// It does one thing after the other. Goroutines that need no second
		// thread start no second thread.
		runtime.GOMAXPROCS(1)
	}
	t := toolFor(os.Stdin, os.Stdout, os.Stderr)
	t.ends = true
	return t.call(args)
}

// Exit codes of all verbs but run, like grep's.
const (
	exitFine       = 0
	exitFound      = 1
	exitCannotTell = 2

	// As a shell says it of a command that a signal ended.
	exitInterrupted = 128 + int(syscall.SIGINT)
	exitUnread      = 128 + int(syscall.SIGPIPE)
)

// interruptible is a context that ends with what ends a process, for verbs that
// then have something to put in order. What nohup, or a shell for what it runs in
// the background, has told the process to ignore does not end it: who asks for a
// signal gets it though it was ignored.
func interruptible(more ...os.Signal) (context.Context, context.CancelFunc) {
	ends := slices.DeleteFunc(append(more, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP), signal.Ignored)
	if len(ends) == 0 { // which would ask for all
		return context.WithCancel(context.Background())
	}
	return signal.NotifyContext(context.Background(), ends...)
}

// tool is one call of the command.
type tool struct {
	stdin   io.Reader
	stdout  *output
	stderr  io.Writer
	folder  string // where bare names live
	screen  screen // of stdout
	skimmed []*arena.Skimmed
	ends    bool // the process does, with this call
}

// folder is another one in tests.
var folder = arena.Dir

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return toolFor(stdin, stdout, stderr).call(args)
}

func toolFor(stdin io.Reader, stdout, stderr io.Writer) *tool {
	return &tool{stdin: stdin, stdout: &output{to: stdout}, stderr: stderr, folder: folder, screen: screenOf(stdout)}
}

// call does what one call asks for. What could not be written is no answer.
func (t *tool) call(args []string) int {
	defer t.close()
	code := t.dispatch(args)
	if err := t.stdout.err; err != nil && code < exitCannotTell {
		t.complain("%v", err)
		return exitCannotTell
	}
	return code
}

// output remembers the first error of writing.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// unread tells whether nobody is left who could read what is written. Who writes
// seldom would not notice.
func (o *output) unread() bool {
	f, ok := o.to.(*os.File)
	if !ok {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0 && poll[0].Revents&unix.POLLERR != 0
}

func (t *tool) dispatch(args []string) int {
	if len(args) > 0 {
		if v := verbNamed(args[0]); v != nil {
			return t.do(v, args[1:])
		}
	}
	return t.unnamed(args)
}

// close lets go of the arenas that are still being read.
func (t *tool) close() {
	for _, s := range t.skimmed {
		s.Close()
	}
}

// complain writes an error for a person, without control characters.
func (t *tool) complain(format string, args ...any) {
	fmt.Fprintf(t.stderr, "lockd-inspect: %s\n", printable(fmt.Sprintf(format, args...)))
}
