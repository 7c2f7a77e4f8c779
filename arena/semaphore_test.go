package arena

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

func acquire(t testing.TB, s *Semaphore, n int) *Tickets {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	got, err := s.Acquire(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func release(t testing.TB, held ...*Tickets) {
	t.Helper()
	for _, h := range held {
		if err := h.Release(); err != nil {
			t.Error(err)
		}
	}
}

func expectInUse(t testing.TB, s *Semaphore, want int) {
	t.Helper()
	if got, err := s.InUse(); err != nil || got != want {
		t.Errorf("%d in use (%v), want %d", got, err, want)
	}
}

// Which tickets: the lowest that are free; some or all of them come back.
func TestSemaphoreTickets(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gpu", 4)
	two := acquire(t, s, 2)
	if got := two.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("tickets %v", got)
	}
	one := acquire(t, s, 1)
	if got := one.Numbers(); !slices.Equal(got, []int{2}) || one.Count() != 1 {
		t.Errorf("tickets %v", got)
	}
	expectInUse(t, s, 3)
	if _, ok := s.TryAcquire(2); ok {
		t.Error("two of one were acquired")
	}
	if err := two.ReleaseSome(1, 0, 2); !errors.Is(err, ErrNotHeld) {
		t.Errorf("released what another holds: %v", err)
	}
	if err := two.ReleaseSome(1, 1); !errors.Is(err, ErrTickets) {
		t.Errorf("released one twice: %v", err)
	}
	if got := two.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("a failed release released: %v", got)
	}
	if err := two.ReleaseSome(0); err != nil {
		t.Error(err)
	}
	if got, ok := s.TryAcquire(2); !ok || !slices.Equal(got.Numbers(), []int{0, 3}) {
		t.Errorf("got %v, %v", got, ok)
	} else {
		release(t, got)
	}
	release(t, two, one)
	for _, gone := range []*Tickets{two, one} {
		if err := gone.Release(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("released again: %v", err)
		}
	}
	expectInUse(t, s, 0)
	if n, err := s.Tickets(); n != 4 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
}

func TestSemaphoreWaits(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gpu", 2)
	held := acquire(t, s, 1)
	var large, small *Tickets
	waitLarge := proc.MustBlock(t, "Acquire(2)", func() { large = acquire(t, s, 2) })
	waitSmall := proc.MustBlock(t, "Acquire(1) behind a large request", func() { small = acquire(t, s, 1) })
	if _, ok := s.TryAcquire(1); ok {
		t.Error("a try overtook who waits")
	}
	release(t, held)
	waitLarge()
	if got := large.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("tickets %v", got)
	}
	release(t, large)
	waitSmall()
	release(t, small)
	expectInUse(t, s, 0)
}

// A large request is not starved by small ones that would fit.
func TestSemaphoreLargeRequestIsServed(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("fifo", 4)
	expectInUse(t, s, 0)
	stop := make(chan struct{})
	var small sync.WaitGroup
	for range 6 {
		small.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					release(t, acquire(t, s, 1))
				}
			}
		})
	}
	for range 200 {
		release(t, acquire(t, s, 4))
	}
	close(stop)
	small.Wait()
	expectInUse(t, s, 0)
}

// Requests are served in the order in which they came, across processes.
func TestSemaphoreOrder(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("queue", 3)
	held := acquire(t, s, 3)
	var crowd []*proc.Proc
	for i := range 6 {
		p := startTicketWaiter(t, a, []int{3, 1, 2}[i%3])
		p.Expect("ready")
		p.Send("acquire")
		untilQueued(t, s, i+1)
		crowd = append(crowd, p)
	}
	release(t, held)
	for i := 0; i < 6; i += 3 {
		crowd[i].Expect("got [0 1 2]")
		crowd[i+1].Silent()
		crowd[i].Send("release")
		crowd[i].Expect("released")
		crowd[i+1].Expect("got [0]")
		crowd[i+2].Expect("got [1 2]")
		for _, p := range crowd[i+1 : i+3] {
			p.Send("release")
			p.Expect("released")
		}
	}
	expectInUse(t, s, 0)
}

