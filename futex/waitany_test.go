//go:build linux && (amd64 || arm64)

package futex

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

func words(n int, private bool) []Word {
	list := make([]Word, n)
	for i := range list {
		list[i] = Word{Addr: new(atomic.Uint32), Private: private}
	}
	return list
}

func TestWaitAnyIndex(t *testing.T) {
	needWaitAny(t)
	for _, n := range []int{1, 2, 4, 5, MaxWords} {
		for _, private := range []bool{false, true} {
			t.Run(fmt.Sprintf("words=%d/private=%v", n, private), func(t *testing.T) {
				wake, list := Wake, words(n, private)
				if private {
					wake = WakePrivate
				}
				for i := range list {
					s := asleepIn(t, func() (int, error) { return WaitAny(list, surely()) })
					wakeExactly(t, 1, func() int { return wake(list[i].Addr, 1) })
					if o := s.end(); o != (outcome{i, nil}) {
						t.Fatalf("woken through word %d: got %v", i, o)
					}
				}
			})
		}
	}
}

func TestWaitAnyChanged(t *testing.T) {
	needWaitAny(t)
	list := words(5, false)
	for i := range list {
		list[i].Addr.Store(1)
		if index, err := WaitAny(list, surely()); index != -1 || err != ErrChanged {
			t.Errorf("word %d changed: got %d, %v", i, index, err)
		}
		list[i].Value = 1
	}
}

// A private word that cancels a wait is woken apart from the words beside it,
// and only by the private wake.
func TestPrivateWord(t *testing.T) {
	needWaitAny(t)
	slot, cancel := new(atomic.Uint32), new(atomic.Uint32)
	s := asleepIn(t, func() (int, error) {
		return WaitAny([]Word{{Addr: slot}, {Addr: cancel, Private: true}}, surely())
	})
	neverWakes(t, func() int { return Wake(cancel, All) + WakePrivate(slot, All) })
	wakeExactly(t, 1, func() int { return WakePrivate(cancel, 1) })
	if o := s.end(); o != (outcome{1, nil}) {
		t.Errorf("got %v", o)
	}
	if n := Wake(slot, All); n != 0 {
		t.Errorf("%d still asleep", n)
	}
}

func TestWaitAnyLimits(t *testing.T) {
	needWaitAny(t)
	for _, n := range []int{0, MaxWords + 1} {
		if index, err := WaitAny(words(n, false), 1); index != -1 || !errors.Is(err, unix.EINVAL) {
			t.Errorf("%d words: got %d, %v", n, index, err)
		}
	}
}

func TestWaitAnyOff(t *testing.T) {
	restore := feature.FutexWaitv.SetOff(true)
	defer restore()
	list := words(2, false)
	if index, err := WaitAny(list, surely()); index != -1 || err != ErrUnsupported {
		t.Errorf("got %d, %v", index, err)
	}
	if HasWaitAny() {
		t.Error("says that it works")
	}
	if err := Wait(list[0].Addr, 0, 1); err != ErrTimedOut {
		t.Errorf("the wait on one word is off too: %v", err)
	}
	restore()
	if got := HasWaitAny(); got != (kernelHasWaitv() && !feature.FutexWaitv.Off()) {
		t.Errorf("back on, it says %v", got)
	}
}

// Older container runtimes forbid what they do not know with EPERM.
func TestWaitAnyForbidden(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			c := startChild(t, "forbidden "+unix.ErrnoName(errno), nil)
			switch answer := c.hear(); answer {
			case "unsupported":
			case "no seccomp":
				t.Skip(answer)
			default:
				t.Error(answer)
			}
			c.finish()
		})
	}
}
