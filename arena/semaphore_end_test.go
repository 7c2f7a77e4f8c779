package arena

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lockd/internal/proc"
)

func TestSemaphoreDestroy(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gone", 3)
	held := acquire(t, s, 2)
	refused := proc.MustBlock(t, "Acquire", func() {
		if _, err := s.Acquire(context.Background(), 2); !errors.Is(err, ErrDestroyed) {
			t.Errorf("waiting while it was destroyed: %v", err)
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	givenUp := proc.MustBlock(t, "Destroy", func() {
		if err := s.Destroy(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	refused()
	if _, err := s.Acquire(context.Background(), 1); !errors.Is(err, ErrDestroyed) {
		t.Errorf("acquired from what is being destroyed: %v", err)
	}
	if _, ok := s.TryAcquire(1); ok {
		t.Error("tried with success what is being destroyed")
	}
	if err := s.Resize(9); !errors.Is(err, ErrDestroyed) {
		t.Errorf("resized what is being destroyed: %v", err)
	}
	cancel()
	givenUp()
	release(t, acquire(t, s, 1)) // it goes on

	destroyed := proc.MustBlock(t, "Destroy", func() {
		if err := s.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	release(t, held)
	destroyed()
	for _, err := range []error{
		func() error { _, err := s.Acquire(context.Background(), 1); return err }(),
		func() error { _, err := s.Tickets(); return err }(),
		s.Resize(4), s.Destroy(context.Background()),
	} {
		if !errors.Is(err, ErrDestroyed) {
			t.Errorf("after Destroy: %v", err)
		}
	}
	if all, err := a.Semaphores(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	again := a.Semaphore("gone", 1)
	release(t, acquire(t, again, 1))
	if _, err := s.Acquire(context.Background(), 1); !errors.Is(err, ErrDestroyed) {
		t.Errorf("the old handle found the new semaphore: %v", err)
	}
	expectNoRequests(t, a.Path())
}

// The process that destroys dies: the semaphore goes on.
func TestSemaphoreDestroyerDies(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gone", 3)
	held := acquire(t, s, 1)
	p := proc.Start(t, "ticket-destroyer", []string{a.Path()})
	p.Expect("destroying")
	untilQueued(t, s, 1)
	if _, ok := s.TryAcquire(1); ok {
		t.Error("acquired from what is being destroyed")
	}
	p.Kill()
	release(t, acquire(t, s, 2), held)
	expectInUse(t, s, 0)
}

func init() {
	roles["ticket-destroyer"] = func(args []string) {
		s := reopen(args[0], nil).Semaphore("gone", 0)
		proc.Say("destroying")
		s.Destroy(context.Background())
		proc.Say("destroyed")
	}
}

// Close gives back what is held, wakes who waits, and says so.
func TestSemaphoreClose(t *testing.T) {
	a := testArena(t, nil)
	p := startTicketWaiter(t, a, 2)
	s := a.Semaphore("queue", 2)
	expectInUse(t, s, 0)
	p.Expect("ready")
	p.Send("acquire")
	p.Expect("got [0 1]")
	waiting := proc.MustBlock(t, "Acquire", func() {
		if _, err := s.Acquire(context.Background(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("waiting while the arena was closed: %v", err)
		}
	})
	other, err := Open(a.Path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	waitingThere := proc.MustBlock(t, "Acquire through another opening", func() {
		if _, err := other.Semaphore("queue", 0).Acquire(context.Background(), 1); !errors.Is(err, ErrClosed) {
			t.Errorf("waiting while the opening was closed: %v", err)
		}
	})
	if err := other.Close(); err != nil {
		t.Errorf("one opening of two: %v", err)
	}
	waitingThere()
	if err := a.Close(); err != nil {
		t.Errorf("nothing was held: %v", err)
	}
	waiting()

	a = reopen(a.Path(), nil)
	s = a.Semaphore("queue", 0)
	p.Send("release")
	p.Expect("released")
	held := acquire(t, s, 1)
	several := acquire(t, s, 1)
	p.Send("acquire")
	untilQueued(t, s, 1)
	if err := a.Close(); !errors.Is(err, ErrWasHeld) || !strings.Contains(err.Error(), `2 tickets of "queue"`) {
		t.Errorf("closing with tickets: %v", err)
	}
	p.Expect("got [0 1]")
	release(t, held, several) // does nothing
	if _, ok := s.TryAcquire(1); ok {
		t.Error("acquired from a closed arena")
	}
	if _, err := s.Acquire(context.Background(), 1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	p.Send("release")
	p.Expect("released")
}