// A request that is given up just when it is granted leaves no ticket behind,
// and who waited behind it goes on.
func TestSemaphoreCancellationRaces(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("cancel", 3)
	expectInUse(t, s, 0)
	rounds, given, failed := 3000, 0, 0
	if testing.Short() {
		rounds = 300
	}
	for k := range rounds {
		held := acquire(t, s, 3)
		ctx, cancel := context.WithCancel(context.Background())
		var waiting sync.WaitGroup
		waiting.Go(func() {
			switch got, err := s.Acquire(ctx, 3); {
			case err == nil:
				given++
				release(t, got)
			case errors.Is(err, context.Canceled):
				failed++
			default:
				t.Error(err)
			}
		})
		untilQueued(t, s, 1)
		var behind sync.WaitGroup
		behind.Go(func() { release(t, acquire(t, s, 2)) })
		go func() {
			for range k % 40 {
				runtime.Gosched()
			}
			cancel()
		}()
		for range 20 {
			runtime.Gosched()
		}
		release(t, held)
		waiting.Wait()
		behind.Wait()
	}
	if given == 0 || failed == 0 {
		t.Errorf("%d given, %d given up: there was no race", given, failed)
	}
	t.Logf("%d given, %d given up", given, failed)
	expectInUse(t, s, 0)
	expectNoRequests(t, a.Path())
}

// Who gives up a large request lets those pass that it held up, at once.
func TestSemaphoreGivenUpRequestHoldsUpNobody(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("cancel", 3)
	held := acquire(t, s, 1)
	ctx, cancel := context.WithCancel(context.Background())
	waitLarge := proc.MustBlock(t, "Acquire(3)", func() {
		if _, err := s.Acquire(ctx, 3); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	waitSmall := proc.MustBlock(t, "Acquire(2)", func() { release(t, acquire(t, s, 2)) })
	cancel()
	waitLarge()
	waitSmall()
	release(t, held)
}

func TestSemaphoreTimeout(t *testing.T) {
	a := testArena(t, &Options{Patience: Patience{Timeout: 50 * time.Millisecond}, Label: "me"})
	s := a.Semaphore("slow", 1)
	held := acquire(t, s, 1)
	began := time.Now()
	_, err := s.Acquire(context.Background(), 1)
	var timeout *TimeoutError
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) {
		t.Fatal(err)
	}
	if timeout.Lock != "slow" || timeout.HolderPID != os.Getpid() || timeout.HolderLabel != "me" {
		t.Errorf("%+v", timeout)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	release(t, held)
}

// Whoever waits for a latch is stopped with its holder; whoever gives back is not.
func TestSemaphoreReleaseNeedsNoLatch(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("stopped", 2)
	held := acquire(t, s, 2)
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 1)) })
	if err := s.handle.acquire(request{ctx: context.Background(), arena: a}); err != nil {
		t.Fatal(err)
	}
	release(t, held) // returns, though somebody is in the latch
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Acquire(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for the latch: %v", err)
	}
	if _, ok := s.TryAcquire(1); ok {
		t.Error("a try overtook who waits")
	}
	if err := s.handle.release(0); err != nil {
		t.Fatal(err)
	}
	wait()
	expectInUse(t, s, 0)
}

// A newcomer who looked before somebody began to wait, or before the size or
// the semaphore was taken away, and swaps only then, puts the ticket back.
func TestSemaphoreLateNewcomer(t *testing.T) {
	for what, before := range map[string]func(t *testing.T, s *Semaphore) (after func()){
		"somebody waits": func(t *testing.T, s *Semaphore) func() {
			return proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 3)) })
		},
		"it was made smaller": func(t *testing.T, s *Semaphore) func() {
			if err := s.Resize(1); err != nil {
				t.Fatal(err)
			}
			return func() {}
		},
		"it is destroyed": func(t *testing.T, s *Semaphore) func() {
			return proc.MustBlock(t, "Destroy", func() {
				if err := s.Destroy(context.Background()); err != nil {
					t.Error(err)
				}
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := testArena(t, nil).Semaphore("late", 3)
			held := acquire(t, s, 1)
			h := s.hall.Load()
			saw := ticketState(h.state.Load())
			after := before(t, s)
			p := h.places[2]
			if !p.word.CompareAndSwap(h.free, h.self) {
				t.Fatal("ticket 2 is not free")
			}
			if got := h.keep(p, saw); got != nil {
				t.Errorf("kept ticket %v", got.Numbers())
			}
			expectInUse(t, s, 1)
			release(t, held)
			after()
		})
	}
}

