package arena

import (
	"context"
	"runtime"
	"sync"
	"time"

	"lockd/internal/proc"
)

// A ticketCrash is a piece of work, and the points of the sources at which a
// process that does it is killed, the first and a later time that it comes
// there.
type ticketCrash struct {
	work   func(a *Arena) // nil: in ticketWindows, for a window has to be held open
	lone   bool           // nobody else is there when the process is killed
	first  string         // before it, another is killed here, in the work of "busy"
	points []string
}

var ticketCrashes = map[string]ticketCrash{
	"busy": {work: busyWork, points: []string{
		"semaphore.latched", "semaphore.unlatch", "semaphore.unlatched",
		"semaphore.claimed", "semaphore.dropped", "enqueue.flagged", "enqueue.wanted", "enqueue.linked",
		"grant.given", "grant.unlinked", "grant.granted", "grant.rung", "answer.sleep", "answer.woken",
		"request.withdrawn", "request.granted", "request.collected", "resize.extended", "resize.resized",
		"extend.made", "extend.linked",
	}},
	"calm": {work: calmWork, lone: true, points: []string{
		"hall.look", "semaphore.swapped", "semaphore.taken", "semaphore.latched", "semaphore.unlatch", "semaphore.unlatched", "extend.linked",
	}},
	"make and destroy": {work: makeAndDestroy, points: []string{
		"make.linked", "make.made", "extend.made", "extend.linked", "end.closed", "end.ended", "end.freed",
		"enqueue.flagged", "enqueue.wanted", "enqueue.linked", "grant.granted", "grant.unlinked",
	}},
	"mend a cut enqueueing": {work: busyWork, lone: true, first: "enqueue.wanted:3", points: []string{
		"mend.words", "mend.emptied", "mend.queued", "semaphore.mended", "semaphore.latched",
	}},
	"mend a cut grant": {work: busyWork, lone: true, first: "grant.given:3", points: []string{
		"mend.words", "mend.emptied", "semaphore.mended",
	}},
	"mend a cut creation": {work: makeAndDestroy, lone: true, first: "make.linked", points: []string{
		"mend.freed", "semaphore.mended",
	}},
	"mend a cut destruction": {work: makeAndDestroy, lone: true, first: "end.ended", points: []string{
		"mend.freed", "semaphore.mended",
	}},
	"mend a cut growth": {work: busyWork, lone: true, first: "extend.made", points: []string{
		"mend.chained", "mend.words", "semaphore.mended",
	}},
	"settle": {work: settleWork, lone: true, first: "semaphore.taken:8", points: []string{
		"settle.ticket", "settle.tickets",
	}},
	"overtake":    {lone: true, points: []string{"semaphore.undone"}},
	"latched":     {lone: true, points: []string{"semaphore.look"}},
	"outrun":      {lone: true, points: []string{"grant.takenback"}},
	"dead ahead":  {lone: true, points: []string{"reap.request"}},
	"dead holder": {lone: true, points: []string{"reap.look", "reap.ticket"}},
}

const crashTickets = 5

// holdOn returns when somebody waits for what the caller has, or soon.
func holdOn(s *Semaphore) {
	slot := s.binding().slot
	for until := time.Now().Add(2 * time.Millisecond); !loadTickets(slot).has(ticketsAwaited) && time.Now().Before(until); {
		runtime.Gosched()
	}
}

// busyWork does with the semaphore all that can be done to one.
func busyWork(a *Arena) {
	var local sync.WaitGroup
	defer local.Wait()
	s := a.Semaphore("crash", 0)
	for g := range 3 {
		local.Go(func() {
			for k := range 60 {
				ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
				n := 1 + (g+k)%4
				if g == 2 && k%2 == 0 {
					n = crashTickets
				}
				if t, err := s.Acquire(ctx, n); err == nil {
					holdOn(s)
					cancel()
					if n == crashTickets {
						s.Acquire(ctx, 1) // given up
					}
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

// ticketWindows are there with the crash points only.
var ticketWindows = make(map[string]func(a *Arena))

func init() {
	roles["ticket-crasher"] = func(args []string) {
		a := reopen(args[0], nil)
		work := ticketCrashes[args[1]].work
		if work == nil {
			work = ticketWindows[args[1]]
		}
		work(a)
		proc.Say("the work is done")
	}
}
