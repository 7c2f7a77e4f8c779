// Package proc starts real processes for tests: the test binary again, in a
// role that the test names. Parent and child talk in lines, so that tests wait
// for each other by handshake and never by sleeping; and who is to be blocked is
// seen to rest.
package proc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// StillBlocks is how long a test watches something that must not happen, and
// Soon, which depends on what is built, how long it waits for something that
// must. Soon is generous: it is for loaded machines, not for measuring.
const StillBlocks = 100 * time.Millisecond

const roleVariable = "LOCKD_TEST_ROLE"

// Role is what a started process does. It has its arguments, and talks with
// its parent by Say and Hear.
type Role func(args []string)

// Main is TestMain's body: in a started process it plays the role and exits;
// otherwise it runs the tests and then checks, which are for leaks.
func Main(m *testing.M, roles map[string]Role, checks ...func() error) {
	if name := os.Getenv(roleVariable); name != "" {
		role, ok := roles[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "no role %q\n", name)
			os.Exit(2)
		}
		go endWithParent()
		role(os.Args[1:])
		os.Exit(0)
	}
	code := m.Run()
	if code == 0 {
		for _, check := range checks {
			if err := check(); err != nil {
				fmt.Fprintln(os.Stderr, "after the tests:", err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// endWithParent ends a role whose test is gone, killed by a time-out perhaps,
// so that nothing that it does goes on without anybody who watches. In a pid
// namespace of its own the role sees no parent, and its init's end ends it.
func endWithParent() {
	for parent := os.Getppid(); parent != 0; time.Sleep(time.Second) {
		if os.Getppid() != parent {
			os.Exit(3)
		}
	}
}

// Say sends the parent a line.
func Say(format string, args ...any) {
	fmt.Fprintf(os.Stdout, format+"\n", args...)
}

var fromParent = bufio.NewReader(os.Stdin)

// Hear waits for the parent's next line. A parent that is gone ends the process.
func Hear() string {
	line, err := fromParent.ReadString('\n')
	if err != nil {
		os.Exit(3)
	}
	return strings.TrimSuffix(line, "\n")
}

// Proc is a started process. The test's clean-up kills and reaps it.
type Proc struct {
	Cmd   *exec.Cmd
	t     testing.TB
	lines chan string
	stdin *os.File
	ended chan struct{}
	err   error
}

// Option changes how a process is started.
type Option func(*exec.Cmd)

// Env adds a variable, "NAME=value".
func Env(variable string) Option {
	return func(c *exec.Cmd) { c.Env = append(c.Env, variable) }
}

// Sys sets the system attributes: credentials, namespaces.
func Sys(attr *syscall.SysProcAttr) Option {
	return func(c *exec.Cmd) { c.SysProcAttr = attr }
}

// Files are inherited as descriptors 3, 4, …
func Files(files ...*os.File) Option {
	return func(c *exec.Cmd) { c.ExtraFiles = append(c.ExtraFiles, files...) }
}

// Start starts this test binary in a role.
func Start(t testing.TB, role string, args []string, options ...Option) *Proc {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return StartCommand(t, exec.Command(exe, args...), append([]Option{Env(roleVariable + "=" + role)}, options...)...)
}

// StartCommand starts any command in the same way.
func StartCommand(t testing.TB, cmd *exec.Cmd, options ...Option) *Proc {
	t.Helper()
	cmd.Env = append(os.Environ(), cmd.Env...)
	for _, o := range options {
		o(cmd)
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = in, out
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	err = cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		stdin.Close()
		stdout.Close()
		t.Fatal(err)
	}
	p := &Proc{Cmd: cmd, t: t, lines: make(chan string, 1024), stdin: stdin, ended: make(chan struct{})}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		defer stdout.Close()
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
	}()
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Kill()
		for {
			select {
			case <-p.lines:
			case <-read:
				return
			}
		}
	})
	return p
}

// PID is the process's id.
func (p *Proc) PID() int { return p.Cmd.Process.Pid }

// Send sends the process a line.
func (p *Proc) Send(format string, args ...any) {
	fmt.Fprintf(p.stdin, format+"\n", args...)
}

// Next returns the process's next line, and fails the test if none comes.
func (p *Proc) Next() string {
	p.t.Helper()
	select {
	case line, ok := <-p.lines:
		if !ok {
			p.t.Fatalf("process %d ended without saying what was waited for", p.PID())
		}
		return line
	case <-time.After(Soon):
		p.showStacks()
		p.t.Fatalf("process %d said nothing for %v", p.PID(), Soon)
	}
	return ""
}

// Expect fails the test unless this is the process's next line.
func (p *Proc) Expect(want string) {
	p.t.Helper()
	if got := p.Next(); got != want {
		p.t.Fatalf("process %d said %q, not %q", p.PID(), got, want)
	}
}

// Silent fails the test if the process says anything within StillBlocks, and
// until it rests: then it has come to where it is blocked, however slow it was.
func (p *Proc) Silent() {
	p.t.Helper()
	for began, wait := time.Now(), StillBlocks; ; wait = lookAgain {
		select {
		case line, ok := <-p.lines:
			p.t.Fatalf("process %d said %q (open: %v), should still be blocked", p.PID(), line, ok)
		case <-time.After(wait):
		}
		if ProcessRests(p.PID()) || time.Since(began) > restsBy {
			return
		}
	}
}

// Lines is where the process's lines come, for tests that wait for several.
func (p *Proc) Lines() <-chan string { return p.lines }

// Signal sends a signal.
func (p *Proc) Signal(s syscall.Signal) { p.Cmd.Process.Signal(s) }

// Kill kills the process with SIGKILL and reaps it.
func (p *Proc) Kill() {
	p.Cmd.Process.Signal(syscall.SIGKILL)
	<-p.ended
	p.stdin.Close()
}

// showStacks has a Go process that hangs print what its goroutines are doing,
// which ends it.
func (p *Proc) showStacks() {
	p.Signal(syscall.SIGQUIT)
	select {
	case <-p.ended:
	case <-time.After(restsBy):
	}
}

// Wait waits until the process ends and returns how.
func (p *Proc) Wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(Soon):
		p.showStacks()
		p.t.Fatalf("process %d did not end for %v", p.PID(), Soon)
	}
	return nil
}

// MustBlock starts f and fails the test if it returns within StillBlocks, and
// until its goroutine rests; the returned function waits for it to return.
func MustBlock(t testing.TB, what string, f func()) (wait func()) {
	t.Helper()
	done, number := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(done)
		number <- ownNumber()
		f()
	}()
	self := <-number
	for began, wait := time.Now(), StillBlocks; ; wait = lookAgain {
		select {
		case <-done:
			t.Fatalf("%s did not block", what)
		case <-time.After(wait):
		}
		if goroutineRests(self) || time.Since(began) > restsBy {
			break
		}
	}
	return func() {
		t.Helper()
		select {
		case <-done:
		case <-time.After(Soon):
			t.Fatalf("%s still blocks after %v", what, Soon)
		}
	}
}