// A panic inside the latch leaves a semaphore that works.
func TestSemaphorePanicInTheLatch(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("panic", 2)
	held := acquire(t, s, 1)
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 2)) })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		s.latched(context.Background(), func(d *desk) {
			d.queueHead().Store(0) // half-done
			panic("inside")
		})
	}()
	release(t, held)
	wait()
	expectInUse(t, s, 0)
}

func TestSemaphoreBadInput(t *testing.T) {
	ctx := context.Background()
	a := testArena(t, nil)
	s := a.Semaphore("four", 4)
	expectInUse(t, s, 0)
	a.Mutex("mutex").Lock()
	defer a.Mutex("mutex").Unlock()
	acquiring := func(s *Semaphore, n int) func() error {
		return func() error {
			_, err := s.Acquire(ctx, n)
			return err
		}
	}
	for _, tc := range []struct {
		what string
		do   func() error
		want error
	}{
		{"acquire none", acquiring(s, 0), ErrTickets},
		{"acquire fewer than none", acquiring(s, -1), ErrTickets},
		{"acquire more than there can be", acquiring(s, MaxTickets+1), ErrTickets},
		{"acquire more than there are", acquiring(s, 5), ErrTooMany},
		{"patiently none", func() error { _, err := s.AcquirePatiently(ctx, 0); return err }, ErrTickets},
		{"resize to none", func() error { return s.Resize(0) }, ErrTickets},
		{"resize to fewer than none", func() error { return s.Resize(-3) }, ErrTickets},
		{"resize to too many", func() error { return s.ResizeWait(ctx, MaxTickets+1) }, ErrTickets},
		{"made with fewer than none", acquiring(a.Semaphore("new", -1), 1), ErrTickets},
		{"made with too many", acquiring(a.Semaphore("new", MaxTickets+1), 1), ErrTickets},
		{"not made", acquiring(a.Semaphore("new", 0), 1), ErrNoSemaphore},
		{"nothing to destroy", func() error { return a.Semaphore("new", 3).Destroy(ctx) }, ErrNoSemaphore},
		{"another size", acquiring(a.Semaphore("four", 5), 1), ErrSize},
		{"resize with another size", func() error { return a.Semaphore("four", 5).Resize(9) }, ErrSize},
		{"no name", acquiring(a.Semaphore("", 5), 1), ErrName},
		{"a mutex", acquiring(a.Semaphore("mutex", 5), 1), ErrKind},
		{"a mutex, any size", acquiring(a.Semaphore("mutex", 0), 1), ErrKind},
		{"as a mutex", func() error { return a.Mutex("four").LockContext(ctx) }, ErrKind},
	} {
		if err := tc.do(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, err, tc.want)
		}
	}
	if got, ok := s.TryAcquire(0); ok || got != nil {
		t.Errorf("tried for none: %v, %v", got, ok)
	}
	expectInUse(t, s, 0)
	if n, err := a.Semaphore("four", 0).Tickets(); n != 4 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
	release(t, acquire(t, s, 4))
}

// Resizing: larger at once, smaller as tickets come back.
func TestSemaphoreResize(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("size", 2)
	held := acquire(t, s, 2)
	var more *Tickets
	wait := proc.MustBlock(t, "Acquire", func() { more = acquire(t, s, 2) })
	waitPatient := proc.MustBlock(t, "AcquirePatiently", func() {
		got, err := s.AcquirePatiently(context.Background(), 9)
		if err != nil {
			t.Error(err)
			return
		}
		release(t, got)
	})
	if err := s.Resize(4); err != nil {
		t.Fatal(err)
	}
	wait()
	if got := more.Numbers(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("got %v", got)
	}
	waitShrunk := proc.MustBlock(t, "ResizeWait", func() {
		if err := s.ResizeWait(context.Background(), 1); err != nil {
			t.Error(err)
		}
	})
	expectInUse(t, s, 4)
	release(t, more)
	if err := held.ReleaseSome(0); err != nil {
		t.Error(err)
	}
	one, ok := s.TryAcquire(1)
	if !ok || one.Numbers()[0] != 0 {
		t.Errorf("ticket 0 is not given out: %v", one)
	}
	if two, ok := s.TryAcquire(1); ok {
		t.Errorf("ticket %v is given out, of 1", two.Numbers())
	}
	release(t, held)
	waitShrunk()
	release(t, one)
	if err := s.Resize(9); err != nil {
		t.Fatal(err)
	}
	waitPatient()
	expectInUse(t, s, 0)

	// A request that has become too large fails, and holds up nobody.
	held = acquire(t, s, 5)
	waitLarge := proc.MustBlock(t, "Acquire", func() {
		if _, err := s.Acquire(context.Background(), 8); !errors.Is(err, ErrTooMany) {
			t.Errorf("8 of 7: %v", err)
		}
	})
	if err := s.Resize(7); err != nil {
		t.Fatal(err)
	}
	waitLarge()
	release(t, acquire(t, s, 2), held)

	// Growing again ends the wait for a smaller size.
	held = acquire(t, s, 7)
	waitShrunk = proc.MustBlock(t, "ResizeWait", func() {
		if err := s.ResizeWait(context.Background(), 3); !errors.Is(err, ErrSize) {
			t.Error(err)
		}
	})
	if err := s.Resize(8); err != nil {
		t.Error(err)
	}
	waitShrunk()
	release(t, held)

	// A context that ends leaves the new size.
	held = acquire(t, s, 8)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.ResizeWait(ctx, 6); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
	release(t, held)
	if n, err := s.Tickets(); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	expectNoRequests(t, a.Path())
}

