package arena

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

// What a second pair of eyes tried on the detector of deadlocks.

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
		if took := time.Since(began); took > proc.Soon {
			t.Errorf("%v: %v", kind, took)
		}
	}
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
	d := &a.core.detector
	until(t, "all wait", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		for w := range d.waits {
			suspects[w.session.index] = w
		}
		return len(suspects) == 2*pairs
	})
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
