package arena

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
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
	roles["executer"] = executer
	roles["dumper"] = dumper
	if os.Getenv(roleVariable) == "executer" {
		runtime.LockOSThread() // to the first thread
	}
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

// relaySource is a process without any thread that stays: each starts the next
// and ends. A Go program has threads that stay.
const relaySource = `
#include <pthread.h>
#include <unistd.h>
static void *next(void *unused) {
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 65536);
	while (pthread_create(&thread, &attr, next, 0))
		;
	return 0;
}
int main(void) {
	next(0);
	next(0);
	if (write(1, "ready\n", 6) != 6)
		return 1;
	pthread_exit(0);
}
`

func startRelay(t *testing.T) *proc.Proc {
	t.Helper()
	dir := t.TempDir()
	source, program := filepath.Join(dir, "relay.c"), filepath.Join(dir, "relay")
	if err := os.WriteFile(source, []byte(relaySource), 0o600); err != nil {
		t.Fatal(err)
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler: ", err)
	}
	if out, err := exec.Command(cc, "-O1", "-pthread", "-o", program, source).CombinedOutput(); err != nil {
		t.Skipf("needs a C compiler: %v\n%s", err, out)
	}
	p := proc.StartCommand(t, exec.Command(program))
	p.Expect("ready")
	return p
}

// fell says that the sentinel of who holds a lock has fallen, as anybody could
// who may write the file.
func fell(t *testing.T, a *Arena, name string) {
	t.Helper()
	if a.Mutex(name).TryLock() {
		t.Fatalf("%q is free", name)
	}
	owner := robust.Word(a.Mutex(name).binding().slot.word.Load()).Owner()
	word := &a.core.memberAt(owner.Index).sentinel
	word.Store(1<<31 | 1<<30)
	futex.Wake(word, futex.All)
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

// Whoever looks at the threads one after the other can miss all that live.
func TestThreadsThatComeAndGo(t *testing.T) {
	p := startRelay(t)
	id := identityOf(t, p.PID())
	for procState(p.PID()) != "Z" { // its first thread has ended
		time.Sleep(time.Millisecond)
	}
	mustLive(t, id, "a process whose threads come and go", 10000)
	p.Kill()
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
	first, second := waiter, poller
	select {
	case line := <-waiter.Lines():
		expectLine(t, line, "held")
	case line := <-poller.Lines():
		expectLine(t, line, "held")
		first, second = poller, waiter
	case <-time.After(proc.Soon):
		t.Fatal("nobody got the lock")
	}
	first.must("ok", "unlock a")
	second.Expect("held")
	owner.Send("lock a")
	owner.Silent()
	second.Kill() // its own sentinel stands until it falls
	owner.Expect(second.died(1))
	owner.Kill() // and the one that had fallen before tells nobody: the pidfd does
	first.must(owner.died(2), "lock a")
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
	id = robust.Identity{PID: uint32(pid), PIDNS: id.PIDNS}
	if robust.JudgePID(id) != robust.Alive {
		t.Skip("needs pidfd_open and /proc")
	}
	return id
}

func TestCloseLookAtTheStopped(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	owner := startActor(t, path, "owner")
	id := identityOf(t, owner.PID())
	owner.Signal(syscall.SIGSTOP)
	for procState(owner.PID()) != "T" {
		time.Sleep(time.Millisecond)
	}
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
