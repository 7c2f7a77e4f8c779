package arena

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

// mustBe fails the test unless err is target; nil is nil.
func mustBe(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) || target == nil && err != nil {
		t.Errorf("%s: %v, not %v", what, err, target)
	}
}

func heldBy(s *Session) string {
	var all []string
	for _, h := range s.Held() {
		all = append(all, h.Mode.String()+" "+h.Lock)
	}
	return strings.Join(all, ", ")
}

// All that a session takes it knows, and gives back.
func TestSessionHolds(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	m, x, r, u, sem, rng := a.Mutex("m"), a.RWMutex("x"), a.RWMutex("r"), a.RWMutex("u"), a.Semaphore("sem", 4), a.Ranges("rng")
	s := a.Session("all kinds")
	take := func() {
		mustBe(t, "lock", s.Lock(ctx, m), nil)
		mustBe(t, "lock", s.Lock(ctx, x), nil)
		mustBe(t, "read lock", s.RLock(ctx, r), nil)
		mustBe(t, "upgradable", s.ULock(ctx, u), nil)
		if n, err := s.Acquire(ctx, sem, 2); err != nil || !slices.Equal(n, []int{0, 1}) {
			t.Error(n, err)
		}
		if n, err := s.TryAcquire(sem, 1); err != nil || !slices.Equal(n, []int{2}) {
			t.Error(n, err)
		}
		mustBe(t, "range", s.LockRange(ctx, rng, Shared, 10, 5), nil)
	}
	take()
	if got := heldBy(s); got != "exclusive m, exclusive x, shared r, upgradable u, tickets sem, Mode(0) rng" {
		t.Error(got)
	}
	if h := s.Held(); !slices.Equal(h[4].Tickets, []int{0, 1, 2}) || !slices.Equal(h[5].Ranges, []Range{{10, 5, Shared}}) {
		t.Errorf("%+v", h)
	}
	snapshot, err := ReadSnapshot(a.Path())
	if err != nil || len(snapshot.Sessions) != 1 {
		t.Fatal(err, snapshot.Sessions)
	}
	if x := snapshot.Sessions[0]; x.Label != "all kinds" || len(x.Holds) != 5 || x.Wait != nil || x.Number != 1 || !x.Known {
		t.Errorf("%+v", x)
	}
	mustBe(t, "unlock", s.Unlock(m), nil)
	mustBe(t, "unlock", s.Unlock(x), nil)
	mustBe(t, "read unlock", s.RUnlock(r), nil)
	mustBe(t, "upgradable unlock", s.UUnlock(u), nil)
	mustBe(t, "release of one", s.Release(sem, 1), nil)
	mustBe(t, "release of the rest", s.Release(sem), nil)
	mustBe(t, "release of a part", s.ReleaseRange(rng, 12, 1), nil)
	if h := s.Held(); len(h) != 1 || len(h[0].Ranges) != 2 {
		t.Errorf("%+v", h)
	}
	mustBe(t, "release of ranges", s.ReleaseRanges(rng), nil)
	if h := s.Held(); len(h) != 0 {
		t.Errorf("%+v", h)
	}
	take()
	mustBe(t, "close", s.Close(), nil)
	for _, ok := range []bool{m.TryLock(), x.TryLock(), r.TryLock(), u.TryLock()} {
		if !ok {
			t.Error("not given back")
		}
	}
	m.Unlock()
	x.Unlock()
	r.Unlock()
	u.Unlock()
	if n, err := sem.InUse(); n != 0 || err != nil {
		t.Error(n, err)
	}
	if ok, err := rng.TryLock(Exclusive, 0, 0); !ok || err != nil {
		t.Error("ranges are not given back", err)
	}
	rng.ReleaseAll()
}

