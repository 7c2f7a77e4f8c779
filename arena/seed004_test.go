package arena

import (
	"context"
	"errors"
	"slices"
	"testing"

	"lockd/internal/proc"
)

// What the fifth seed's README promises of its semaphores, in its order, and
// then what it says that its users have to do without.
func TestSeed004(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	a := testArena(t, nil)

	// "Crashing processes don't leak tickets."
	crashing := func() {
		s := a.Semaphore("crashing", 1)
		expectInUse(t, s, 0)
		p := proc.Start(t, "seed004", []string{a.Path(), "crashing"})
		p.Expect("[0]")
		if _, ok := s.TryAcquire(1); ok {
			t.Error("two have the only ticket")
		}
		p.Kill()
		release(t, acquire(t, s, 1))
		if err := s.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}
	crashing()

	// "Creates a semaphore called 'test' with 3 tickets."
	s := a.Semaphore("test", 3)
	if n, err := s.Tickets(); n != 3 || err != nil {
		t.Fatalf("%d tickets, %v", n, err)
	}

	// "Increases the number of tickets to 4."
	if err := s.Resize(4); err != nil {
		t.Fatal(err)
	}
	four := acquire(t, s, 4)

	// "If 'test' doesn't exist, it will be created."
	if n, err := a.Semaphore("another", 4).Tickets(); n != 4 || err != nil {
		t.Fatalf("%d tickets, %v", n, err)
	}

	// "Decreases the number of tickets to 2. This can block, in the worst case
	// until all tickets have been returned." Ours waits for those beyond 2.
	shrunk := proc.MustBlock(t, "ResizeWait", func() {
		if err := s.ResizeWait(ctx, 2); err != nil {
			t.Error(err)
		}
	})
	if err := four.ReleaseSome(3, 2); err != nil {
		t.Fatal(err)
	}
	shrunk()
	release(t, four)

	// "Returns a dictionary of available semaphores, with their ticket counts."
	all, err := a.Semaphores()
	slices.SortFunc(all, func(a, b SemaphoreInfo) int { return b.Tickets - a.Tickets })
	if err != nil || !slices.Equal(all, []SemaphoreInfo{{"another", 4, 0}, {"test", 2, 0}}) {
		t.Errorf("%v, %v", all, err)
	}

	// "if theticket is None: no ticket was available": another process has both.
	p := proc.Start(t, "seed004", []string{a.Path(), "test"})
	p.Expect("[0]")
	q := proc.Start(t, "seed004", []string{a.Path(), "test"})
	q.Expect("[1]")
	if _, ok := s.TryAcquire(1); ok {
		t.Error("a third of two tickets")
	}

	// "When the transaction terminates, the ticket is returned": theirs has no
	// call for it, ours has, and the end of the process does it too.
	p.Send("release")
	p.Expect("released")
	if ticket, ok := s.TryAcquire(1); !ok || !slices.Equal(ticket.Numbers(), []int{0}) {
		t.Errorf("got %v, %v", ticket, ok)
	} else {
		release(t, ticket)
	}

	// "Destroys the semaphore. Blocks until all its tickets have been returned."
	another := a.Semaphore("test", 0)
	destroyed := proc.MustBlock(t, "Destroy", func() {
		if err := another.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
	if _, err := s.Acquire(ctx, 1); !errors.Is(err, ErrDestroyed) {
		t.Errorf("acquired from what is being destroyed: %v", err)
	}
	q.Kill() // returns its ticket
	destroyed()
	if all, err := a.Semaphores(); err != nil || !slices.Equal(all, []SemaphoreInfo{{"another", 4, 0}}) {
		t.Errorf("%v, %v", all, err)
	}

	// "you can't block until a ticket becomes available": one can.
	s = a.Semaphore("test", 1)
	held := acquire(t, s, 1)
	got := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 1)) })
	release(t, held)
	got()

	// "it's currently impossible to get new tickets of a semaphore on a
	// transaction that already has a ticket": several, at once and one by one.
	s = a.Semaphore("another", 4)
	one, two := acquire(t, s, 1), acquire(t, s, 2)
	if got := append(one.Numbers(), two.Numbers()...); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("got %v", got)
	}
	release(t, one, two)
}

func init() {
	roles["seed004"] = func(args []string) {
		s := reopen(args[0], nil).Semaphore(args[1], 0)
		t, ok := s.TryAcquire(1)
		if !ok {
			proc.Say("Boo! No ticket was available!")
			return
		}
		proc.Say("%v", t.Numbers())
		proc.Hear()
		t.Release()
		proc.Say("released")
		proc.Hear()
	}
}
