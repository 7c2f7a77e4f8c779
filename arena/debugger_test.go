package arena

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// A debugger is a process of its own: stops of a traced process are also told
// to whoever waits for its end in the tracing process.
//
//	attach PID  stops all its threads: "attached", "not allowed", or the error
//	detach      lets them go on: "detached"
func init() {
	roles["debugger"] = func([]string) {
		runtime.LockOSThread() // who attaches is a thread
		var tids []int
		for {
			verb, rest, _ := strings.Cut(proc.Hear(), " ")
			if verb == "detach" {
				for _, tid := range tids {
					unix.PtraceDetach(tid)
				}
				proc.Say("detached")
				continue
			}
			pid, _ := strconv.Atoi(rest)
			var err error
			switch tids, err = attachAll(pid); err {
			case nil:
				proc.Say("attached")
			case unix.EPERM, unix.ENOSYS:
				proc.Say("not allowed")
			default:
				proc.Say("%v", err)
			}
		}
	}
}

func attachAll(pid int) (attached []int, err error) {
	seen := make(map[int]bool)
	for found := true; found; {
		found = false
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			tid, _ := strconv.Atoi(e.Name())
			if seen[tid] {
				continue
			}
			found, seen[tid] = true, true
			if err := unix.PtraceAttach(tid); err == unix.ESRCH {
				continue // ended meanwhile
			} else if err != nil {
				return nil, err
			}
			if _, err := unix.Wait4(tid, nil, unix.WALL, nil); err != nil {
				return nil, err
			}
			attached = append(attached, tid)
		}
	}
	return attached, nil
}

// A debugger stops every thread and lets it go on.
func TestDebuggedOwner(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	owner, waiter := startActor(t, path, "owner"), startActor(t, path, "waiter")
	debugger := proc.Start(t, "debugger", nil)
	attach := func() {
		t.Helper()
		debugger.Send("attach %d", owner.PID())
		switch answer := debugger.Next(); answer {
		case "attached":
		case "not allowed":
			t.Skip("ptrace is not allowed here")
		default:
			t.Fatal(answer)
		}
		if state := procState(owner.PID()); state != "t" {
			t.Fatalf("the owner, who should be traced, is in state %q", state)
		}
	}
	owner.must("held", "lock a")
	waiter.Send("lock a")
	for range 3 {
		attach()
		waiter.Silent()
		debugger.Send("detach")
		debugger.Expect("detached")
		owner.must("held", "lock b")
		owner.must("ok", "unlock b")
	}
	// Killed under the debugger its threads stay unreaped, and its pidfd
	// silent, until the debugger looks.
	attach()
	owner.Signal(syscall.SIGKILL)
	waiter.Expect(owner.died(1))
	debugger.Kill()
	owner.Kill()
}
