package arena

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"lockd/internal/proc"
)

// A queue that leads back to itself, or past some of those who wait, is made
// anew: all are served.
func TestSemaphoreDamagedQueue(t *testing.T) {
	for what, damage := range map[string]func(queue []*requestRecord, head uint32){
		"a cycle":             func(q []*requestRecord, head uint32) { q[3].next.Store(head) },
		"a request to itself": func(q []*requestRecord, _ uint32) { q[1].next.Store(q[0].next.Load()) },
		"cut short":           func(q []*requestRecord, _ uint32) { q[1].next.Store(0) },
		"astray":              func(q []*requestRecord, _ uint32) { q[1].next.Store(1 << 30) },
		"out of order":        func(q []*requestRecord, _ uint32) { q[2].arrival.Store(1) },
		"two at one place":    func(q []*requestRecord, _ uint32) { q[2].arrival.Store(q[1].arrival.Load()) },
	} {
		t.Run(what, func(t *testing.T) {
			a := testArena(t, nil)
			s := a.Semaphore("queue", 2)
			held := acquire(t, s, 2)
			done := make(chan Tickets)
			for k := range 4 {
				go func() { done <- acquire(t, s, 1) }()
				untilQueued(t, s, k+1)
			}
			var queue []*requestRecord
			b := s.binding()
			if err := s.latched(t.Context(), func(d *desk) {
				head := d.queueHead().Load()
				d.eachRequest(func(_ *atomic.Uint32, _ uint32, r *requestRecord) bool { queue = append(queue, r); return true })
				damage(queue, head)
			}); err != nil {
				t.Fatal(err)
			}
			go func() { done <- acquire(t, s, 2) }() // comes to the damaged queue
			a.core.serveTickets(b, true)
			release(t, held)
			for range 5 {
				release(t, <-done)
			}
			expectInUse(t, s, 0)
			expectNoRequests(t, a.Path())
		})
	}
}

// A chain of tickets that breaks off is put together again from the records,
// by whoever misses a ticket or finds the latch abandoned; nobody loses one.
func TestSemaphoreDamagedChain(t *testing.T) {
	for what, find := range map[string]func(t *testing.T, s *Semaphore){
		"missed": func(t *testing.T, s *Semaphore) { release(t, acquire(t, s, 9)) },
		"abandoned": func(t *testing.T, s *Semaphore) {
			func() {
				defer func() { recover() }()
				s.latched(context.Background(), func(*desk) { panic("inside") })
			}()
			release(t, acquire(t, s, 9))
		},
	} {
		t.Run(what, func(t *testing.T) {
			a := testArena(t, nil)
			s := a.Semaphore("chain", 20)
			six, three := acquire(t, s, 6), acquire(t, s, 3)
			two := acquire(t, s, 2)
			first := recordIs[ticketRecord](a.core, s.binding().slot.records.Load())
			first.next.Store(0)
			s.cell.hall.Store(nil)
			find(t, a.Semaphore("chain", 0))
			expectInUse(t, s, 11)
			release(t, six, three, two)
			release(t, acquire(t, s, 20))
		})
	}
}

// A record of tickets that is gone for good is damage, and said to be; those
// behind it stay their holders'.
func TestSemaphoreLostTickets(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("chain", 20)
	held := acquire(t, s, 12)
	c := a.core
	first := recordIs[ticketRecord](c, s.binding().slot.records.Load())
	second := recordIs[ticketRecord](c, first.next.Load())
	first.next.Store(0)
	second.first.Store(7)
	ctx, cancel := context.WithTimeout(t.Context(), proc.Soon)
	defer cancel()
	if _, err := s.Acquire(ctx, 8); !errors.Is(err, ErrDamaged) {
		t.Errorf("8 tickets of which 5 are there: %v", err)
	}
	if err := held.ReleaseSome(10, 11); err != nil {
		t.Error(err)
	}
	second.first.Store(5)
	release(t, acquire(t, s, 10))
	release(t, held)
	release(t, acquire(t, s, 20))
}