// Many more than one record shows, given back in an order of its own.
func TestSessionHoldsMany(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	s := a.Session("many")
	const many = 300
	for i := range many {
		mustBe(t, "lock", s.Lock(ctx, a.Mutex(hoardedName(i))), nil)
	}
	for i := range many {
		if k := i * 7 % many; k%3 > 0 {
			mustBe(t, "unlock", s.Unlock(a.Mutex(hoardedName(k))), nil)
		}
	}
	if n := len(s.Held()); n != many/3 {
		t.Errorf("%d are held", n)
	}
	mustBe(t, "close", s.Close(), nil)
	for i := range many {
		if m := a.Mutex(hoardedName(i)); !m.TryLock() {
			t.Fatalf("%d is held", i)
		} else {
			m.Unlock()
		}
	}
	if seen := a.core.sight(); len(seen.sessions) != 0 {
		t.Errorf("%+v", seen.sessions)
	}
}

// What is refused changes nothing.
func TestSessionMisuse(t *testing.T) {
	a, other := testArena(t, nil), testArena(t, nil)
	ctx := within(t)
	m, rw, sem := a.Mutex("m"), a.RWMutex("rw"), a.Semaphore("sem", 3)
	s := a.Session("misused")
	mustBe(t, "unlock of what is free", s.Unlock(m), ErrNotHeld)
	mustBe(t, "release of what is free", s.Release(sem), ErrNotHeld)
	mustBe(t, "upgrade of what is free", s.Upgrade(ctx, rw), ErrNotHeld)
	mustBe(t, "a lock of another arena", s.Lock(ctx, other.Mutex("m")), ErrOptions)

	mustBe(t, "read lock", s.RLock(ctx, rw), nil)
	mustBe(t, "unlock of a read lock", s.Unlock(rw), ErrMode)
	mustBe(t, "upgradable unlock of a read lock", s.UUnlock(rw), ErrMode)
	mustBe(t, "downgrade of a read lock", s.Downgrade(rw), ErrMode)
	mustBe(t, "lock of what is read", s.Lock(ctx, rw), ErrDeadlock)
	mustBe(t, "a second read lock", s.RLock(ctx, rw), ErrDeadlock)
	mustBe(t, "lock", s.Lock(ctx, m), nil)
	mustBe(t, "a second lock", s.Lock(ctx, m), ErrDeadlock)
	if ok, err := s.TryLock(m); ok || !errors.Is(err, ErrDeadlock) {
		t.Error(ok, err)
	}
	if _, err := s.Acquire(ctx, sem, 2); err != nil {
		t.Error(err)
	}
	mustBe(t, "release of a ticket that it has not", s.Release(sem, 0, 2), ErrNotHeld)
	mustBe(t, "release of a ticket twice", s.Release(sem, 0, 0), ErrTickets)
	if _, err := s.Acquire(ctx, sem, 2); !errors.Is(err, ErrDeadlock) {
		t.Error("two more of three:", err)
	}
	if _, err := s.Acquire(ctx, sem, 4); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if got := heldBy(s); got != "shared rw, exclusive m, tickets sem" {
		t.Error(got)
	}

	m.Unlock() // past the session
	mustBe(t, "unlock of what was released past it", s.Unlock(m), ErrNotHeld)
	if got := heldBy(s); got != "shared rw, tickets sem" {
		t.Error(got)
	}
	mustBe(t, "close", s.Close(), nil)
	mustBe(t, "close again", s.Close(), ErrSessionClosed)
	mustBe(t, "lock", s.Lock(ctx, m), ErrSessionClosed)
	mustBe(t, "unlock", s.Unlock(m), ErrSessionClosed)
	_, err := s.TryAcquire(sem, 1)
	mustBe(t, "acquire", err, ErrSessionClosed)
	mustBe(t, "lock all", s.LockAll(ctx, Exclusively(m)), ErrSessionClosed)
	if s.Held() != nil || !m.TryLock() {
		t.Error("holds something after Close")
	}
	m.Unlock()
}

