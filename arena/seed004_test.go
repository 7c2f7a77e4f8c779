package arena

import (
	"context"
	"errors"
	"slices"
	"testing"

	"lockd/internal/proc"
)

// What the fifth of the systems that this one replaces promises of its
// semaphores, in the order of its README, and then what its users have to do
// without.
func TestSeed004(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	a := testArena(t, nil)

	// A process that crashes loses no ticket.
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

	// Made with three tickets.
	s := a.Semaphore("test", 3)
	if n, err := s.Tickets(); n != 3 || err != nil {
		t.Fatalf("%d tickets, %v", n, err)
	}

	// Made larger.
	if err := s.Resize(4); err != nil {
		t.Fatal(err)
	}
	four := acquire(t, s, 4)

	// One that is not there is made by its first use.
	if n, err := a.Semaphore("another", 4).Tickets(); n != 4 || err != nil {
		t.Fatalf("%d tickets, %v", n, err)
	}

	// Made smaller, which waits for tickets: theirs for all of them at worst,
	// ours for those beyond the new size.
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

	// A list of all, with their sizes.
	all, err := a.Semaphores()
	slices.SortFunc(all, func(a, b SemaphoreInfo) int { return b.Tickets - a.Tickets })
	if err != nil || !slices.Equal(all, []SemaphoreInfo{{"another", 4, 0}, {"test", 2, 0}}) {
		t.Errorf("%v, %v", all, err)
	}

	// A try that fails, for other processes have both tickets.
	p := proc.Start(t, "seed004", []string{a.Path(), "test"})
	p.Expect("[0]")
	q := proc.Start(t, "seed004", []string{a.Path(), "test"})
	q.Expect("[1]")
	if _, ok := s.TryAcquire(1); ok {
		t.Error("a third of two tickets")
	}

	// A ticket comes back when its holder is done: theirs has no call for it,
	// ours has, and the end of the process does it too.
	p.Send("release")
	p.Expect("released")
	if ticket, ok := s.TryAcquire(1); !ok || !slices.Equal(ticket.Numbers(), []int{0}) {
		t.Errorf("got %v, %v", ticket, ok)
	} else {
		release(t, ticket)
	}

	// Destroyed, once all tickets are back.
	another := a.Semaphore("test", 0)
	destroyed := proc.MustBlock(t, "Destroy", func() {
		if err := another.Destroy(ctx); err != nil {
			t.Error(err)
		}
	})
	untilQueued(t, s, 1)
	if _, err := s.Acquire(ctx, 1); !errors.Is(err, ErrDestroyed) {
		t.Errorf("acquired from what is being destroyed: %v", err)
	}
	q.Kill() // returns its ticket
	destroyed()
	if all, err := a.Semaphores(); err != nil || !slices.Equal(all, []SemaphoreInfo{{"another", 4, 0}}) {
		t.Errorf("%v, %v", all, err)
	}

	// Theirs cannot wait until a ticket is free; ours can.
	s = a.Semaphore("test", 1)
	held := acquire(t, s, 1)
	got := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 1)) })
	release(t, held)
	got()

	// Theirs gives a holder no second ticket; ours several, at once and one by
	// one.
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
			proc.Say("no ticket")
			return
		}
		proc.Say("%v", t.Numbers())
		proc.Hear()
		t.Release()
		proc.Say("released")
		proc.Hear()
	}
}
