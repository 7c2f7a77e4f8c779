package arena

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// What reviews by attack found of the semaphore.

// TestSemaphoreWindows runs the tests of semaphore_window_test.go, which is
// built with the crash points.
func TestSemaphoreWindows(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	for _, inner := range []string{
		"TestEvictionMeetsNewSemaphore", "TestStoppedAfterGivingUpTheEnd", "TestLatchOfOneWhoLeftInOrder",
		"TestReaperOfAnotherIncarnation", "TestReaperOfWhatBecameARequest", "TestHallOfAnotherIncarnation",
		"TestEndMeetsWhoHasWithdrawn",
	} {
		t.Run(inner, func(t *testing.T) {
			if output, err := runInner(t, binary, "", inner); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// Who releases twice gives back nothing of somebody else's, however often the
// ticket was taken since.
func TestTicketsReleasedTwice(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("twice", 1)
	expectInUse(t, s, 0)
	for turns := range 10 {
		old := acquire(t, s, 1)
		again := old
		release(t, old)
		for range turns {
			release(t, acquire(t, s, 1))
		}
		held := acquire(t, s, 1)
		for _, gone := range []Tickets{old, again} {
			if err := gone.Release(); !errors.Is(err, ErrNotHeld) {
				t.Errorf("released again, %d turns later: %v", turns, err)
			}
			if err := gone.ReleaseSome(0); !errors.Is(err, ErrNotHeld) {
				t.Errorf("released ticket 0 again, %d turns later: %v", turns, err)
			}
			if got := gone.Numbers(); len(got) != 0 || gone.Count() != 0 {
				t.Errorf("a released Tickets has %v", got)
			}
		}
		expectInUse(t, s, 1)
		release(t, held)
	}
	if err := (Tickets{}).Release(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("released none: %v", err)
	}
	if err := (Tickets{}).ReleaseSome(3); !errors.Is(err, ErrNotHeld) {
		t.Errorf("released 3 of none: %v", err)
	}
}

// A settler who has judged a ticket's holder gone comes late: another has
// freed it, and somebody has taken it since.
func TestTicketOfTheDeadComesBackOnce(t *testing.T) {
	a := testArena(t, nil)
	awaitSettlers(t, a.core)
	s := a.Semaphore("queue", 1)
	expectInUse(t, s, 0)
	p := startTicketWaiter(t, a, 1)
	p.Expect("ready")
	p.Send("acquire")
	p.Expect("got [0]")
	p.Kill()
	b := s.binding()
	st := loadTickets(b.slot)
	word := s.hall.Load().places[0].word
	w := ticketWord(word.Load())
	if !freeTicket(b.slot, st, word, w) {
		t.Fatal("the dead's ticket is not freed")
	}
	held := acquire(t, s, 1)
	if freeTicket(b.slot, st, word, w) {
		t.Error("a ticket came back twice")
	}
	if other, ok := s.TryAcquire(1); ok {
		t.Error("two have the only ticket")
		other.Release()
	}
	held.Release()
}

// Holders and waiters in another pid namespace, and on a kernel that has
// nothing, are killed: what they held comes back, whom they held up goes on.
func TestSemaphoreInTwoPIDNamespaces(t *testing.T) {
	// Without a byte, nothing tells of a death there.
	for what, features := range map[string]string{"all features": "", "few": "futex_waitv,pidfd_open,pidfs,o_tmpfile,fallocate"} {
		t.Run(what, func(t *testing.T) {
			a := testArena(t, nil)
			s := a.Semaphore("queue", 3)
			expectInUse(t, s, 0)
			off := proc.Env("LOCKD_FEATURES_OFF=" + features)
			holder := launchNamespaced(t, "ticket-waiter", []string{a.Path(), "2"}, unix.CLONE_NEWPID, off)
			ahead := launchNamespaced(t, "ticket-waiter", []string{a.Path(), "3"}, unix.CLONE_NEWPID, off)
			if got := holder.ask("acquire"); got != "got [0 1]" {
				t.Fatal(got)
			}
			answer := make(chan string, 1)
			go func() { answer <- ahead.ask("acquire") }()
			untilQueued(t, s, 1)
			wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 2)) })
			ahead.cmd.Process.Kill()
			<-answer
			holder.cmd.Process.Kill()
			wait()
			release(t, acquire(t, s, 3))
			a.core.settleDead()
			expectNoRequests(t, a.Path())
		})
	}
}

// With no record left, who would have to wait, and who makes or enlarges or
// destroys a semaphore, is told so; nothing has changed, and all goes on.
func TestSemaphoreWithoutRecords(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	s := a.Semaphore("full", 5)
	held := acquire(t, s, 5)
	claimed, err := a.core.claimRecords(t.Context(), segmentRecords-2)
	if err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"acquire": func() error { _, err := s.Acquire(t.Context(), 1); return err },
		"enlarge": func() error { return s.Resize(6) },
		"shrink":  func() error { return s.ResizeWait(t.Context(), 1) },
		"destroy": func() error { return s.Destroy(t.Context()) },
		"make":    func() error { _, err := a.Semaphore("another", 1).Acquire(t.Context(), 1); return err },
	} {
		if err := do(); !errors.Is(err, ErrTableFull) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n, err := s.Tickets(); n != 5 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
	expectInUse(t, s, 5)
	if err := s.Resize(4); err != nil {
		t.Errorf("shrinking takes no record: %v", err)
	}
	release(t, held)
	release(t, acquire(t, s, 4))
	a.core.unclaimRecords(claimed)
	if err := s.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}

// While goroutines take tickets and give them back, the arena is closed: none
// is left with this process, and who waits elsewhere gets them.
func TestSemaphoreCloseRacesHolders(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 10
	}
	path := testPath(t)
	keep, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	expectInUse(t, keep.Semaphore("queue", 3), 0)
	p := startTicketWaiter(t, keep, 3)
	p.Expect("ready")
	keep.Close()
	for range rounds {
		a := reopen(path, nil)
		s := a.Semaphore("queue", 0)
		expectInUse(t, s, 0)
		done := make(chan struct{})
		for g := range 3 {
			go func() {
				defer func() { done <- struct{}{} }()
				for {
					held, err := s.Acquire(context.Background(), 1+g%2)
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					if err := held.Release(); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		p.Send("acquire")
		if err := a.Close(); err != nil && !errors.Is(err, ErrWasHeld) {
			t.Error(err)
		}
		for range 3 {
			<-done
		}
		p.Expect("got [0 1 2]")
		p.Send("release")
		p.Expect("released")
	}
}