// While one goroutine waits in a session, others are refused.
func TestSessionOfTwoGoroutines(t *testing.T) {
	a := testArena(t, nil)
	m, free := a.Mutex("m"), a.Mutex("free")
	s := a.Session("shared")
	mustBe(t, "lock", s.Lock(within(t), free), nil)
	m.Lock()
	ctx, cancel := context.WithCancel(within(t))
	wait := proc.MustBlock(t, "lock", func() { mustBe(t, "cancelled", s.Lock(ctx, m), context.Canceled) })
	mustBe(t, "unlock", s.Unlock(free), ErrConcurrent)
	mustBe(t, "lock", s.Lock(ctx, a.RWMutex("rw")), ErrConcurrent)
	mustBe(t, "close", s.Close(), ErrConcurrent)
	cancel()
	wait()
	mustBe(t, "unlock", s.Unlock(free), nil)
	mustBe(t, "close", s.Close(), nil)
	m.Unlock()
}

// The last of as many releases gives back; modes nest as they may.
func TestSessionReentry(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	m, rw := a.Mutex("m"), a.RWMutex("rw")
	s := a.OpenSession(SessionOptions{Label: "again", Reentrant: true})
	for range 3 {
		mustBe(t, "lock", s.Lock(ctx, m), nil)
	}
	for range 3 {
		if m.TryLock() {
			t.Fatal("free too early")
		}
		mustBe(t, "unlock", s.Unlock(m), nil)
	}
	mustBe(t, "unlock", s.Unlock(m), ErrNotHeld)

	mustBe(t, "upgradable", s.ULock(ctx, rw), nil)
	mustBe(t, "read within", s.RLock(ctx, rw), nil)
	mustBe(t, "exclusive within", s.Lock(ctx, rw), ErrDeadlock)
	mustBe(t, "upgrade", s.Upgrade(ctx, rw), nil)
	mustBe(t, "downgrade of what is nested", s.Downgrade(rw), ErrMode)
	mustBe(t, "upgradable within", s.ULock(ctx, rw), nil)
	mustBe(t, "unlock", s.Unlock(rw), nil)
	mustBe(t, "unlock in the wrong mode", s.Unlock(rw), ErrMode)
	if rw.TryRLock() {
		t.Error("is exclusive until the last is out")
	}
	mustBe(t, "read unlock", s.RUnlock(rw), nil)
	mustBe(t, "upgradable unlock", s.UUnlock(rw), nil)
	if !rw.TryLock() {
		t.Error("is held")
	}
	rw.Unlock()
	mustBe(t, "close", s.Close(), nil)
}

// Conversions, and that a failed one leaves the lock as it was.
func TestSessionConversions(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	rw := a.RWMutex("rw")
	s := a.Session("converts")
	defer s.Close()
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	mustBe(t, "read lock", s.RLock(ctx, rw), nil)
	mustBe(t, "to upgradable", s.UpgradeToU(ctx, rw), nil)
	rw.RLock()
	mustBe(t, "to exclusive beside a reader", s.Upgrade(soon(), rw), ErrTimeout)
	mustBe(t, "to shared", s.UDowngrade(rw), nil)
	mustBe(t, "to exclusive beside a reader", s.Upgrade(soon(), rw), ErrTimeout)
	if ok, err := s.TryUpgrade(rw); ok || err != nil || heldBy(s) != "shared rw" {
		t.Error(ok, err, heldBy(s))
	}
	rw.RUnlock()
	mustBe(t, "to exclusive", s.Upgrade(ctx, rw), nil)
	mustBe(t, "to upgradable", s.DowngradeToU(rw), nil)
	mustBe(t, "to exclusive", s.Upgrade(ctx, rw), nil)
	mustBe(t, "to shared", s.Downgrade(rw), nil)
	if ok, err := s.TryUpgrade(rw); !ok || err != nil || heldBy(s) != "exclusive rw" {
		t.Error(ok, err, heldBy(s))
	}
	mustBe(t, "unlock", s.Unlock(rw), nil)
}

