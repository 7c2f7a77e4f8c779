package arena

import (
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
	"lockd/robust"
)

func init() {
	roles["shedder"] = shedder
	if os.Getenv(roleVariable) == "shedder" {
		runtime.LockOSThread() // to the first thread
	}
}

// shedder holds a lock and, told to, ends the thread that serves its sentinel.
func shedder(args []string) {
	// In a program with cgo each thread has a list of the C library, and the
	// sentinel would get a thread of its own, which nobody else can end. No
	// robust mutex is used here, so its lists can go.
	var a *Arena
	var word *atomic.Uint32
	var server int
	for bare := make(map[int]bool); !bare[server]; {
		if a != nil {
			a.Close()
		}
		onThreads(50, func(tid int) bool {
			if _, _, errno := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, 0, 3*unsafe.Sizeof(uintptr(0)), 0); errno != 0 {
				panic(errno)
			}
			bare[tid] = true
			return false
		})
		a = reopen(args[0], &Options{Label: "shedder", Logger: quiet})
		word = &a.core.memberAt(a.core.member.Index).sentinel
		for word.Load() == 0 {
			runtime.Gosched()
		}
		server = int(word.Load() &^ (1 << 31))
	}
	a.Mutex("a").Lock()
	proc.Say("held")
	proc.Hear()
	for !robust.Fallen(word.Load()) {
		onThreads(50, func(tid int) bool { return tid == server })
		time.Sleep(time.Microsecond) // a new timer calls the thread that waits for timers
	}
	proc.Say("ended")
	proc.Hear()
	a.Mutex("a").Unlock()
	a.Mutex("b").Lock()
	proc.Say("held b")
	proc.Hear()
}

// onThreads calls f on n threads, one after the other. Each is kept until the
// last was there, which leads the next to another; or ends, if f says so.
func onThreads(n int, f func(tid int) (end bool)) {
	enough, done := make(chan struct{}), make(chan struct{})
	for range n {
		go func() {
			runtime.LockOSThread()
			end := f(unix.Gettid())
			done <- struct{}{}
			if end { // by Syscall, so that the runtime takes it for one that blocks
				unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
			}
			<-enough
			runtime.UnlockOSThread()
		}()
		<-done
	}
	close(enough)
}

// A thread that ends lets the sentinel fall, truly, and its process lives on.
func TestOwnerOutlivesItsSentinel(t *testing.T) {
	t.Parallel()
	if !canJudgeDying(t) {
		t.Skip("needs robust lists, process_mrelease and pidfd_open")
	}
	path := deathArena(t)
	owner := proc.Start(t, "shedder", []string{path})
	owner.Expect("held")
	waiter, poller := startActor(t, path, "waiter"), startActor(t, path, "poller")
	waiter.Send("lock a")
	waiter.Silent()
	owner.Send("end it")
	owner.Expect("ended")
	poller.must("busy", "try a")
	waiter.Silent()
	poller.must("busy", "try a")
	owner.Send("go on")
	owner.Expect("held b")
	waiter.Expect("held")
	poller.Send("lock b")
	poller.Silent()
	owner.Kill() // no sentinel is left to tell
	poller.Expect(heirOf(owner.PID(), "shedder", Died, 1))
}

// Whoever asked for it is gone when all of it is, whatever its sentinel says.
func TestFullExit(t *testing.T) {
	t.Parallel()
	if !canJudgeDying(t) {
		t.Skip("needs robust lists, process_mrelease and pidfd_open")
	}
	off := proc.Env("LOCKD_FEATURES_OFF=ofd_locks") // the byte goes before the rest does
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	owner := startActor(t, path, "owner", off, proc.Env(fullExitVariable+"=1"))
	heir := startActor(t, path, "heir", off)
	owner.must("held", "lock a")
	if a.Mutex("a").TryLock() {
		t.Fatal("it is free")
	}
	if word := a.core.memberAt(ownerOf(a, "a").Index).sentinel.Load(); word != 0 {
		t.Errorf("it has posted a sentinel: %#x", word)
	}
	id := identityOf(t, owner.PID())
	debugger := proc.Start(t, "debugger", nil)
	debugger.Send("attach %d", owner.PID())
	if got := debugger.Next(); got != "attached" {
		t.Skip("debugging is ", got)
	}
	owner.Signal(syscall.SIGKILL)
	for robust.JudgeFallen(id, nil, false) != robust.Gone {
		runtime.Gosched()
	}
	fell(t, a, "a")
	heir.Send("lock a")
	heir.Silent()
	debugger.Kill() // till then the owner is a corpse that nobody has looked at
	heir.Expect(owner.died(1))
}

func ownerOf(a *Arena, name string) robust.Member {
	return robust.Word(a.Mutex(name).binding().slot.word.Load()).Owner()
}
