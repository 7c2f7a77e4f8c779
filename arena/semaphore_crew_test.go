package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
)

func init() {
	roles["ticket-crew"] = func(args []string) {
		a := reopen(args[0], nil)
		l, _, err := openTicketLedger(args[1])
		if err != nil {
			panic(err)
		}
		id, _ := strconv.ParseUint(args[2], 10, 64)
		l.pids[id].Store(uint64(os.Getpid()))
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			crewWork(a.Semaphore("crew", 0), l, id, stop)
		}()
		proc.Say("works")
		proc.Hear()
		close(stop)
		<-done
		if err := a.Close(); err != nil {
			proc.Say("close: %v", err)
		}
		proc.Say("done")
	}
}

// crewWork takes and gives back tickets in all the ways there are.
func crewWork(s *Semaphore, l *ticketLedger, id uint64, stop chan struct{}) {
	r := rand.New(rand.NewPCG(id, 1))
	for {
		select {
		case <-stop:
			return
		default:
		}
		var t Tickets
		switch n := 1 + r.IntN(3); r.IntN(6) {
		case 0:
			t, _ = s.TryAcquire(n)
		case 1:
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(500))*time.Microsecond)
			t, _ = s.Acquire(ctx, n)
			cancel()
		default:
			ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
			var err error
			if t, err = s.Acquire(ctx, n); err != nil {
				l.violations.Add(1 << 32)
			}
			cancel()
		}
		if t.Count() == 0 {
			continue
		}
		numbers := t.Numbers()
		l.got(id, numbers)
		for range r.IntN(2000) {
			numbers[0] += 0
		}
		if len(numbers) > 1 && r.IntN(2) == 0 {
			l.gives(id, numbers[1:2])
			if t.ReleaseSome(numbers[1]) != nil {
				l.violations.Add(1)
			}
			numbers = append(numbers[:1:1], numbers[2:]...)
		}
		l.gives(id, numbers)
		if t.Release() != nil {
			l.violations.Add(1)
		}
	}
}

// crew is a number of processes that work on one semaphore.
type crew struct {
	t      *testing.T
	path   string
	ledger string
	l      *ticketLedger
	next   int
	crowd  []*proc.Proc
}

func newCrew(t *testing.T, a *Arena, size int) *crew {
	ledger := filepath.Join(t.TempDir(), "ledger")
	l, unmap, err := openTicketLedger(ledger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unmap)
	c := &crew{t: t, path: a.Path(), ledger: ledger, l: l, next: 1}
	for range size {
		c.crowd = append(c.crowd, c.start())
	}
	for _, p := range c.crowd {
		p.Expect("works")
	}
	return c
}

func (c *crew) start() *proc.Proc {
	c.next++
	return proc.Start(c.t, "ticket-crew", []string{c.path, c.ledger, strconv.Itoa(c.next)})
}

// all takes every ticket, which shows that none is lost, and none there twice.
func (c *crew) all(s *Semaphore, tickets int) {
	c.t.Helper()
	t := acquire(c.t, s, tickets)
	numbers := t.Numbers()
	for i, n := range numbers {
		if i != n {
			c.t.Fatalf("all %d tickets are %v", tickets, numbers)
		}
	}
	c.l.pids[1].Store(uint64(os.Getpid()))
	c.l.got(1, numbers)
	expectInUse(c.t, s, tickets)
	c.l.gives(1, numbers)
	release(c.t, t)
	problems, err := Check(c.path) // while the others go on
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range problems {
		if p.Severity == Damage {
			c.t.Error(p)
		}
	}
}

