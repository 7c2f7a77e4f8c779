package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

// What a second pair of eyes tried on sessions and their detector.

// A session whose last use is the call under way is in use.
func TestSessionCollectedInItsLastCall(t *testing.T) {
	a := testArena(t, nil)
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

// A reader who would look late does not keep others of its circle from seeing
// it wait.
func TestDeadlockWithReaderThatLooksLate(t *testing.T) {
	a := testArena(t, nil)
	ctx := within(t)
	late, soon := a.OpenSession(SessionOptions{Label: "late", DeadlockAfter: time.Hour}), a.OpenSession(SessionOptions{DeadlockAfter: time.Millisecond})
	x, m := a.RWMutex("x"), a.Mutex("m")
	mustLock(t, late, m)
	mustLock(t, soon, x)
	done := make(chan error, 1)
	go func() { done <- late.RLock(ctx, x); late.Close() }()
	awaitSession(t, a, "late")
	mustBe(t, "lock", soon.Lock(ctx, m), ErrDeadlock)
	soon.Close()
	mustBe(t, "read lock", <-done, nil)
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

// A verdict is on the wait that was looked for, not on the next of its session.
func TestVerdictOnNextWait(t *testing.T) {
	a := testArena(t, nil)
	c := a.core
	one, _, _, end := crossed(t, a)
	last := verdictWord(c.head.verdict.Load())
	before := &sessionWait{session: one.session, handle: one.handle, mode: Exclusive, over: true, cancel: func(error) {}}
	victim, _ := c.detector.conclude(c.sight(), map[uint32]*sessionWait{one.session.index: before}, last)
	if now := verdictWord(c.head.verdict.Load()); now != last || victim != nil {
		t.Errorf("verdict %#x after %#x, on a wait that nobody looked for", now, last)
	}
	one.cancel(context.Canceled)
	end()
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

// Many circles at once are all broken soon, with a victim each.
func TestManyDeadlocksAtOnce(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet, MaxLocks: 8 * segmentSlots})
	const pairs = 500
	ctx := within(t)
	var all sync.WaitGroup
	var ready sync.WaitGroup
	victims := make([]int, pairs)
	var mu sync.Mutex
	ready.Add(2 * pairs)
	began := make(chan time.Time, 2*pairs)
	for i := range 2 * pairs {
		pair := i / 2
		all.Go(func() {
			s := a.OpenSession(SessionOptions{DeadlockAfter: 20 * time.Millisecond})
			defer s.Close()
			mine, theirs := a.Mutex(fmt.Sprint(pair, i%2)), a.Mutex(fmt.Sprint(pair, 1-i%2))
			if err := s.Lock(ctx, mine); err != nil {
				t.Error(err)
			}
			ready.Done()
			ready.Wait()
			began <- time.Now()
			err := s.Lock(ctx, theirs)
			if errors.Is(err, ErrDeadlock) {
				mu.Lock()
				victims[pair]++
				mu.Unlock()
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	ready.Wait()
	at := time.Now()
	all.Wait()
	t.Logf("%d circles took %v", pairs, time.Since(at))
	for i, n := range victims {
		if n != 1 {
			t.Errorf("circle %d had %d victims", i, n)
		}
	}
}

// What a look costs with many who wait for one lock.
func TestLookAtManyWaiting(t *testing.T) {
	const many = 10000
	for _, kind := range []Kind{KindMutex, KindRWMutex, KindSemaphore, KindRanges} {
		g := waitGraph{actors: make([]graphActor, many+1), locks: map[uint32]*graphLock{1: {kind: kind, capacity: 1, shut: true}, 2: {kind: KindMutex}}}
		l := g.locks[1]
		mode := Exclusive
		for i := 1; i <= many; i++ {
			switch kind {
			case KindRWMutex:
				mode = Shared
			case KindSemaphore:
				mode = OfTickets
				l.queue = append([]int{i}, l.queue...)
			case KindRanges:
				l.pieces = append(l.pieces, graphPiece{actor: i, holder: uint64(i), last: 9, wanted: true, arrival: uint64(many - i)})
			}
			g.actors[i] = graphActor{waits: true, slot: 1, mode: mode, count: 1}
		}
		l.holders = []graphHolder{{0, mode, 1}}
		if kind == KindRWMutex {
			l.holders[0].mode = Exclusive
		}
		g.index()
		at := time.Now()
		stuck := g.stuck()
		t.Logf("kind %v: nobody is stuck: %v", kind, time.Since(at))
		g.actors[0] = graphActor{waits: true, slot: 2, mode: Exclusive, count: 1}
		g.locks[2].holders = []graphHolder{{1, Exclusive, 1}}
		for i := range g.actors {
			g.actors[i].holds = nil
		}
		g.index()
		at = time.Now()
		stuck = g.stuck()
		t.Logf("kind %v: a circle: %v", kind, time.Since(at))
		at = time.Now()
		for i := range 20 {
			g.cycle(i, stuck)
		}
		t.Logf("kind %v: 20 cycles: %v", kind, time.Since(at))
	}
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
