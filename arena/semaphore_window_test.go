//go:build lockd_crash

package arena

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// What reviews by attack found of the semaphore, in windows that are held
// open. TestSemaphoreWindows runs these.

// An eviction finds a name idle; before it swaps the word, somebody makes a
// semaphore of it, and the word is free again.
func TestEvictionMeetsNewSemaphore(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("young", 2)
	expectInUse(t, s, 0)
	destroy(t, s)
	b := s.binding()
	var held Tickets
	crash.Pause("evict.looked", func() { held = acquire(t, a.Semaphore("young", 3), 1) })
	if evicted, _ := a.core.evict(b.index, b.slot, slotLife(b.slot.life.Load())); evicted {
		t.Error("a living semaphore lost its slot")
	}
	if n, err := a.Semaphore("young", 0).Tickets(); n != 3 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
	release(t, held)
}

// Whoever destroys gives up, and is stopped before he has told anybody.
func TestStoppedAfterGivingUpTheEnd(t *testing.T) {
	for what, try := range map[string]func(t *testing.T, s *Semaphore){
		"try": func(t *testing.T, s *Semaphore) {
			if got, ok := s.TryAcquire(1); !ok {
				t.Error("refused by an end that was withdrawn")
			} else {
				release(t, got)
			}
		},
		"resize": func(t *testing.T, s *Semaphore) {
			if err := s.Resize(4); err != nil {
				t.Errorf("refused by an end that was withdrawn: %v", err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) { stopAfterGivingUpTheEnd(t, try) })
	}
}

func stopAfterGivingUpTheEnd(t *testing.T, try func(t *testing.T, s *Semaphore)) {
	a := testArena(t, nil)
	s := a.Semaphore("gone", 3)
	held := acquire(t, s, 1)
	ctx, cancel := context.WithCancel(t.Context())
	stopped, goOn := make(chan struct{}), make(chan struct{})
	crash.Pause("request.withdrawn", func() {
		close(stopped)
		<-goOn
	})
	wait := proc.MustBlock(t, "Destroy", func() { s.Destroy(ctx) })
	cancel()
	<-stopped
	try(t, s)
	close(goOn)
	wait()
	release(t, held)
}

// A request is refused by an end, and its owner looks at the answer only when
// that was withdrawn: the semaphore goes on, and so does the request.
func TestRefusedByAnEndThatWasWithdrawn(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("goes on", 3)
	held := acquire(t, s, 1)
	woken, goOn := make(chan struct{}), make(chan struct{})
	crash.Pause("answer.woken", func() {
		close(woken)
		<-goOn
	})
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 3)) })
	ctx, cancel := context.WithCancel(t.Context())
	end := proc.MustBlock(t, "Destroy", func() { s.Destroy(ctx) })
	<-woken
	cancel()
	end()
	close(goOn)
	release(t, held)
	wait()
}

// The holder of a latch has said that it leaves in order, as lockd-inspect run
// does, and dies half-way through queueing a request.
func TestLatchOfOneWhoLeftInOrder(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("crash", crashTickets)
	held := acquire(t, s, crashTickets)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := proc.StartCommand(t, exec.Command(exe, a.Path()), proc.Env(roleVariable+"=ticket-leaver"), proc.Env("LOCKD_CRASH=enqueue.wanted"))
	if p.Wait() == nil {
		t.Fatal("not killed")
	}
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 2)) })
	release(t, held)
	wait()
	a.core.settleDead()
	release(t, acquire(t, s, crashTickets))
	expectNoRequests(t, a.Path())
}

func init() {
	roles["ticket-leaver"] = func(args []string) {
		a := reopen(args[0], nil)
		a.core.memberAt(a.core.member.Index).state.Or(flagLeftInOrder << 40)
		_, err := a.Semaphore("crash", 0).Acquire(context.Background(), 1)
		proc.Say("got an answer: %v", err)
	}
}

