package arena

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

func init() {
	roles["ticket-waiter"] = func(args []string) {
		a := reopen(args[0], nil)
		name := "queue"
		if len(args) > 2 {
			name = args[2]
		}
		s := a.Semaphore(name, 0)
		n, _ := strconv.Atoi(args[1])
		s.Tickets()
		proc.Say("ready")
		for proc.Hear() == "acquire" {
			t, err := s.Acquire(context.Background(), n)
			if err != nil {
				proc.Say("acquire: %v", err)
				continue
			}
			proc.Say("got %v", t.Numbers())
			proc.Hear()
			if err := t.Release(); err != nil {
				proc.Say("release: %v", err)
			}
			proc.Say("released")
		}
	}
}

func startTicketWaiter(t testing.TB, a *Arena, n int) *proc.Proc {
	return proc.Start(t, "ticket-waiter", []string{a.Path(), strconv.Itoa(n)})
}

// untilQueued waits until so many requests are in the queue.
func untilQueued(t testing.TB, s *Semaphore, want int) {
	t.Helper()
	until(t, fmt.Sprintf("%d requests are in the queue", want), func() bool { return queuedFor(s) == want })
}

func queuedFor(s *Semaphore) (n int) {
	b := s.binding()
	s.arena.core.peekQueue(b.index, b.slot, func(_ *requestRecord, owner uint64) {
		if kindOfRecord(owner) == recordWanted {
			n++
		}
	})
	return n
}

// Of processes that wait in a queue one is killed, each round at the next
// place, before or after the tickets come back: the others are served in order.
func TestSemaphoreKilledWaiters(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 40
	}
	a := testArena(t, nil)
	s := a.Semaphore("queue", 2)
	const places = 4
	var queue [places]*proc.Proc
	for i := range queue {
		queue[i] = startTicketWaiter(t, a, 2)
		queue[i].Expect("ready")
	}
	heir := startTicketWaiter(t, a, 2)
	for round := range rounds {
		held := acquire(t, s, 2)
		for i, p := range queue {
			p.Send("acquire")
			untilQueued(t, s, i+1)
		}
		victim := round % places
		if round/places%2 == 0 {
			queue[victim].Signal(syscall.SIGKILL)
			release(t, held)
		} else {
			release(t, held)
			queue[victim].Signal(syscall.SIGKILL)
		}
		for i, p := range queue {
			if i == victim {
				continue
			}
			p.Expect("got [0 1]")
			p.Send("release")
			p.Expect("released")
		}
		queue[victim].Kill()
		heir.Expect("ready")
		queue[victim], heir = heir, startTicketWaiter(t, a, 2)
	}
	release(t, acquire(t, s, 2))
	a.core.settleDead()
	expectNoRequests(t, a.Path())
}

// A process is killed that holds some of the tickets, while others hold some
// and wait for some: what it held comes back, once.
func TestSemaphoreKilledHolders(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 40
	}
	a := testArena(t, nil)
	s := a.Semaphore("queue", 7)
	expectInUse(t, s, 0)
	heir := startTicketWaiter(t, a, 1)
	for k := range rounds {
		n := 1 + k%5
		mine := acquire(t, s, 2)
		p := heir
		heir = startTicketWaiter(t, a, 1+(k+1)%5)
		p.Expect("ready")
		p.Send("acquire")
		p.Next()
		expectInUse(t, s, 2+n)
		var rest Tickets
		var waiting sync.WaitGroup
		waiting.Go(func() { rest = acquire(t, s, 5) })
		untilQueued(t, s, 1)
		p.Kill()
		waiting.Wait()
		if got := rest.Numbers(); !slices.Equal(got, []int{2, 3, 4, 5, 6}) {
			t.Fatalf("got %v", got)
		}
		expectInUse(t, s, 7)
		release(t, mine, rest)
	}
	heir.Expect("ready")
	heir.Kill()
	a.core.settleDead()
	expectInUse(t, s, 0)
	expectNoRequests(t, a.Path())
}

// A process is killed while it is granting to others.
func TestSemaphoreKilledGranters(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	rounds := 500 // in each of two arenas
	if testing.Short() {
		rounds = 20
	}
	crashPointsInSources(t)
	binary := buildWithCrashPoints(t)
	points := []string{"grant.given", "grant.unlinked", "grant.granted", "grant.rung", "semaphore.latched", "semaphore.unlatched"}
	for k := range 2 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			a := testArena(t, nil)
			s := a.Semaphore("crash", crashTickets)
			expectInUse(t, s, 0)
			var holds [crashTickets]sync.Mutex
			stop := make(chan struct{})
			var rivals sync.WaitGroup
			for g := range 3 {
				rivals.Go(func() {
					for k := 0; ; k++ {
						select {
						case <-stop:
							return
						default:
						}
						held := acquire(t, s, 1+(g+k)%4)
						for _, n := range held.Numbers() {
							if !holds[n].TryLock() {
								t.Errorf("ticket %d is held twice", n)
							}
						}
						holdOn(s)
						for _, n := range held.Numbers() {
							holds[n].Unlock()
						}
						release(t, held)
					}
				})
			}
			for round := range rounds {
				point := fmt.Sprintf("%s:%d", points[(round+k)%len(points)], 1+round%7)
				p := proc.StartCommand(t, exec.Command(binary, a.Path()), proc.Env("LOCKD_TEST_ROLE=ticket-granter"), proc.Env("LOCKD_CRASH="+point))
				if p.Wait() == nil {
					t.Fatalf("not killed at %s", point)
				}
			}
			close(stop)
			rivals.Wait()
			all := acquire(t, s, crashTickets)
			expectInUse(t, s, crashTickets)
			release(t, all)
			a.core.settleDead()
			expectNoRequests(t, a.Path())
		})
	}
}

func init() {
	roles["ticket-granter"] = func(args []string) {
		s := reopen(args[0], nil).Semaphore("crash", 0)
		for k := 0; ; k++ { // until it is killed
			t, err := s.Acquire(context.Background(), 1+k%4)
			if err != nil {
				proc.Say("acquire: %v", err)
				return
			}
			holdOn(s)
			t.Release()
		}
	}
}
