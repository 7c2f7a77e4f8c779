package arena

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// An actor is a process that has one arena open and does what it is told, a
// line each, and answers each with one line. NAME may contain spaces.
//
//	lock NAME       "held", or "heir of PID LABEL CAUSE COUNT"
//	poll NAME       the same, by TryLock alone
//	within MS NAME  the same, by LockContext; or the error
//	try NAME        "held", "heir of …" or "busy"
//	unlock NAME     "ok" or the error
//	mark NAME       MarkConsistent: "ok" or the error
//	fence NAME      the number, or the error
//	break NAME      "robbed PID LABEL" or the error
//	hold FROM TO P  locks the names P0 … of that range: "held" or the error
//	drop FROM TO P  unlocks them: "ok"
//	exec            becomes another program under the same pid: "executed"
//	orphan          ends its first thread: "orphaned"
//	close           "ok" or the error
func init() {
	roles["actor"] = func(args []string) {
		o := &Options{Label: args[1], Logger: quiet}
		if len(args) > 2 {
			o.MaxLocks, _ = strconv.Atoi(args[2])
		}
		o.FullExit = os.Getenv(fullExitVariable) != ""
		act(args[0], o)
	}
	roles["executed"] = func([]string) {
		proc.Say("executed")
		proc.Hear()
	}
	if os.Getenv(roleVariable) == "actor" {
		runtime.LockOSThread() // to the first thread, which "orphan" ends
	}
}

// roleVariable is the one that package proc passes roles in.
const roleVariable = "LOCKD_TEST_ROLE"

// fullExitVariable has an actor ask for [Options.FullExit].
const fullExitVariable = "LOCKD_TEST_FULL_EXIT"

var quiet = slog.New(slog.DiscardHandler)

// atMost makes an actor ask for an arena of n locks.
func atMost(n int) proc.Option {
	return func(c *exec.Cmd) { c.Args = append(c.Args, strconv.Itoa(n)) }
}

func act(path string, o *Options) {
	orphan := make(chan struct{})
	go func() {
		a := reopen(path, o)
		proc.Say("ready")
		for {
			verb, rest, _ := strings.Cut(proc.Hear(), " ")
			if verb == "orphan" {
				close(orphan)
				awaitZombieLeader()
				proc.Say("orphaned")
				continue
			}
			proc.Say("%s", a.obey(verb, rest))
		}
	}()
	<-orphan
	// By Syscall, so that the runtime takes the thread for one that blocks.
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

// awaitZombieLeader returns when /proc calls this process a zombie.
func awaitZombieLeader() {
	for procState(os.Getpid()) != "Z" {
		time.Sleep(time.Millisecond)
	}
}

// procState is the state letter of /proc/PID/stat, "" if there is none.
func procState(pid int) string {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

func (a *Arena) obey(verb, rest string) string {
	m := a.Mutex(rest)
	switch verb {
	case "lock":
		m.Lock()
		return holding(m)
	case "poll":
		for !m.TryLock() {
			time.Sleep(100 * time.Microsecond) // the polled thing is what is tested
		}
		return holding(m)
	case "within":
		ms, name, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(ms)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*time.Millisecond)
		defer cancel()
		if err := a.Mutex(name).LockContext(ctx); err != nil {
			return err.Error()
		}
		return holding(a.Mutex(name))
	case "try":
		if !m.TryLock() {
			return "busy"
		}
		return holding(m)
	case "unlock":
		return okay(m.Release())
	case "mark":
		return okay(m.MarkConsistent())
	case "fence":
		n, err := m.Fence()
		if err != nil {
			return err.Error()
		}
		return strconv.FormatUint(n, 10)
	case "hold", "drop":
		var from, to int
		var prefix string
		fmt.Sscan(rest, &from, &to, &prefix)
		for i := from; i < to; i++ {
			m := a.Mutex(prefix + strconv.Itoa(i))
			if verb == "drop" {
				m.Unlock()
			} else if err := m.LockContext(context.Background()); err != nil {
				return err.Error()
			}
		}
		if verb == "drop" {
			return "ok"
		}
		return "held"
	case "break":
		d, err := a.Break(context.Background(), rest)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("robbed %d %s", d.PID, d.Label)
	case "exec":
		exe, err := os.Executable()
		if err != nil {
			return err.Error()
		}
		os.Setenv(roleVariable, "executed")
		return okay(unix.Exec(exe, []string{exe}, os.Environ()))
	case "close":
		return okay(a.Close())
	}
	return "what is " + verb + "?"
}

func okay(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func holding(m *Mutex) string {
	if d, ok := m.Abandoned(); ok {
		return heirOf(d.PID, d.Label, d.Cause, d.Count)
	}
	return "held"
}

func heirOf(pid int, label string, cause Cause, count int) string {
	return fmt.Sprintf("heir of %d %s %v %d", pid, label, cause, count)
}

type actor struct {
	*proc.Proc
	t     testing.TB
	label string
}

func startActor(t testing.TB, path, label string, options ...proc.Option) *actor {
	t.Helper()
	a := &actor{proc.Start(t, "actor", []string{path, label}, options...), t, label}
	a.Expect("ready")
	return a
}

// ask returns the answer to an order.
func (a *actor) ask(format string, args ...any) string {
	a.t.Helper()
	a.Send(format, args...)
	return a.Next()
}

// must fails the test unless this is the answer to the order.
func (a *actor) must(want, format string, args ...any) {
	a.t.Helper()
	if got := a.ask(format, args...); got != want {
		a.t.Fatalf("%s, told to %q, said %q, not %q", a.label, fmt.Sprintf(format, args...), got, want)
	}
}

// died is what the heir of this actor says that was killed.
func (a *actor) died(count int) string { return heirOf(a.PID(), a.label, Died, count) }

// launched is a process that the test, or another process, starts and reaps
// itself.
type launched struct {
	cmd *exec.Cmd
	in  *os.File
	out *bufio.Reader
}

// launch starts a role and waits for its first line.
func launch(role string, args []string, options ...proc.Option) (*launched, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	for _, o := range options {
		o(cmd)
	}
	child, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer child.Close()
	cmd.Stdin = child
	out, err := cmd.StdoutPipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		in.Close()
		return nil, err
	}
	l := &launched{cmd, in, bufio.NewReader(out)}
	if first := l.hear(); first != "ready" {
		l.end()
		return nil, errors.New("said at first: " + first)
	}
	return l, nil
}

func (l *launched) pid() int { return l.cmd.Process.Pid }

func (l *launched) hear() string {
	line, err := l.out.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(line, "\n")
}

func (l *launched) ask(format string, args ...any) string {
	fmt.Fprintf(l.in, format+"\n", args...)
	return l.hear()
}

// die kills the process and leaves it a zombie; end reaps it.
func (l *launched) die() {
	l.cmd.Process.Kill()
	for unix.Waitid(unix.P_PID, l.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

func (l *launched) end() {
	l.in.Close()
	l.cmd.Process.Kill()
	l.cmd.Wait()
}
