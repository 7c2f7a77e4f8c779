package arena

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// deathArena makes an arena whose file outlives this process's opening of it.
func deathArena(t *testing.T) string {
	t.Helper()
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// An election by TryLock alone: nobody waits, so nothing but a failed try can
// notice that the leader is dead.
func TestPollingElection(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	terms := 10
	if testing.Short() {
		terms = 4
	}
	var candidates []*actor
	for i := range terms + 1 {
		candidates = append(candidates, startActor(t, path, "candidate"+strconv.Itoa(i)))
	}
	candidates[0].must("held", "try leader")
	candidates[1].Send("poll leader")
	candidates[1].Silent() // those who have just attached look for the dead, once
	for term := range terms {
		leader, next := candidates[term], candidates[term+1]
		if term > 0 {
			next.must("busy", "try leader")
			next.Send("poll leader")
		}
		leader.Kill()
		next.Expect(leader.died(term + 1))
	}
}

// exec keeps the pid and the pidfd, and forgets the locks.
func TestExecWhileHolding(t *testing.T) {
	for _, way := range []string{"lock", "poll"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			path := deathArena(t)
			owner := startActor(t, path, "owner")
			owner.must("held", "lock a")
			heir := startActor(t, path, "heir")
			heir.Send("%s a", way)
			heir.Silent()
			if got := owner.ask("exec"); got != "executed" {
				t.Fatal(got)
			}
			heir.Expect(owner.died(1))
			if state := procState(owner.PID()); state == "" || state == "Z" {
				t.Errorf("the owner, in state %q, should still run", state)
			}
		})
	}
}

func TestZombieOwner(t *testing.T) {
	for _, way := range []string{"lock", "poll"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			path := deathArena(t)
			owner, err := launch("actor", []string{path, "owner"})
			if err != nil {
				t.Fatal(err)
			}
			defer owner.end()
			if got := owner.ask("lock a"); got != "held" {
				t.Fatal(got)
			}
			heir := startActor(t, path, "heir")
			heir.Send("%s a", way)
			heir.Silent()
			owner.die()
			heir.Expect(heirOf(owner.pid(), "owner", Died, 1))
			if state := procState(owner.pid()); state != "Z" {
				t.Errorf("the owner is in state %q, not a zombie", state)
			}
		})
	}
}

// A process whose first thread has ended looks like a zombie and is alive.
func TestOwnerWithoutFirstThread(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	owner := startActor(t, path, "owner")
	owner.must("held", "lock a")
	owner.must("orphaned", "orphan")
	if state := procState(owner.PID()); state != "Z" {
		t.Fatalf("the owner is in state %q: the test shows nothing", state)
	}
	waiter, poller := startActor(t, path, "waiter"), startActor(t, path, "poller")
	waiter.Send("lock a")
	poller.Send("poll a")
	waiter.Silent()
	poller.Silent()
	owner.must("ok", "unlock a")
	first, second := eitherHolds(t, waiter, poller)
	first.must("ok", "unlock a")
	second.Expect("held")
	owner.must("held", "lock b")
	first.Send("lock b")
	first.Silent()
	owner.Kill()
	first.Expect(owner.died(1))
}

// eitherHolds waits until one of two says that it holds the lock, and returns
// that one first.
func eitherHolds(t *testing.T, a, b *actor) (first, second *actor) {
	t.Helper()
	select {
	case line := <-a.Lines():
		expectLine(t, line, "held")
		return a, b
	case line := <-b.Lines():
		expectLine(t, line, "held")
		return b, a
	case <-time.After(proc.Soon):
		t.Fatal("nobody got the lock")
	}
	return nil, nil
}

func expectLine(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("said %q, not %q", got, want)
	}
}

// stopped is how long an owner stands still and must keep what it holds.
func stopped() time.Duration {
	if testing.Short() {
		return 2 * time.Second
	}
	return 5 * time.Second
}

func TestStoppedOwnerKeepsItsLock(t *testing.T) {
	for _, features := range []string{"", "pidfd_open", "ofd_locks"} {
		t.Run("without="+features, func(t *testing.T) {
			t.Parallel()
			off := proc.Env("LOCKD_FEATURES_OFF=" + features)
			path := deathArena(t)
			owner := startActor(t, path, "owner", off)
			owner.must("held", "lock a")
			waiter, poller := startActor(t, path, "waiter", off), startActor(t, path, "poller", off)
			waiter.Send("lock a")
			poller.Send("poll a")
			owner.Signal(syscall.SIGSTOP)
			for end := time.Now().Add(stopped()); time.Now().Before(end); {
				waiter.Silent()
				poller.Silent()
				startActor(t, path, "settler", off).Kill() // attaching settles the dead
			}
			if state := procState(owner.PID()); state != "T" {
				t.Fatalf("the owner is in state %q, was not stopped", state)
			}
			owner.Signal(syscall.SIGCONT)
			owner.must("held", "lock b")
			owner.must("ok", "unlock a")
			select {
			case line := <-waiter.Lines():
				expectLine(t, line, "held")
			case line := <-poller.Lines():
				expectLine(t, line, "held")
			case <-time.After(proc.Soon):
				t.Fatal("nobody got the lock")
			}
		})
	}
}

