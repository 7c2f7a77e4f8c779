package arena

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

func TestSemaphoreCrashPoints(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	kills.report(t)
	inSources := crashPointsInSources(t)
	for point := range ticketCrashPoints() {
		if !slices.Contains(inSources, point) {
			t.Errorf("no source has the point %s", point)
		}
	}
	binary := buildWithCrashPoints(t)
	for name, c := range ticketCrashes {
		t.Run(name, func(t *testing.T) {
			for _, point := range c.points {
				for _, time := range []int{1, 2} {
					if time > 1 && (testing.Short() || c.first != "" || c.work == nil) {
						continue
					}
					t.Run(fmt.Sprintf("%s:%d", point, time), func(t *testing.T) {
						c.run(t, name, binary, fmt.Sprintf("%s:%d", point, time))
					})
				}
			}
		})
	}
}

// ticketCrashPoints are the points that a semaphore has.
func ticketCrashPoints() map[string]bool {
	points := make(map[string]bool)
	for _, c := range ticketCrashes {
		for _, p := range c.points {
			points[p] = true
		}
	}
	return points
}

func (c ticketCrash) run(t *testing.T, name, binary, point string) {
	a := testArena(t, nil)
	s := a.Semaphore("crash", crashTickets)
	expectInUse(t, s, 0)
	if c.lone {
		// Nobody of this process may mend what the first leaves.
		path := a.Path()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		first := "busy"
		if name == "mend a cut creation" || name == "mend a cut destruction" {
			first = "make and destroy"
		}
		if c.first != "" {
			crashAt(t, binary, path, first, c.first)
		}
		crashAt(t, binary, path, name, point)
		a = reopen(path, nil)
		defer a.Close()
		s = a.Semaphore("crash", 0)
	} else {
		halt := startTicketRivals(t, s)
		defer halt()
		crashAt(t, binary, a.Path(), name, point)
		halt()
	}

	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	if err := s.ResizeWait(ctx, crashTickets); err != nil {
		t.Fatal(err)
	}
	all := acquire(t, s, crashTickets)
	expectInUse(t, s, crashTickets)
	release(t, all)
	expectInUse(t, s, 0)
	again, all := remade(t, a, "short-lived", 12)
	release(t, all)
	for _, last := range []*Semaphore{again, s} {
		if err := last.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}
	expectNoTickets(t, a.Path())
	a.core.settleDead()
	expectNoRequests(t, a.Path())
}

// startTicketRivals has two goroutines take tickets and give them back, until
// they are halted.
func startTicketRivals(t *testing.T, s *Semaphore) (halt func()) {
	stop := make(chan struct{})
	var rivals sync.WaitGroup
	for g := range 2 {
		rivals.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
				if held, err := s.Acquire(ctx, 2+(g+k)%3); err != nil {
					t.Error(err)
				} else {
					holdOn(s)
					held.Release()
				}
				cancel()
			}
		})
	}
	return sync.OnceFunc(func() {
		close(stop)
		rivals.Wait()
	})
}

// remade takes all tickets of a semaphore that the dead may have destroyed as
// good as done: whoever settles him ends that, sooner or later.
func remade(t *testing.T, a *Arena, name string, tickets int) (*Semaphore, Tickets) {
	t.Helper()
	for ctx := within(t); ; {
		s := a.Semaphore(name, tickets)
		all, err := s.Acquire(ctx, tickets)
		if err == nil {
			return s, all
		}
		if !errors.Is(err, ErrDestroyed) {
			t.Fatal(err)
		}
	}
}

// expectNoTickets fails the test if destroyed semaphores have left tickets.
func expectNoTickets(t *testing.T, path string) {
	t.Helper()
	var left []string
	until(t, "no tickets are left", func() bool { // somebody may just be looking after them
		s, err := ReadSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		was := left
		left = nil
		s.picture.records(s, func(i uint32, r seenRecord) {
			if r.kind == uint8(recordTickets) {
				left = append(left, fmt.Sprintf("record %d has tickets of slot %d", i, r.slot))
			}
		})
		for _, l := range s.Locks {
			if l.Kind == KindSemaphore && (l.Semaphore != nil || !l.Word.IsFree()) {
				left = append(left, fmt.Sprintf("%q is not idle: %v", l.Name, l.Word))
			}
		}
		if len(left) > 0 && !slices.Equal(left, was) {
			t.Logf("left: %q", left)
		}
		return len(left) == 0
	})
}

func crashAt(t *testing.T, binary, path, name, point string) {
	t.Helper()
	p := proc.StartCommand(t, exec.Command(binary, path, name), proc.Env("LOCKD_TEST_ROLE=ticket-crasher"), proc.Env("LOCKD_CRASH="+point))
	err := p.Wait()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		said := "nothing"
		if line, ok := <-p.Lines(); ok {
			said = line
		}
		t.Fatalf("the work of %q did not come to %s: %v; it said: %s", name, point, err, said)
	}
	kills.at(point)
}
