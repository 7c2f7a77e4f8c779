package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"lockd/internal/proc"
)

// What a second pair of eyes tried on sessions and their detector.

// A session whose last use is the call under way is in use.
func TestSessionCollectedInItsLastCall(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet}) // it is lost in the end
	m := a.Mutex("m")
	m.Lock()
	done := make(chan error, 1)
	go func() { done <- a.Session("last call").Lock(within(t), m) }()
	awaitSession(t, a, "last call")
	for range 4 {
		runtime.GC()
		time.Sleep(5 * time.Millisecond) // for clean-ups, whose end nobody tells
	}
	if seen := a.core.sight(); len(seen.sessions) != 1 || seen.sessions[0].wait == 0 {
		t.Errorf("the session that waits is hidden: %+v", seen.sessions)
	}
	m.Unlock()
	mustBe(t, "lock", <-done, nil)
	m.Unlock() // past the session, which nobody has
}

// The patience of a handle of ranges is kept by a session.
func TestSessionKeepsPatienceOfRanges(t *testing.T) {
	a := testArena(t, nil)
	r := a.Ranges("r")
	if ok, err := r.TryLock(Exclusive, 0, 10); !ok || err != nil {
		t.Fatal(ok, err)
	}
	s := a.Session("s")
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.LockRange(ctx, r.With(Patience{Timeout: time.Millisecond}), Exclusive, 0, 10) }()
	select {
	case err := <-done:
		mustBe(t, "lock range", err, ErrTimeout)
	case <-time.After(proc.Soon):
		t.Error("it waits on")
		cancel()
		<-done
	}
	r.ReleaseAll()
}

// Entries follow the mode when that mode was left already.
func TestSessionConvertsAfterMixedEntries(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	x := a.RWMutex("x")
	s := a.OpenSession(SessionOptions{Reentrant: true})
	defer s.Close()
	mustBe(t, "lock", s.Lock(ctx, x), nil)
	mustBe(t, "read lock", s.RLock(ctx, x), nil)
	mustBe(t, "unlock", s.Unlock(x), nil)
	mustBe(t, "unlock again", s.Unlock(x), ErrMode)
	mustBe(t, "downgrade", s.Downgrade(x), nil)
	mustBe(t, "unlock of a read lock", s.Unlock(x), ErrMode)
	if !x.TryRLock() {
		t.Fatal("not a read lock")
	}
	x.RUnlock()
	mustBe(t, "read unlock", s.RUnlock(x), nil)

	mustBe(t, "upgradable", s.ULock(ctx, x), nil)
	mustBe(t, "read lock", s.RLock(ctx, x), nil)
	mustBe(t, "upgradable unlock", s.UUnlock(x), nil)
	mustBe(t, "upgrade", s.Upgrade(ctx, x), nil)
	mustBe(t, "read unlock of an exclusive lock", s.RUnlock(x), ErrMode)
	mustBe(t, "upgradable unlock", s.UUnlock(x), ErrMode)
	mustBe(t, "unlock", s.Unlock(x), nil)
	if !x.TryLock() {
		t.Fatal("not given back")
	}
	x.Unlock()
}

// Tickets wanted in two parts are taken in one.
func TestLockAllTicketsNamedTwice(t *testing.T) {
	a := testArena(t, nil)
	sem := a.Semaphore("sem", 3)
	other := a.Session("other")
	if _, err := other.Acquire(within(t), sem, 2); err != nil {
		t.Fatal(err)
	}
	s := a.Session("s")
	done := make(chan error, 1)
	go func() { done <- s.LockAll(within(t), TicketsOf(sem, 1), TicketsOf(sem, 1)) }()
	awaitSession(t, a, "s")
	if n, err := sem.InUse(); n != 2 || err != nil {
		t.Errorf("%d tickets are in use: one is held while it waits for the other: %v", n, err)
	}
	mustBe(t, "close", other.Close(), nil)
	mustBe(t, "lock all", <-done, nil)
	if n, err := sem.InUse(); n != 2 || err != nil {
		t.Error(n, err)
	}
	mustBe(t, "close", s.Close(), nil)
}