func TestOwnerStoppedAndContinued(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	owner, waiter := startActor(t, path, "owner"), startActor(t, path, "waiter")
	for i := range 10 {
		owner.must("held", "lock a")
		waiter.Send("lock a")
		for range 20 {
			owner.Signal(syscall.SIGSTOP)
			owner.Signal(syscall.SIGCONT)
		}
		if i == 0 {
			waiter.Silent()
		}
		owner.must("ok", "unlock a")
		waiter.Expect("held")
		waiter.must("ok", "unlock a")
	}
}

func TestBadEndOfDo(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	a, err := Open(path, &Options{Label: "here", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	other := startActor(t, path, "other")
	ctx := context.Background()
	wrong := errors.New("wrong")
	panics := func(name string, f func(context.Context) error) (recovered any) {
		defer func() { recovered = recover() }()
		a.Mutex(name).Do(ctx, f)
		return nil
	}
	goexit := func(name string) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Mutex(name).Do(ctx, func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-done
	}

	for count, end := range []func(){
		func() {
			if got := panics("a", func(context.Context) error { panic(wrong) }); got != wrong {
				t.Errorf("recovered %v", got)
			}
		},
		func() {
			if got := panics("a", func(context.Context) error { panic(nil) }); got == nil {
				t.Error("panic(nil) was swallowed")
			}
		},
		func() { goexit("a") },
	} {
		end()
		other.must(heirOf(unix.Getpid(), "here", Panicked, count+1), "try a")
		other.must("ok", "mark a")
		other.must("ok", "unlock a")
		other.must("held", "try a")
		other.must("ok", "unlock a")
	}

	// An error is no bad end.
	if err := a.Mutex("a").Do(ctx, func(context.Context) error { return wrong }); err != wrong {
		t.Errorf("Do returned %v", err)
	}
	other.must("held", "try a")
	other.must("ok", "unlock a")

	// With somebody waiting here and elsewhere.
	inside := make(chan struct{})
	result := make(chan any)
	go func() {
		result <- panics("a", func(context.Context) error { close(inside); other.Send("lock a"); other.Silent(); panic(wrong) })
	}()
	<-inside
	other.Expect(heirOf(unix.Getpid(), "here", Panicked, 4))
	if got := <-result; got != wrong {
		t.Errorf("recovered %v", got)
	}
}

func TestNoticeStaysUntilMarked(t *testing.T) {
	t.Parallel()
	path := deathArena(t)
	victim, first, second := startActor(t, path, "victim"), startActor(t, path, "first"), startActor(t, path, "second")
	victim.must("held", "lock a")
	first.Send("lock a")
	first.Silent()
	victim.Kill()
	first.Expect(victim.died(1))
	for range 3 { // through any number of owners, however they take it
		first.must("ok", "unlock a")
		second.must(victim.died(1), "try a")
		second.must("ok", "unlock a")
		first.must(victim.died(1), "within 100000 a")
	}
	first.must("ok", "unlock a")
	second.must(victim.died(1), "lock a")
	if got := first.ask("mark a"); got == "ok" {
		t.Error("who does not hold the lock could mark it")
	}
	second.must("ok", "mark a")
	second.must("ok", "unlock a")
	first.must("held", "lock a")
	first.Kill()
	second.must(first.died(2), "lock a")
	second.Kill() // an heir that dies before it has repaired anything
	startActor(t, path, "third").must(second.died(3), "lock a")
}

func TestFenceGrows(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	open := func() *Arena {
		a, err := Open(path, &Options{MaxLocks: 1, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	other := startActor(t, path, "other", atMost(1))
	var last uint64
	grows := func(when string, fence uint64) {
		t.Helper()
		if fence <= last {
			t.Errorf("%s: fence %d after %d", when, fence, last)
		}
		last = fence
	}
	draw := func(when string) {
		t.Helper()
		m := a.Mutex("a")
		m.Lock()
		defer m.Unlock()
		for range 3 {
			fence, err := m.Fence()
			if err != nil {
				t.Fatal(err)
			}
			grows(when, fence)
		}
	}
	drawThere := func(when string) {
		t.Helper()
		other.must("held", "lock a")
		fence, err := strconv.ParseUint(other.ask("fence a"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		grows(when, fence)
		other.must("ok", "unlock a")
	}

	if _, err := a.Mutex("a").Fence(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("fence of a lock not held: %v", err)
	}
	draw("new")
	drawThere("other process")
	for round := range 3 {
		before := a.Mutex("a").binding()
		for i := range 2 * segmentSlots {
			m := a.Mutex("filler " + strconv.Itoa(round) + " " + strconv.Itoa(i))
			m.Lock()
			m.Unlock()
		}
		if !a.core.stale(before) {
			t.Fatal("the name was not evicted: the test shows nothing")
		}
		if round%2 == 0 {
			draw("evicted")
		}
		drawThere("evicted, other process")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = open()
	draw("reopened")
	other.must("ok", "close")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(path); err != nil {
		t.Fatal(err)
	}
	a = open()
	defer a.Close()
	draw("new file")
	if _, err := a.Mutex("a").Fence(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("fence of a lock not held any more: %v", err)
	}
}
