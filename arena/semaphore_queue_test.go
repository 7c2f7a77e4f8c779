package arena

import (
	"context"
	"errors"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

func TestSemaphoreWaits(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gpu", 2)
	held := acquire(t, s, 1)
	var large, small Tickets
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
	for k, late := 0, time.Now().Add(proc.Soon); k < rounds || (given == 0 || failed == 0) && time.Now().Before(late); k++ {
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
	if n := pprof.Lookup("threadcreate").Count() - before; n > crowd/8 {
		t.Errorf("%d goroutines wait with %d threads", crowd, n)
	}
	release(t, held)
	waiting.Wait()
	expectNoRequests(t, a.Path())
}
