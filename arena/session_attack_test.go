package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
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
	const pairs = 200
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

// What a look costs does not grow with the square of those who wait in a queue,
// be they seen in whichever order.
func TestLookAtLongQueue(t *testing.T) {
	const many = 10000
	for _, kind := range []Kind{KindMutex, KindRWMutex, KindSemaphore} {
		g := waitGraph{actors: make([]graphActor, many+1), locks: map[uint32]*graphLock{1: {kind: kind, capacity: 1, shut: true}, 2: {kind: KindMutex}}}
		l, mode := g.locks[1], map[Kind]Mode{KindMutex: Exclusive, KindRWMutex: Shared, KindSemaphore: OfTickets}[kind]
		for i := many; i > 0; i-- {
			g.actors[i] = graphActor{waits: true, slot: 1, mode: mode, count: 1}
			if kind == KindSemaphore {
				l.queue = append(l.queue, i)
			}
		}
		l.holders = []graphHolder{{0, mode, 1}}
		if kind == KindRWMutex {
			l.holders[0].mode = Exclusive
		}
		g.index()
		began := time.Now()
		stuck := g.stuck()
		if slices.Contains(stuck, true) {
			t.Errorf("%v: some are stuck behind one who is not", kind)
		}
		g.actors[0] = graphActor{waits: true, slot: 2, mode: Exclusive, count: 1}
		g.locks[2].holders = []graphHolder{{many, Exclusive, 1}}
		g.index()
		stuck = g.stuck()
		if slices.Contains(stuck, false) {
			t.Errorf("%v: some are not stuck", kind)
		}
		for i := range g.actors {
			if ring := g.cycle(i, stuck); (ring == nil) != (i != 0 && i != many) {
				t.Errorf("%v: actor %d: %v", kind, i, ring)
			}
		}
		g.finish(0, stuck)
		if slices.Contains(stuck, true) {
			t.Errorf("%v: some are stuck when one has given up", kind)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%v: %v", kind, took)
		}
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

// A victim may come to know of its verdict when the arena has been closed.
func TestVerdictAfterClose(t *testing.T) {
	a, err := Open(testPath(t), &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	m := a.Mutex("m")
	mustLock(t, a.Session("binds"), m)
	m.Unlock()
	s := a.Session("victim").in
	err = s.wait(within(t), &m.handle, Exclusive, 1, func(ctx context.Context, w *sessionWait) error {
		w.convict(&DeadlockError{})
		mustBe(t, "close", a.Close(), nil)
		return ctx.Err()
	})
	mustBe(t, "wait", err, ErrDeadlock)
}

// One look finds all circles, so that the thousandth need not wait for as many.
func TestOneLookJudgesAllCircles(t *testing.T) {
	a := testArena(t, nil)
	const pairs = 20
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	suspects := make(map[uint32]*sessionWait)
	errs := make(chan error, 2*pairs)
	sessions := make([]*Session, 2*pairs)
	for i := range sessions {
		sessions[i] = a.OpenSession(SessionOptions{DeadlockAfter: time.Hour})
		mustLock(t, sessions[i], a.Mutex(fmt.Sprint(i)))
	}
	for i, s := range sessions {
		go func() { errs <- s.Lock(ctx, a.Mutex(fmt.Sprint(i^1))); s.Close() }()
	}
	for d := &a.core.detector; len(suspects) < 2*pairs && ctx.Err() == nil; time.Sleep(time.Millisecond) { // between two looks
		d.mu.Lock()
		for w := range d.waits {
			suspects[w.session.index] = w
		}
		d.mu.Unlock()
	}
	last := verdictWord(a.core.head.verdict.Load())
	a.core.detector.conclude(a.core.sight(), suspects, last)
	if left := len(suspects); left != pairs {
		t.Errorf("%d are judged, of %d circles", 2*pairs-left, pairs)
		cancel()
	}
	victims := 0
	for range sessions {
		if err := <-errs; errors.Is(err, ErrDeadlock) {
			victims++
		} else if err != nil {
			t.Error(err)
		}
	}
	if victims != pairs {
		t.Errorf("%d victims", victims)
	}
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
