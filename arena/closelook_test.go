package arena

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
	"lockd/internal/proc"
	"lockd/robust"
)

// What a close look says of processes that look as if they were about to end,
// and of those that do.

func init() {
	roles["executer"] = executer
	roles["dumper"] = dumper
	if os.Getenv(roleVariable) == "executer" {
		runtime.LockOSThread() // to the first thread
	}
}

// mustLive fails the test if a close look takes the process for gone.
func mustLive(t *testing.T, id robust.Identity, what string, looks int) {
	t.Helper()
	for i := range looks {
		if verdict := robust.JudgeFallen(id, nil, false); verdict == robust.Gone {
			t.Fatalf("%s, look %d: %v", what, i, verdict)
		}
	}
}

// executer becomes the same program again, by a thread that is not its first.
func executer(args []string) {
	left, _ := strconv.Atoi(args[0])
	if left == 0 {
		proc.Say("done")
		proc.Hear()
		return
	}
	go func() {
		exe, err := os.Executable()
		if err == nil {
			err = unix.Exec(exe, []string{exe, strconv.Itoa(left - 1)}, os.Environ())
		}
		panic(err)
	}()
	unix.Pause()
}

// exec ends all threads but one, and moves that to another address space.
func TestCloseLookAtExec(t *testing.T) {
	t.Parallel()
	p := proc.Start(t, "executer", []string{"20"})
	id := identityOf(t, p.PID())
	for {
		select {
		case line := <-p.Lines():
			expectLine(t, line, "done")
			return
		default:
			mustLive(t, id, "a process that calls exec", 1)
		}
	}
}

// identityOf is what can be learned of a process from outside.
func identityOf(t *testing.T, pid int) robust.Identity {
	t.Helper()
	id, err := robust.Self()
	if err != nil {
		t.Fatal(err)
	}
	// With its start time: others are soon given the number of one that was
	// reaped, where threads come and go.
	id = robust.Identity{PID: uint32(pid), PIDNS: id.PIDNS, StartTime: startTime(pid)}
	if robust.JudgePID(id) != robust.Alive {
		t.Skip("needs pidfd_open and /proc")
	}
	return id
}

func startTime(pid int) uint64 {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64)
	return ticks
}

func TestCloseLookAtTheStopped(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	owner := startActor(t, path, "owner")
	id := identityOf(t, owner.PID())
	owner.Signal(syscall.SIGSTOP)
	until(t, "it is stopped", func() bool { return procState(owner.PID()) == "T" })
	mustLive(t, id, "a stopped process", 1000)
	debugger := proc.Start(t, "debugger", nil)
	debugger.Send("attach %d", owner.PID())
	if debugger.Next() == "attached" {
		mustLive(t, id, "a stopped and traced process", 1000)
	}
	debugger.Kill() // or nobody could reap the owner
	owner.Kill()
	if verdict := robust.JudgeFallen(id, nil, false); verdict != robust.Gone {
		t.Errorf("a process that has ended: %v", verdict)
	}
}

// A child that has not called exec yet runs in its parent's memory, while the
// parent sleeps.
func TestCloseLookAtForks(t *testing.T) {
	t.Parallel()
	id := identityOf(t, os.Getpid())
	done := make(chan error)
	go func() {
		var err error
		for range 30 {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), roleVariable+"=nobody")
			if e := cmd.Run(); cmd.ProcessState == nil {
				err = e
			}
		}
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
			mustLive(t, id, "a process that forks", 1)
		}
	}
}

// dumper has memory and, when told to, ends with a dump of it.
func dumper([]string) {
	memory := make([]byte, 128<<20)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = byte(i >> 12)
	}
	debug.SetTraceback("crash")
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	proc.Say("%s", okay(err))
	proc.Hear()
	unix.Kill(os.Getpid(), unix.SIGQUIT)
	proc.Hear()
	runtime.KeepAlive(memory)
}

func TestCloseLookAtADump(t *testing.T) {
	t.Parallel()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	dir := t.TempDir()
	p := proc.Start(t, "dumper", nil, func(c *exec.Cmd) { c.Dir, c.Stderr = dir, null })
	if got := p.Next(); got != "ok" {
		t.Skip("no core dumps here: ", got)
	}
	id := identityOf(t, p.PID())
	status := fmt.Sprintf("/proc/%d/status", p.PID())
	dumping := func() (is, there bool) {
		text, err := os.ReadFile(status)
		return strings.Contains(string(text), "\nCoreDumping:\t1"), err == nil
	}
	p.Send("die")
	seen := 0
	for {
		verdict := robust.JudgeFallen(id, nil, false)
		is, there := dumping()
		if verdict == robust.Gone && is {
			t.Fatal("gone while it is being dumped")
		}
		if !there || verdict == robust.Gone {
			break
		}
		if is {
			seen++
		}
	}
	t.Logf("looked at %d times while it was being dumped", seen)
}

func canJudgeDying(t *testing.T) bool {
	t.Helper()
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	_, _, errno := unix.Syscall(unix.SYS_PROCESS_MRELEASE, uintptr(fd), 0, 0)
	return errno == unix.EINVAL && !feature.ProcessMrelease.Off() && !feature.RobustList.Off()
}
