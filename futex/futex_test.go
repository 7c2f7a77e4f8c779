//go:build linux && (amd64 || arm64)

package futex

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWakeBeforeTheSleep(t *testing.T) {
	eachWait(t, func(t *testing.T, wait waitFunc) {
		word := new(atomic.Uint32)
		word.Store(1)
		if n := Wake(word, All); n != 0 {
			t.Errorf("woke %d where nobody slept", n)
		}
		if err := wait(word, 0, surely()); err != ErrChanged {
			t.Errorf("got %v, want ErrChanged", err)
		}
	})
}

func TestDeadline(t *testing.T) {
	eachWait(t, func(t *testing.T, wait waitFunc) {
		word := new(atomic.Uint32)
		for _, past := range []int64{math.MinInt64, -1, 1, Now() - 1} {
			if err := wait(word, 0, past); err != ErrTimedOut {
				t.Errorf("deadline %d: got %v, want ErrTimedOut", past, err)
			}
			if err := wait(word, 7, past); err != ErrChanged {
				t.Errorf("deadline %d, changed word: got %v, want ErrChanged", past, err)
			}
		}
		deadline := Now() + int64(stillBlocked)
		if err := wait(word, 0, deadline); err != ErrTimedOut {
			t.Errorf("got %v, want ErrTimedOut", err)
		}
		if early := deadline - Now(); early > 0 {
			t.Errorf("timed out %d ns early", early)
		}
	})
}

func TestNoDeadline(t *testing.T) {
	eachWait(t, func(t *testing.T, wait waitFunc) {
		word := new(atomic.Uint32)
		s := asleepIn(t, func() (int, error) { return 0, wait(word, 0, 0) })
		select {
		case o := <-s.done:
			t.Fatalf("returned %v unwoken", o.err)
		case <-time.After(stillBlocked):
		}
		wakeExactly(t, 1, func() int { return Wake(word, 1) })
		if o := s.end(); o.err != nil {
			t.Error(o.err)
		}
	})
}

func TestWakeCount(t *testing.T) {
	eachWait(t, func(t *testing.T, wait waitFunc) {
		const sleepers = 5
		word := new(atomic.Uint32)
		var all []*sleeper
		for range sleepers {
			all = append(all, asleepIn(t, func() (int, error) { return 0, wait(word, 0, surely()) }))
		}
		woken := 0
		for deadline := surely(); woken < sleepers; runtime.Gosched() {
			n := Wake(word, 2)
			if n > 2 {
				t.Fatalf("woke %d instead of at most 2", n)
			}
			woken += n
			if Now() > deadline {
				t.Fatalf("woke %d of %d", woken, sleepers)
			}
		}
		for _, s := range all {
			if o := s.end(); o.err != nil {
				t.Error(o.err)
			}
		}
		if n := Wake(word, All); woken != sleepers || n != 0 {
			t.Errorf("woke %d and then %d of %d", woken, n, sleepers)
		}
	})
}

func TestWakeNone(t *testing.T) {
	word := new(atomic.Uint32)
	s := asleepIn(t, func() (int, error) { return 0, waitOn(word, 0, surely()) })
	neverWakes(t, func() int { return Wake(word, 0) + Wake(word, -1) + WakePrivate(word, All) })
	wakeExactly(t, 1, func() int { return Wake(word, math.MaxInt) })
	if o := s.end(); o.err != nil {
		t.Error(o.err)
	}
}

func TestManyWaiters(t *testing.T) {
	const sleepers = 100
	word := new(atomic.Uint32)
	var all []*sleeper
	for range sleepers {
		all = append(all, asleepIn(t, func() (int, error) { return sleepThrough(word) }))
	}
	wakeExactly(t, sleepers, func() int { return Wake(word, math.MaxInt) })
	word.Store(1)
	Wake(word, All)
	for _, s := range all {
		if o := s.end(); o.err != nil {
			t.Error(o.err)
		}
	}
}

// A wait that fails has used up no wake, however close the race: otherwise
// somebody else would miss it.
func TestErrorsEatNoWake(t *testing.T) {
	eachWait(t, func(t *testing.T, wait waitFunc) {
		const rounds = 5_000
		word := new(atomic.Uint32)
		var woken, timedOut, changed int
		s := asleepIn(t, func() (int, error) {
			for round := range rounds {
				switch err := wait(word, uint32(round%2), Now()+rand.Int64N(100_000)); err {
				case nil:
					woken++
				case ErrTimedOut:
					timedOut++
				case ErrChanged:
					changed++
				default:
					return 0, err
				}
			}
			return 0, nil
		})
		counted := 0
		for i := uint32(0); len(s.done) == 0; i++ {
			Pause(rand.Uint32N(PausesPer(100 * time.Microsecond)))
			if i%8 == 0 {
				word.Store(i / 8 % 2)
			}
			counted += Wake(word, 1)
			runtime.Gosched()
		}
		if o := s.end(); o.err != nil {
			t.Fatal(o.err)
		}
		t.Logf("%d woken, %d timed out, %d changed", woken, timedOut, changed)
		if counted != woken {
			t.Errorf("%d wakes reached a sleeper, %d waits were woken", counted, woken)
		}
		if woken == 0 || timedOut == 0 {
			t.Error("nothing was tested")
		}
	})
}