// No tickets are not all tickets.
func TestLockAllOfNoTickets(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	sem, m := a.Semaphore("sem", 3), a.Semaphore("zem", 1)
	s := a.Session("s")
	defer s.Close()
	if _, err := s.Acquire(ctx, sem, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.LockAll(ctx, TicketsOf(sem, 0), TicketsOf(m, 5)); err == nil {
		t.Error("took 5 of 1")
	}
	if n, err := sem.InUse(); n != 2 || err != nil {
		t.Errorf("%d are in use, %v", n, err)
	}
	if _, err := s.Acquire(ctx, sem, 0); err == nil {
		t.Error("no tickets were had")
	}
	mustBe(t, "empty", s.LockAll(ctx), nil)
}

// Close gives back the last taken first, whatever was given back before.
func TestSessionClosesInOrder(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	s := a.Session("s")
	for _, n := range []string{"a", "b", "c", "d"} {
		mustBe(t, "lock", s.Lock(ctx, a.Mutex(n)), nil)
	}
	mustBe(t, "unlock", s.Unlock(a.Mutex("a")), nil)
	for _, n := range []string{"b", "c", "d"} { // past the session: what Close says is in its order
		a.Mutex(n).Unlock()
	}
	var got string
	for _, e := range s.Close().(interface{ Unwrap() []error }).Unwrap() {
		for _, n := range []string{"b", "c", "d"} {
			if strings.Contains(e.Error(), fmt.Sprintf("release %q", n)) {
				got += n
			}
		}
	}
	if got != "dcb" {
		t.Errorf("in the order %q", got)
	}
}

// A session outlives the opening it was made in, if the process has another.
func TestSessionOfClosedOpening(t *testing.T) {
	a := testArena(t, nil)
	b, err := Open(a.Path(), &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	s := b.Session("of b")
	mustBe(t, "lock", s.Lock(ctx, b.Mutex("m")), nil)
	mustBe(t, "lock", s.Lock(ctx, b.RWMutex("x")), nil)
	mustBe(t, "lock", s.RLock(ctx, b.RWMutex("r")), nil)
	if _, err := s.Acquire(ctx, b.Semaphore("sem", 2), 2); err != nil {
		t.Fatal(err)
	}
	mustBe(t, "range", s.LockRange(ctx, b.Ranges("rng"), Exclusive, 0, 1), nil)
	mustBe(t, "close of the opening", b.Close(), nil)
	mustBe(t, "close of the session", s.Close(), nil)
	if !a.Mutex("m").TryLock() || !a.RWMutex("x").TryLock() || !a.RWMutex("r").TryLock() {
		t.Error("not given back")
	}
	if n, err := a.Semaphore("sem", 2).InUse(); n != 0 || err != nil {
		t.Error(n, err)
	}
	if ok, err := a.Ranges("rng").TryLock(Exclusive, 0, 0); !ok || err != nil {
		t.Error(ok, err)
	}
	a.Mutex("m").Unlock()
	a.RWMutex("x").Unlock()
	a.RWMutex("r").Unlock()
}

// What a session asks for through an opening that was closed it has not.
func TestSessionAsksThroughClosedOpening(t *testing.T) {
	a := testArena(t, nil)
	b, err := Open(a.Path(), &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	s, x := b.Session("of b"), b.RWMutex("x")
	mustBe(t, "lock", s.Lock(ctx, x), nil)
	mustBe(t, "unlock", s.Unlock(x), nil)
	mustBe(t, "close of the opening", b.Close(), nil)
	mustBe(t, "upgradable", s.ULock(ctx, x), ErrClosed)
	mustBe(t, "lock", s.Lock(ctx, x), ErrClosed)
	mustBe(t, "close", s.Close(), nil)
	if !a.RWMutex("x").TryLock() {
		t.Fatal("nobody has it, and it is held")
	}
	a.RWMutex("x").Unlock()
}

// A want may be used by several sessions at once.
func TestWantOfTwoSessions(t *testing.T) {
	a := testArena(t, nil)
	sem, busy := a.Semaphore("a", 2), a.Semaphore("z", 1)
	tk, err := busy.Acquire(within(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := TicketsOf(sem, 1)
	one, other := a.Session("one"), a.Session("other")
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() { done <- one.LockAll(ctx, want, TicketsOf(busy, 1)) }()
	awaitSession(t, a, "one")
	mustBe(t, "lock all", other.LockAll(within(t), want), nil)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, ErrNotHeld) {
		t.Error(err)
	}
	if held := one.Held(); len(held) != 0 {
		t.Errorf("an error, and it holds %v", held)
	}
	tk.Release()
	mustBe(t, "close", one.Close(), nil)
	mustBe(t, "close", other.Close(), nil)
}
