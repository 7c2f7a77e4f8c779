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
	"syscall"
	"testing"
	"time"

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

// Whoever looks at the threads one after the other can miss all that live.
func TestThreadsThatComeAndGo(t *testing.T) {
	p := startRelay(t, buildRelay(t))
	id := identityOf(t, p.PID())
	for procState(p.PID()) != "Z" { // its first thread has ended
		time.Sleep(time.Millisecond)
	}
	mustLive(t, id, "a process whose threads come and go", 10000)
	p.Kill()
}

// relaySource is a process without any thread that stays: each starts the next
// and ends. A Go program has threads that stay. With an argument, each writes
// to that file's memory before.
const relaySource = `
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static volatile unsigned long *words;
static void *next(void *unused) {
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 65536);
	for (int i = 0; words && i < 131072; i++)
		words[i]++;
	while (pthread_create(&thread, &attr, next, 0))
		;
	return 0;
}
int main(int argc, char **argv) {
	if (argc > 1)
		words = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, open(argv[1], O_RDWR), 0);
	if (argc > 1) /* memory, which takes a while to free */
		memset(malloc(32 << 20), 1, 32 << 20);
	if (words == MAP_FAILED)
		return 1;
	next(0);
	next(0);
	if (write(1, "ready\n", 6) != 6)
		return 1;
	pthread_exit(0);
}
`

func buildRelay(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "relay.c")
	program = filepath.Join(dir, "relay")
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
	return program
}

func startRelay(t *testing.T, program string, args ...string) *proc.Proc {
	t.Helper()
	p := proc.StartCommand(t, exec.Command(program, args...))
	p.Expect("ready")
	return p
}

// Threads that start each other write to shared memory till they are killed.
// They write no more once they are proven gone.
func TestNobodyWritesAfterTheVerdict(t *testing.T) {
	if !canJudgeDying(t) {
		t.Skip("needs robust lists, process_mrelease and pidfd_open")
	}
	rounds := 10
	if testing.Short() {
		rounds = 4
	}
	program := buildRelay(t)
	page := filepath.Join(t.TempDir(), "page")
	words := scratch(t, page)
	early := 0
	for round := range rounds {
		words[0].Store(0)
		p := startRelay(t, program, page)
		id := identityOf(t, p.PID())
		for words[0].Load() == 0 {
			runtime.Gosched()
		}
		mustLive(t, id, "a process whose threads come and go", 20)
		fd, err := unix.PidfdOpen(p.PID(), 0)
		if err != nil {
			t.Fatal(err)
		}
		p.Signal(syscall.SIGKILL)
		for robust.JudgeFallen(id, nil, false) != robust.Gone {
			runtime.Gosched()
		}
		const mark = 1<<63 | 1
		for i := range words {
			words[i].Store(mark)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(poll, 0); n == 0 {
			early++
		}
		unix.Close(fd)
		p.Kill()
		for i := range words {
			if v := words[i].Load(); v != mark {
				t.Fatalf("round %d: word %d is %#x: it was written after the verdict", round, i, v)
			}
		}
	}
	t.Logf("%d times of %d the verdict came before the pidfd told", early, rounds)
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
