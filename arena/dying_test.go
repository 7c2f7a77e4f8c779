package arena

import (
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/feature"
	"lockd/internal/proc"
	"lockd/robust"
)

// Processes that are about to end, or look like it: a lock passes on when no
// thread of its owner can run any more, and not before. Here each owner's
// sentinel falls, truly or by a lie, so that everybody looks closely.

func init() {
	roles["overwriter"] = overwriter
}

const scratchSize = 1 << 20

func scratch(t testing.TB, path string) []atomic.Uint64 {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		defer f.Close()
		err = f.Truncate(scratchSize)
	}
	var b []byte
	if err == nil {
		b, err = unix.Mmap(int(f.Fd()), 0, scratchSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	switch {
	case err == nil:
	case t == nil:
		panic(err)
	default:
		t.Fatal(err)
	}
	if t != nil {
		t.Cleanup(func() { unix.Munmap(b) })
	}
	return unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&b[0])), scratchSize/8)
}

// overwriter holds a lock, and one of its threads is always in a system call
// that writes to shared memory and does not end for a signal.
func overwriter(args []string) {
	a := reopen(args[0], &Options{Label: "overwriter", Logger: quiet})
	a.Mutex("a").Lock()
	words := scratch(nil, args[1])
	zeros, err := unix.MemfdCreate("zeros", 0)
	if err == nil {
		err = unix.Ftruncate(zeros, 1<<30)
	}
	if err != nil {
		panic(err)
	}
	target := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), scratchSize)
	targets := make([][]byte, 1024)
	for i := range targets {
		targets[i] = target
	}
	proc.Say("ready")
	for {
		if _, err := unix.Preadv(zeros, targets, 0); err != nil {
			panic(err)
		}
	}
}

// What the heir writes stays: no thread of the dead owner writes any more.
func TestNobodyWritesAfterTheHeir(t *testing.T) {
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	page := filepath.Join(filepath.Dir(path), "scratch")
	words := scratch(t, page)
	early := 0
	for round := range 5 {
		victim := proc.Start(t, "overwriter", []string{path, page})
		victim.Expect("ready")
		inherited := proc.MustBlock(t, "Lock", a.Mutex("a").Lock)
		words[0].Store(1)
		for words[0].Load() != 0 {
			runtime.Gosched()
		}
		fd, err := unix.PidfdOpen(victim.PID(), 0)
		if err != nil {
			t.Skip("needs pidfd_open: ", err)
		}
		victim.Signal(syscall.SIGKILL)
		inherited()
		for i := range words {
			words[i].Store(1)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, 0); n == 0 {
			early++
		}
		unix.Close(fd)
		victim.Kill()
		for i := range words {
			if words[i].Load() != 1 {
				t.Fatalf("round %d: the owner wrote to word %d after its lock had passed on", round, i)
			}
		}
		if err := a.Mutex("a").MarkConsistent(); err != nil {
			t.Fatal(err)
		}
		a.Mutex("a").Unlock()
	}
	t.Logf("%d times of 5 the heir had the lock before the owner's pidfd told", early)
}

// fell says that the sentinel of who holds a lock has fallen, as anybody could
// who may write the file.
func fell(t *testing.T, a *Arena, name string) {
	t.Helper()
	if a.Mutex(name).TryLock() {
		t.Fatalf("%q is free", name)
	}
	word := &a.core.memberAt(ownerOf(a, name).Index).sentinel
	word.Store(1<<31 | 1<<30)
	futex.Wake(word, futex.All)
}

// A sentinel that has fallen proves nothing.
func TestLivingOwnerWhoseSentinelFell(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	owner := startActor(t, path, "owner")
	owner.must("held", "lock a")
	waiter, poller := startActor(t, path, "waiter"), startActor(t, path, "poller")
	waiter.Send("lock a")
	poller.Send("poll a")
	waiter.Silent()
	fell(t, a, "a")
	for range 5 {
		waiter.Silent()
		poller.Silent()
	}
	owner.must("ok", "unlock a")
	first, second := eitherHolds(t, waiter, poller)
	first.must("ok", "unlock a")
	second.Expect("held")
	owner.Send("lock a")
	owner.Silent()
	second.Kill() // its own sentinel stands until it falls
	owner.Expect(second.died(1))
	owner.Kill() // and the one that had fallen before tells nobody: the pidfd does
	first.must(owner.died(2), "lock a")
}

// A debugger that does not wait for the threads that it traces keeps the
// process of the dead from ending; it keeps none of its threads from it.
func TestHeirOfTheUnburied(t *testing.T) {
	for _, off := range []*feature.Feature{nil, feature.ProcessMrelease, feature.RobustList, feature.FutexWaitv} {
		t.Run("without="+off.String(), func(t *testing.T) {
			t.Parallel()
			// Its liveness byte would tell: that goes with its descriptors.
			env := proc.Env("LOCKD_FEATURES_OFF=ofd_locks," + off.String())
			path := deathArena(t)
			owner, heir := startActor(t, path, "owner", env), startActor(t, path, "heir", env)
			id := identityOf(t, owner.PID())
			owner.must("held", "lock a")
			heir.Send("lock a")
			heir.Silent()
			debugger := proc.Start(t, "debugger", nil)
			debugger.Send("attach %d", owner.PID())
			if got := debugger.Next(); got != "attached" {
				t.Skip("debugging is ", got)
			}
			owner.Signal(syscall.SIGKILL)
			switch off {
			case nil:
				if !canJudgeDying(t) {
					t.Skip("needs process_mrelease")
				}
				heir.Expect(owner.died(1))
				if verdict := robust.JudgePID(id); verdict != robust.Alive {
					t.Errorf("the owner is %v by its pid: the test shows nothing", verdict)
				}
				debugger.Kill()
				return
			case feature.FutexWaitv: // nobody is woken, but a tick comes
				if canJudgeDying(t) {
					heir.Expect(owner.died(1))
					return
				}
			}
			heir.Silent()
			debugger.Kill()
			heir.Expect(owner.died(1))
		})
	}
}