func (c *crew) finish(s *Semaphore, tickets int) {
	c.t.Helper()
	for _, p := range c.crowd {
		p.Send("stop")
	}
	for _, p := range c.crowd {
		p.Expect("done")
		p.Wait()
	}
	c.all(s, tickets)
	expectInUse(c.t, s, 0)
	if v := c.l.violations.Load(); v != 0 {
		c.t.Errorf("%d violations, %d requests that were never served", v&(1<<32-1), v>>32)
	}
	c.t.Logf("%d tickets were taken", c.l.acquired.Load())
	s.arena.core.settleDead() // whoever noticed the last death may have ended since
	expectNoRequests(c.t, c.path)
}

// expectNoRequests fails the test if, once the dead are settled, any record
// but those of tickets is in use.
func expectNoRequests(t testing.TB, path string) {
	t.Helper()
	var kinds map[uint8]int
	for until := time.Now().Add(proc.Soon); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		s, err := ReadSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		kinds = make(map[uint8]int)
		s.picture.records(s, func(_ uint32, r seenRecord) { kinds[r.kind]++ })
		delete(kinds, uint8(recordTickets))
		if len(kinds) == 0 {
			return
		}
	}
	t.Errorf("records in use, by kind: %v", kinds)
}

// Processes that take, try, give up and give back, while one after the other
// is killed: no ticket is ever with two, and none is lost.
func TestSemaphoreCrew(t *testing.T) {
	for _, size := range []struct{ processes, tickets, kills int }{{2, 3, 300}, {8, 5, 600}, {50, 7, 100}} {
		t.Run(fmt.Sprintf("%d processes", size.processes), func(t *testing.T) {
			if testing.Short() {
				size.kills = 20
			}
			a := testArena(t, nil)
			s := a.Semaphore("crew", size.tickets)
			expectInUse(t, s, 0)
			c := newCrew(t, a, size.processes)
			heir := c.start()
			for k := range size.kills {
				i := rand.IntN(len(c.crowd))
				stopped := c.crowd[(i+1)%len(c.crowd)] // and is not taken for dead
				stopped.Signal(syscall.SIGSTOP)
				c.crowd[i].Kill()
				heir.Expect("works")
				c.crowd[i], heir = heir, c.start()
				stopped.Signal(syscall.SIGCONT)
				if k%10 == 0 {
					c.all(s, size.tickets)
				}
			}
			heir.Expect("works")
			c.crowd = append(c.crowd, heir)
			c.finish(s, size.tickets)
		})
	}
}

// The semaphore is resized all the time while processes that hold tickets are
// killed: at the end there are as many tickets as it was last told.
func TestSemaphoreResizedWhileHeldAndKilled(t *testing.T) {
	kills := 1000
	if testing.Short() {
		kills = 20
	}
	a := testArena(t, nil)
	s := a.Semaphore("crew", 9)
	expectInUse(t, s, 0)
	c := newCrew(t, a, 6)
	stop, resized := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(resized)
		other := a.Semaphore("crew", 0)
		for k := 0; ; k++ {
			select {
			case <-stop:
				return
			default:
			}
			if k%2 == 0 {
				if err := other.Resize(3 + k%7); err != nil {
					t.Error(err)
				}
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
			if err := other.ResizeWait(ctx, 3+k%5); err != nil {
				t.Error(err)
			}
			// Who has swapped a ticket that is none any more is about to undo it.
			n, err := other.InUse()
			for late := time.Now().Add(proc.Soon); err == nil && n > 3+k%5 && time.Now().Before(late); n, err = other.InUse() {
			}
			if err != nil || n > 3+k%5 {
				t.Errorf("%d in use after shrinking to %d (%v)", n, 3+k%5, err)
			}
			cancel()
		}
	}()
	heir := c.start()
	for range kills {
		i := rand.IntN(len(c.crowd))
		c.crowd[i].Kill()
		heir.Expect("works")
		c.crowd[i], heir = heir, c.start()
	}
	heir.Expect("works")
	c.crowd = append(c.crowd, heir)
	close(stop)
	<-resized
	if err := s.Resize(8); err != nil {
		t.Error(err)
	}
	c.all(s, 8)
	c.finish(s, 8)
}
