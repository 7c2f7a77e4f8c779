package arena

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
	"lockd/robust"
)

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
