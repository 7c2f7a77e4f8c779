package arena

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"lockd/internal/proc"
)

// Resizing: larger at once, smaller as tickets come back.
func TestSemaphoreResize(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("size", 2)
	held := acquire(t, s, 2)
	var more Tickets
	wait := proc.MustBlock(t, "Acquire", func() { more = acquire(t, s, 2) })
	waitPatient := proc.MustBlock(t, "AcquirePatiently", func() {
		got, err := s.AcquirePatiently(context.Background(), 9)
		if err != nil {
			t.Error(err)
			return
		}
		release(t, got)
	})
	if err := s.Resize(4); err != nil {
		t.Fatal(err)
	}
	wait()
	if got := more.Numbers(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("got %v", got)
	}
	waitShrunk := proc.MustBlock(t, "ResizeWait", func() {
		if err := s.ResizeWait(context.Background(), 1); err != nil {
			t.Error(err)
		}
	})
	expectInUse(t, s, 4)
	release(t, more)
	if err := held.ReleaseSome(0); err != nil {
		t.Error(err)
	}
	one, ok := s.TryAcquire(1)
	if !ok || one.Numbers()[0] != 0 {
		t.Errorf("ticket 0 is not given out: %v", one)
	}
	if two, ok := s.TryAcquire(1); ok {
		t.Errorf("ticket %v is given out, of 1", two.Numbers())
	}
	release(t, held)
	waitShrunk()
	release(t, one)
	if err := s.Resize(9); err != nil {
		t.Fatal(err)
	}
	waitPatient()
	expectInUse(t, s, 0)

	// A request that has become too large fails, and holds up nobody.
	held = acquire(t, s, 5)
	waitLarge := proc.MustBlock(t, "Acquire", func() {
		if _, err := s.Acquire(context.Background(), 8); !errors.Is(err, ErrTooMany) {
			t.Errorf("8 of 7: %v", err)
		}
	})
	if err := s.Resize(7); err != nil {
		t.Fatal(err)
	}
	waitLarge()
	release(t, acquire(t, s, 2), held)

	// Growing again ends the wait for a smaller size.
	held = acquire(t, s, 7)
	waitShrunk = proc.MustBlock(t, "ResizeWait", func() {
		if err := s.ResizeWait(context.Background(), 3); !errors.Is(err, ErrSize) {
			t.Error(err)
		}
	})
	if err := s.Resize(8); err != nil {
		t.Error(err)
	}
	waitShrunk()
	release(t, held)

	// A context that ends leaves the new size.
	held = acquire(t, s, 8)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.ResizeWait(ctx, 6); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	release(t, held)
	if n, err := s.Tickets(); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	expectNoRequests(t, a.Path())
}
