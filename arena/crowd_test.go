package arena

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/internal/proc"
)

func init() { roles["crowd"] = crowd }

// threads counts the threads of this process. The Go runtime never ends one,
// so it is also the most there ever were.
func threads() int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return 1 << 20
	}
	return len(tasks)
}

// waitUntil is until for a process that a test has started.
func waitUntil(what string, holds func() bool) {
	for deadline := time.Now().Add(proc.Soon); !holds(); time.Sleep(between) {
		if time.Now().After(deadline) {
			proc.Say("still not %s", what)
			os.Exit(1)
		}
	}
}

// crowd is a process with many goroutines waiting: arena, how many, and for
// how many locks. Half of them are cancelled, then all others get their lock.
func crowd(args []string) {
	a := withoutTicks(reopen(args[0], quietly("crowd")))
	size, _ := strconv.Atoi(args[1])
	locks, _ := strconv.Atoi(args[2])
	own := args[3] == "own" // the first lock is held by this process
	orders := orders()
	if own {
		a.Mutex(crowdName(0)).Lock()
	}

	var served, cancelled, wrong atomic.Int64
	perLock := make([]int, locks) // plain: guarded by the locks
	cancels := make([]context.CancelFunc, size)
	var all sync.WaitGroup
	for i := range size {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[i] = cancel
		all.Go(func() {
			m := a.Mutex(crowdName(i % locks))
			switch err := m.LockContext(ctx); {
			case err == nil:
				before := perLock[i%locks]
				runtime.Gosched()
				perLock[i%locks] = before + 1
				served.Add(1)
				m.Unlock()
			case errors.Is(err, context.Canceled):
				cancelled.Add(1)
			default:
				wrong.Add(1)
			}
		})
	}
	waitUntil("all waiting", func() bool { return waitersIn(a.core) == size })
	proc.Say("waiting")

	<-orders
	if served.Load() != 0 {
		proc.Say("%d got a lock that was not free", served.Load())
	}
	for _, i := range rand.Perm(size)[:size/2] {
		cancels[i]()
	}
	waitUntil("half cancelled", func() bool { return cancelled.Load() == int64(size/2) })
	if left := waitersIn(a.core); left != size-size/2 {
		proc.Say("%d still wait", left)
	}
	proc.Say("cancelled")

	<-orders
	if own {
		a.Mutex(crowdName(0)).Unlock()
	}
	all.Wait()
	total := 0
	for _, n := range perLock {
		total += n
	}
	proc.Say("served %d %d %d %d %d", served.Load(), total, cancelled.Load(), wrong.Load(), threads())
	<-orders
	if err := a.Close(); err != nil {
		proc.Say("close: %v", err)
	}
	proc.Say("closed")
}

func crowdName(i int) string { return "crowded " + strconv.Itoa(i) }

// gather runs a crowd against locks that this process holds, or the crowd's,
// and returns how many threads the crowd had.
func gather(t *testing.T, size, locks int, holder string, options ...proc.Option) (threads int) {
	t.Helper()
	path := testPath(t)
	o := quietly("holder")
	o.MaxLocks = 2 * max(locks, segmentSlots)
	a, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if holder != "own" {
		for i := range locks {
			a.Mutex(crowdName(i)).Lock()
		}
	}
	began := time.Now()
	p := proc.Start(t, "crowd", []string{path, strconv.Itoa(size), strconv.Itoa(locks), holder}, options...)
	p.Expect("waiting")
	waiting := time.Since(began)
	p.Send("cancel half")
	p.Expect("cancelled")
	cancelled := time.Since(began) - waiting
	p.Send("serve")
	if holder != "own" {
		for _, i := range rand.Perm(locks) {
			a.Mutex(crowdName(i)).Unlock()
		}
	}
	var served, total, gaveUp, wrong int
	if line := p.Next(); !scan(line, "served %d %d %d %d %d", &served, &total, &gaveUp, &wrong, &threads) {
		t.Fatalf("crowd: %s", line)
	}
	rest := time.Since(began) - waiting - cancelled
	p.Send("close")
	p.Expect("closed")
	if half := size - size/2; served != half || total != half || gaveUp != size/2 || wrong != 0 {
		t.Errorf("of %d: %d served, %d counted, %d cancelled, %d with other errors", size, served, total, gaveUp, wrong)
	}
	t.Logf("%d goroutines for %d locks: %d threads; waiting after %v, half cancelled in %v, the rest served in %v",
		size, locks, threads, waiting, cancelled, rest)
	return threads
}

// Ten thousand wait for one lock, and that is one thread.
func TestCrowdOnOneMutex(t *testing.T) {
	const most = 500 // a busy machine has a few more at a time in system calls
	for _, holder := range []string{"own", "another's"} {
		t.Run(holder, func(t *testing.T) {
			if n := gather(t, 10_000, 1, holder); n >= most {
				t.Errorf("%d threads", n)
			}
		})
	}
	t.Run("without futex_waitv", func(t *testing.T) {
		if n := gather(t, 10_000, 1, "another's", withoutWaitv(t)); n >= most {
			t.Errorf("%d threads", n)
		}
	})
}

// Two thousand locks waited for are not two thousand threads.
func TestCrowdOnManyMutexes(t *testing.T) {
	const most = 1000
	if n := gather(t, 2_000, 2_000, "another's"); n >= most {
		t.Errorf("%d threads", n)
	}
	t.Run("without futex_waitv", func(t *testing.T) {
		if n := gather(t, 2_000, 2_000, "another's", withoutWaitv(t)); n >= most {
			t.Errorf("%d threads", n)
		}
	})
}
