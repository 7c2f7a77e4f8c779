package arena

import (
	"context"
	"errors"
	"slices"
	"testing"

	"lockd/internal/proc"
)

func acquire(t testing.TB, s *Semaphore, n int) *Tickets {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	got, err := s.Acquire(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func release(t testing.TB, held ...*Tickets) {
	t.Helper()
	for _, h := range held {
		if err := h.Release(); err != nil {
			t.Error(err)
		}
	}
}

func expectInUse(t testing.TB, s *Semaphore, want int) {
	t.Helper()
	if got, err := s.InUse(); err != nil || got != want {
		t.Errorf("%d in use (%v), want %d", got, err, want)
	}
}

// Which tickets: the lowest that are free; some or all of them come back.
func TestSemaphoreTickets(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gpu", 4)
	two := acquire(t, s, 2)
	if got := two.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("tickets %v", got)
	}
	one := acquire(t, s, 1)
	if got := one.Numbers(); !slices.Equal(got, []int{2}) || one.Count() != 1 {
		t.Errorf("tickets %v", got)
	}
	expectInUse(t, s, 3)
	if _, ok := s.TryAcquire(2); ok {
		t.Error("two of one were acquired")
	}
	if err := two.ReleaseSome(1, 0, 2); !errors.Is(err, ErrNotHeld) {
		t.Errorf("released what another holds: %v", err)
	}
	if err := two.ReleaseSome(1, 1); !errors.Is(err, ErrTickets) {
		t.Errorf("released one twice: %v", err)
	}
	if got := two.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("a failed release released: %v", got)
	}
	if err := two.ReleaseSome(0); err != nil {
		t.Error(err)
	}
	if got, ok := s.TryAcquire(2); !ok || !slices.Equal(got.Numbers(), []int{0, 3}) {
		t.Errorf("got %v, %v", got, ok)
	} else {
		release(t, got)
	}
	release(t, two, one)
	for _, gone := range []*Tickets{two, one} {
		if err := gone.Release(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("released again: %v", err)
		}
	}
	expectInUse(t, s, 0)
	if n, err := s.Tickets(); n != 4 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
}

func TestSemaphoreWaits(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gpu", 2)
	held := acquire(t, s, 1)
	var large, small *Tickets
	waitLarge := proc.MustBlock(t, "Acquire(2)", func() { large = acquire(t, s, 2) })
	waitSmall := proc.MustBlock(t, "Acquire(1) behind a large request", func() { small = acquire(t, s, 1) })
	if _, ok := s.TryAcquire(1); ok {
		t.Error("a try overtook who waits")
	}
	release(t, held)
	waitLarge()
	if got := large.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("tickets %v", got)
	}
	release(t, large)
	waitSmall()
	release(t, small)
	expectInUse(t, s, 0)
}
