//go:build linux && (amd64 || arm64)

package futex

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

const (
	stillBlocked = 20 * time.Millisecond // what must block is watched this long
	surelyDone   = 2 * time.Minute       // what must happen has happened by then, on any machine
)

// surely is a deadline for waits that should end otherwise.
func surely() int64 { return Now() + int64(surelyDone) }

type outcome struct {
	index int
	err   error
}

// sleeper is a goroutine in one wait.
type sleeper struct {
	t    *testing.T
	done chan outcome
}

func asleepIn(t *testing.T, wait func() (int, error)) *sleeper {
	s := &sleeper{t, make(chan outcome, 1)}
	go func() {
		index, err := wait()
		s.done <- outcome{index, err}
	}()
	return s
}

// end waits for the sleeper to return.
func (s *sleeper) end() outcome {
	s.t.Helper()
	select {
	case o := <-s.done:
		return o
	case <-time.After(2 * surelyDone):
		s.t.Fatal("the sleeper does not return")
		panic("unreachable")
	}
}

// sleepThrough sleeps, and sleeps again when woken, while word is 0.
func sleepThrough(word *atomic.Uint32) (int, error) {
	deadline := surely()
	for word.Load() == 0 {
		if err := waitOn(word, 0, deadline); err != nil && err != ErrChanged {
			return -1, err
		}
	}
	return -1, nil
}

// wakeExactly wakes until one call wakes n at a time: until n were asleep.
func wakeExactly(t *testing.T, n int, wake func() int) {
	t.Helper()
	for deadline := surely(); wake() != n; runtime.Gosched() {
		if Now() > deadline {
			t.Fatalf("no call woke %d", n)
		}
	}
}

// neverWakes repeats a wake that must not reach whoever sleeps.
func neverWakes(t *testing.T, wake func() int) {
	t.Helper()
	for until := Now() + int64(stillBlocked); Now() < until; runtime.Gosched() {
		if n := wake(); n != 0 {
			t.Fatalf("woke %d", n)
		}
	}
}

func needWaitAny(t testing.TB) {
	t.Helper()
	if !HasWaitAny() {
		t.Skip("no futex_waitv here")
	}
}

type waitFunc func(word *atomic.Uint32, value uint32, deadline int64) error

// eachWait runs a test for Wait and for WaitAny on one shared word.
func eachWait(t *testing.T, test func(t *testing.T, wait waitFunc)) {
	t.Run("Wait", func(t *testing.T) { test(t, waitOn) })
	t.Run("WaitAny", func(t *testing.T) {
		needWaitAny(t)
		test(t, waitOne)
	})
}

// waitOn is Wait, whatever signals the runtime sends meanwhile.
func waitOn(word *atomic.Uint32, value uint32, deadline int64) error {
	for {
		if err := Wait(word, value, deadline); err != ErrInterrupted {
			return err
		}
	}
}

func waitOne(word *atomic.Uint32, value uint32, deadline int64) error {
	_, err := WaitAny([]Word{{Addr: word, Value: value}}, deadline)
	return err
}