// Two who name the same locks in opposite orders never wait for each other.
func TestLockAll(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	wants := func() []Want {
		return []Want{Exclusively(a.Mutex("a")), TicketsOf(a.Semaphore("sem", 2), 2), Exclusively(a.RWMutex("x")), Upgradably(a.RWMutex("u")), ForReading(a.RWMutex("r")), Exclusively(a.Mutex("b"))}
	}
	var both sync.WaitGroup
	for g := range 2 {
		both.Go(func() {
			s := a.OpenSession(SessionOptions{DeadlockAfter: time.Millisecond})
			defer s.Close()
			w := wants()
			for range 200 {
				if g == 1 {
					slices.Reverse(w)
				}
				mustBe(t, "lock all", s.LockAll(ctx, w...), nil)
				for _, err := range []error{
					s.Unlock(a.Mutex("a")), s.Release(a.Semaphore("sem", 2)), s.Unlock(a.RWMutex("x")),
					s.UUnlock(a.RWMutex("u")), s.RUnlock(a.RWMutex("r")), s.Unlock(a.Mutex("b")),
				} {
					mustBe(t, "back", err, nil)
				}
			}
		})
	}
	both.Wait()

	s := a.Session("one of them is taken")
	defer s.Close()
	a.RWMutex("x").RLock()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	mustBe(t, "lock all", s.LockAll(short, wants()...), ErrTimeout)
	if got := heldBy(s); got != "" {
		t.Error(got)
	}
	a.RWMutex("x").RUnlock()
	mustBe(t, "twice the same", s.LockAll(ctx, Exclusively(a.Mutex("a")), Exclusively(a.Mutex("a"))), ErrDeadlock)
	if got := heldBy(s); got != "" {
		t.Error(got)
	}
}

// A session that is lost is told, with where it was made; it keeps its locks.
func TestSessionLeak(t *testing.T) {
	said := make(chan string, 16)
	a := testArena(t, &Options{Logger: slog.New(slog.NewTextHandler(lineWriter(said), nil))})
	m := a.Mutex("leaked")
	func() {
		mustLock(t, a.Session("careless"), m)
		a.Session("empty")
	}()
	for ctx := within(t); ; {
		runtime.GC()
		select {
		case line := <-said:
			if !strings.Contains(line, "careless") {
				continue
			}
			if !strings.Contains(line, "session_test.go") || !strings.Contains(line, "leaked") {
				t.Error(line)
			}
			if m.TryLock() {
				t.Error("collection has released it")
			}
			m.Unlock()
			return
		case <-time.After(10 * time.Millisecond): // between two collections
		case <-ctx.Done():
			t.Fatal("nobody is told")
		}
	}
}

type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	select {
	case w <- string(b):
	default:
	}
	return len(b), nil
}

// Closing the arena ends what its sessions hold, and what shows them.
func TestSessionOfClosedArena(t *testing.T) {
	a := testArena(t, nil)
	keep, err := Open(a.Path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, x := a.Session("open"), keep.Session("waits")
	mustLock(t, s, a.Mutex("m"))
	wait := proc.MustBlock(t, "lock", func() { mustBe(t, "lock", x.Lock(within(t), keep.Mutex("m")), ErrClosed) })
	keep.Close()
	wait()
	mustBe(t, "close the arena", a.Close(), ErrWasHeld)
	mustBe(t, "lock", s.Lock(within(t), a.Mutex("n")), ErrClosed)
	mustBe(t, "unlock", s.Unlock(a.Mutex("m")), nil)
	mustBe(t, "close", s.Close(), nil)
	again := reopen(a.Path(), nil)
	defer again.Close()
	if seen := again.core.sight(); len(seen.sessions) != 0 {
		t.Errorf("%+v", seen.sessions)
	}
}
