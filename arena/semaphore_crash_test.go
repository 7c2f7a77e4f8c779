package arena

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// A ticketCrash is a piece of work, and the points of the sources at which a
// process that does it is killed, the first and a later time that it comes
// there.
type ticketCrash struct {
	work   func(a *Arena)
	lone   bool   // nobody else is there when the process is killed
	first  string // before it, another is killed here, in the work of "busy"
	points []string
}

var ticketCrashes = map[string]ticketCrash{
	"busy": {work: busyWork, points: []string{
		"semaphore.latched", "semaphore.unlatch", "semaphore.unlatched",
		"semaphore.claimed", "semaphore.dropped", "enqueue.flagged", "enqueue.wanted", "enqueue.linked",
		"grant.given", "grant.unlinked", "grant.granted", "grant.rung", "request.sleep", "request.woken",
		"request.withdrawn", "request.granted", "request.collected", "resize.extended", "resize.resized",
		"extend.made", "extend.linked",
	}},
	"calm": {work: calmWork, lone: true, points: []string{
		"semaphore.swapped", "semaphore.taken", "semaphore.latched", "semaphore.unlatch", "semaphore.unlatched", "extend.linked",
	}},
	"make and destroy": {work: makeAndDestroy, points: []string{
		"create.linked", "create.made", "extend.made", "extend.linked", "end.closed", "end.ended", "end.freed",
		"enqueue.flagged", "enqueue.wanted", "enqueue.linked", "grant.granted", "grant.unlinked",
	}},
	"mend a cut enqueueing": {work: busyWork, lone: true, first: "enqueue.wanted:3", points: []string{
		"mend.words", "mend.emptied", "semaphore.mended", "semaphore.latched",
	}},
	"mend a cut grant": {work: busyWork, lone: true, first: "grant.given:3", points: []string{
		"mend.words", "mend.emptied", "semaphore.mended",
	}},
	"mend a cut creation": {work: makeAndDestroy, lone: true, first: "create.linked", points: []string{
		"mend.freed", "semaphore.mended",
	}},
	"mend a cut destruction": {work: makeAndDestroy, lone: true, first: "end.ended", points: []string{
		"mend.freed", "semaphore.mended",
	}},
	"reap": {work: busyWork, lone: true, first: "semaphore.taken:8", points: []string{"reap.ticket"}},
	"settle": {work: settleWork, lone: true, first: "semaphore.taken:8", points: []string{
		"settle.ticket", "settle.tickets",
	}},
}

// rarely are points that need two processes to meet within nanoseconds; the
// work of crews comes past them.
var rarely = map[string]bool{"semaphore.undone": true, "semaphore.look": true, "grant.takenback": true, "mend.inserted": true, "reap.request": true}

const crashTickets = 5

// busyWork does with the semaphore all that can be done to one.
func busyWork(a *Arena) {
	var local sync.WaitGroup
	defer local.Wait()
	s := a.Semaphore("crash", 0)
	for g := range 3 {
		local.Go(func() {
			for k := range 60 {
				ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
				if g == 2 && k%2 == 0 {
					cancel()
					ctx, cancel = context.WithTimeout(context.Background(), 300*time.Microsecond)
				}
				if t, err := s.Acquire(ctx, 1+(g+k)%4); err == nil {
					time.Sleep(100 * time.Microsecond)
					t.Release()
				}
				cancel()
			}
		})
	}
	for k := range 20 {
		s.Resize(crashTickets + 7*(k%9))
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s.ResizeWait(ctx, crashTickets)
		cancel()
	}
}

// calmWork never has to wait.
func calmWork(a *Arena) {
	s := a.Semaphore("crash", 0)
	for n := range 9 {
		for range 3 {
			if t, ok := s.TryAcquire(1 + n%3); ok {
				t.Release()
			}
		}
		s.Resize(crashTickets + 7*n)
	}
}

func makeAndDestroy(a *Arena) {
	for range 20 {
		s := a.Semaphore("short-lived", 12)
		t, err := s.Acquire(context.Background(), 3)
		if err != nil {
			continue
		}
		var destroying sync.WaitGroup
		destroying.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
			defer cancel()
			s.Destroy(ctx)
		})
		for {
			if other, ok := s.TryAcquire(1); ok {
				other.Release()
				continue
			}
			break
		}
		t.Release()
		destroying.Wait()
	}
}

// settleWork waits until somebody else's death is settled.
func settleWork(a *Arena) {
	a.core.settleDead()
}

func init() {
	roles["ticket-crasher"] = func(args []string) {
		a := reopen(args[0], nil)
		ticketCrashes[args[1]].work(a)
		proc.Say("the work is done")
	}
}

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
					if time > 1 && (testing.Short() || c.first != "") {
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
	points := maps.Clone(rarely)
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
						time.Sleep(50 * time.Microsecond)
						held.Release()
					}
					cancel()
				}
			})
		}
		halt := sync.OnceFunc(func() {
			close(stop)
			rivals.Wait()
		})
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
	again := a.Semaphore("short-lived", 12)
	if _, err := again.Tickets(); err != nil || !alive(again) {
		again = a.Semaphore("short-lived", 12) // the dead had destroyed it as good as done
	}
	release(t, acquire(t, again, 12))
	for _, last := range []*Semaphore{again, s} {
		if err := last.Destroy(ctx); err != nil {
			t.Error(err)
		}
	}
	expectNoTickets(t, a.Path())
	a.core.settleDead()
	expectNoRequests(t, a.Path())
}

// alive tells whether the semaphore is not destroyed once the latch, if a dead
// had it, is mended.
func alive(s *Semaphore) bool {
	t, ok := s.TryAcquire(12)
	if ok {
		t.Release()
	}
	_, err := s.Tickets()
	return err == nil
}

// expectNoTickets fails the test if destroyed semaphores have left tickets.
func expectNoTickets(t *testing.T, path string) {
	t.Helper()
	s, err := ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	s.picture.records(s, func(i uint32, r seenRecord) {
		if r.kind == uint8(recordTickets) {
			t.Errorf("record %d has tickets of slot %d still", i, r.slot)
		}
	})
	for _, l := range s.Locks {
		if l.Kind == KindSemaphore && (l.Semaphore != nil || !l.Word.IsFree()) {
			t.Errorf("%q is not idle: %v", l.Name, l.Word)
		}
	}
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