// Whoever looks for the dead's tickets sleeps on the way. Meanwhile the
// semaphore is destroyed and made again, and another holder dies.
func TestReaperOfAnotherIncarnation(t *testing.T) {
	a := testArena(t, nil)
	c := a.core
	awaitSettlers(t, c)
	s := a.Semaphore("queue", 2)
	expectInUse(t, s, 0)
	b := s.binding()
	again := a.Semaphore("queue", 2)
	record := b.slot.records.Load()
	crash.Pause("reap.look", func() {
		destroy(t, s)
		c.head.recordHand.Store(record - 1)
		expectInUse(t, again, 0)
		if got := b.slot.records.Load(); got != record {
			t.Errorf("the new tickets are in record %d, not in %d", got, record)
		}
		p := startTicketWaiter(t, a, 2)
		p.Expect("ready")
		p.Send("acquire")
		p.Expect("got [0 1]")
		p.Kill()
	})
	c.reapTickets(b.index, b.slot)
	release(t, acquire(t, again, 2))
	expectInUse(t, again, 0)
}

// Whoever looks for the dead's tickets sleeps on the way. Meanwhile the record
// that he stands at has become a request, whose fields look like the words of
// holders that are gone.
func TestReaperOfWhatBecameARequest(t *testing.T) {
	a := testArena(t, nil)
	c := a.core
	awaitSettlers(t, c)
	other := a.Semaphore("other", 1)
	held := acquire(t, other, 1)
	s := a.Semaphore("gone", 1)
	expectInUse(t, s, 0)
	b := s.binding()
	record := b.slot.records.Load()
	var waits []func()
	got := make(chan Tickets)
	crash.Pause("reap.look", func() {
		destroy(t, s)
		c.head.recordHand.Store(record - 2)
		for k := range 3 { // one of them has the record, and another behind it
			go func() { got <- acquire(t, other, 1) }()
			untilQueued(t, other, k+1)
		}
		waits = append(waits, func() {
			for range 3 {
				release(t, <-got)
			}
		})
	})
	c.reapTickets(b.index, b.slot)
	r := recordIs[requestRecord](c, record)
	if kindOfRecord(r.owner.Load()) != recordWanted {
		t.Fatal("the record did not become a request")
	}
	if r.next.Load() >= maxSegments*segmentRecords || r.mode.Load() != wantTickets {
		t.Errorf("the request was changed: next %#x, mode %#x", r.next.Load(), r.mode.Load())
	}
	release(t, held)
	for _, wait := range waits {
		wait()
	}
}

// Between a handle's look at the semaphore and what it learns of its tickets,
// the semaphore is destroyed and made again: the handle has lost it for good.
func TestHallOfAnotherIncarnation(t *testing.T) {
	a := testArena(t, nil)
	first := a.Semaphore("again", 2)
	expectInUse(t, first, 0)
	s := a.Semaphore("again", 2)
	s.cell.hall.Store(nil) // as if another process had made it
	next := a.Semaphore("again", 2)
	crash.Pause("hall.look", func() {
		destroy(t, first)
		expectInUse(t, next, 0)
	})
	for range 3 {
		if got, err := s.Acquire(t.Context(), 1); !errors.Is(err, ErrDestroyed) {
			t.Errorf("got %v, %v", got.Numbers(), err)
			got.Release()
		}
	}
	release(t, acquire(t, next, 2))
	release(t, acquire(t, next, 1))
}

// One of two who destroy gives up, and is stopped before he has told anybody.
// The end comes to the other one meanwhile, and answers nobody else.
func TestEndMeetsWhoHasWithdrawn(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gone", 1)
	held := acquire(t, s, 1)
	ended := proc.MustBlock(t, "Destroy", func() { destroy(t, s) })
	ctx, cancel := context.WithCancel(t.Context())
	stopped, goOn := make(chan struct{}), make(chan struct{})
	crash.Pause("request.withdrawn", func() {
		close(stopped)
		<-goOn
	})
	wait := proc.MustBlock(t, "Destroy by another", func() { s.Destroy(ctx) })
	cancel()
	<-stopped
	release(t, held)
	ended()
	close(goOn)
	wait()
	expectNoRequests(t, a.Path())
}

func destroy(t *testing.T, s *Semaphore) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proc.Soon)
	defer cancel()
	if err := s.Destroy(ctx); err != nil {
		t.Fatal(err)
	}
}