// signal sends SIGURG, as the runtime does to preempt, to the thread of a
// sleeper until it returns, or for so long.
func signal(t *testing.T, long time.Duration, wait func() (int, error)) *sleeper {
	thread := make(chan int)
	s := asleepIn(t, func() (int, error) {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		thread <- unix.Gettid()
		return wait()
	})
	tid := <-thread
	for until := Now() + int64(long); Now() < until && len(s.done) == 0; runtime.Gosched() {
		if err := unix.Tgkill(unix.Getpid(), tid, unix.SIGURG); err != nil && err != unix.ESRCH {
			t.Fatal(err)
		}
	}
	return s
}

func TestSignal(t *testing.T) {
	word := new(atomic.Uint32)
	for name, wait := range map[string]func() (int, error){
		"Wait":    func() (int, error) { return 0, Wait(word, 0, 0) },
		"WaitAny": func() (int, error) { return WaitAny([]Word{{Addr: word}}, surely()) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "WaitAny" {
				needWaitAny(t)
			}
			s := signal(t, stillBlocked, wait)
			wakeExactly(t, 1, func() int { return Wake(word, 1) })
			if o := s.end(); o != (outcome{0, nil}) {
				t.Errorf("got %v", o)
			}
		})
	}
	t.Run("Wait with a deadline", func(t *testing.T) {
		s := signal(t, surelyDone/2, func() (int, error) { return 0, Wait(word, 0, surely()) })
		Wake(word, 1) // ends the test early where the kernel restarts this too
		if o := s.end(); o.err != ErrInterrupted {
			t.Errorf("got %v, want ErrInterrupted", o.err)
		}
	})
}

func TestFault(t *testing.T) {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	eachWait(t, func(t *testing.T, wait waitFunc) {
		word := wordAt(page, 0)
		if err := wait(word, 0, surely()); !errors.Is(err, unix.EFAULT) {
			t.Errorf("got %v, want EFAULT", err)
		}
		if n := Wake(word, All); n != 0 {
			t.Errorf("woke %d", n)
		}
	})
}

func TestWaitError(t *testing.T) {
	for errno, want := range map[unix.Errno]error{
		0:              nil,
		unix.EAGAIN:    ErrChanged,
		unix.ETIMEDOUT: ErrTimedOut,
		unix.EINTR:     ErrInterrupted,
		unix.EINVAL:    unix.EINVAL,
	} {
		if err := waitError("call", errno); !errors.Is(err, want) {
			t.Errorf("%d became %v", errno, err)
		}
	}
}

func TestHalves(t *testing.T) {
	wide := new(atomic.Uint64)
	wide.Store(0x1122334455667788)
	for half, value := range map[*atomic.Uint32]uint32{Low(wide): 0x55667788, High(wide): 0x11223344} {
		if got := half.Load(); got != value {
			t.Fatalf("the half is %#x, not %#x", got, value)
		}
		s := asleepIn(t, func() (int, error) { return 0, waitOn(half, value, surely()) })
		wakeExactly(t, 1, func() int { return Wake(half, 1) })
		if o := s.end(); o.err != nil {
			t.Error(o.err)
		}
	}
}

func TestAllocations(t *testing.T) {
	word := new(atomic.Uint32)
	var wide [5]Word
	for i := range wide {
		wide[i].Addr = word
	}
	expect := func(what string, want float64, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(100, f); got != want {
			t.Errorf("%s: %v allocations, want %v", what, got, want)
		}
	}
	expect("wake", 0, func() { Wake(word, 1) })
	expect("changed", 0, func() { Wait(word, 1, 0) })
	expect("timed out", 0, func() { Wait(word, 0, 1) })
	if !HasWaitAny() {
		return
	}
	expect("4 words", 0, func() { WaitAny(wide[:4], 1) })
	expect("a literal list", 0, func() { WaitAny([]Word{{Addr: word}, {Addr: word, Private: true}}, 1) })
	// A word on a stack would be looked for where the stack once was.
	expect("a local word", 1, func() {
		var local atomic.Uint32
		WaitAny([]Word{{Addr: &local}}, 1)
	})
}