// A large semaphore takes records from as many segments as it needs, and all
// its tickets are there once.
func TestSemaphoreLarge(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("large", 1)
	expectInUse(t, s, 0)
	if err := s.Resize(10_000); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	var held []*Tickets
	for range 5000 {
		h := acquire(t, s, 1)
		seen[h.Numbers()[0]] = true
		held = append(held, h)
	}
	h := acquire(t, s, 5000)
	for _, n := range h.Numbers() {
		seen[n] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d different tickets", len(seen))
	}
	if _, ok := s.TryAcquire(1); ok {
		t.Error("one more")
	}
	expectInUse(t, s, 10_000)
	release(t, append(held, h)...)
	if err := s.Destroy(context.Background()); err != nil {
		t.Fatal(err)
	}
	expectNoRequests(t, a.Path())
	expectNoTickets(t, a.Path())
}

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

// However many goroutines wait for tickets, one thread of the process does.
func TestSemaphoreWaitersAreNotThreads(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("crowd", 1)
	held := acquire(t, s, 1)
	before := pprof.Lookup("threadcreate").Count()
	const crowd = 2000
	var waiting sync.WaitGroup
	for range crowd {
		waiting.Go(func() { release(t, acquire(t, s, 1)) })
	}
	untilQueued(t, s, crowd)
	if n := pprof.Lookup("threadcreate").Count() - before; n > 32 {
		t.Errorf("%d goroutines wait with %d threads", crowd, n)
	}
	release(t, held)
	waiting.Wait()
	expectNoRequests(t, a.Path())
}

func TestSemaphoreSnapshot(t *testing.T) {
	a := testArena(t, &Options{Label: "me"})
	s := a.Semaphore("queue", 4)
	mine := acquire(t, s, 1)
	p, q := startTicketWaiter(t, a, 2), startTicketWaiter(t, a, 3)
	for i, w := range []*proc.Proc{p, q} {
		w.Expect("ready")
		w.Send("acquire")
		if i == 0 {
			w.Expect("got [1 2]")
		}
	}
	untilQueued(t, s, 1)
	snapshot, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	l := snapshot.Locks[0]
	if l.Semaphore == nil || l.Kind != KindSemaphore || l.Name != "queue" || l.Waiters != 1 {
		t.Fatalf("%+v", l)
	}
	st := l.Semaphore
	if st.Tickets != 4 || st.InUse != 3 || st.Ending || len(st.Holders) != 2 || len(st.Queue) != 1 {
		t.Fatalf("%+v", st)
	}
	if h := st.Holders[0]; int(h.PID) != os.Getpid() || h.Label != "me" || !slices.Equal(h.Numbers, []int{0}) {
		t.Errorf("%+v", h)
	}
	if h := st.Holders[1]; int(h.PID) != p.PID() || !slices.Equal(h.Numbers, []int{1, 2}) {
		t.Errorf("%+v", h)
	}
	if w := st.Queue[0]; int(w.PID) != q.PID() || w.For != ForTickets || w.Tickets != 3 || w.Since.IsZero() {
		t.Errorf("%+v", w)
	}
	release(t, mine)
	p.Send("release")
	p.Expect("released")
	q.Expect("got [0 1 2]")
	if all, err := a.Semaphores(); err != nil || !slices.Equal(all, []SemaphoreInfo{{"queue", 4, 3}}) {
		t.Errorf("%v, %v", all, err)
	}
}
