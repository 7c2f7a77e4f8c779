package fuzz

import (
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"

	"lockd/arena"
	"lockd/futex"
)

// Histories of a semaphore as a whole, in which the order counts: who asked
// first is served first, and all his tickets at once. Of an acquisition there
// are two moments, that he is in the queue and that he gets his tickets. When
// the former was is known only as far as it was seen: his process looks at the
// arena while he waits.
const queueKind = "queue"

// queueState is the whole semaphore. Clients count from 1.
type queueState struct {
	holders [mostHistoryTickets]int8
	size    int8
	waiting int8
	queue   [historyClients]asked
}

type asked struct{ client, tickets int8 }

// queueTurn is of one goroutine in each process, so that it can see whether it
// is queued.
func (c *historian) queueTurn() {
	if c.number > 0 {
		c.next = historyOperations
		return
	}
	s := c.a.Semaphore("history", 0)
	if c.r.IntN(16) == 0 {
		n := 1 + c.r.IntN(mostHistoryTickets)
		c.record(opResize, n, func(e *loggedEvent) { e.done = s.Resize(n) == nil })
		return
	}
	var t arena.Tickets
	n := 1 + c.r.IntN(historyTickets)
	e := c.record(opAcquire, n, func(e *loggedEvent) {
		if c.r.IntN(4) == 0 {
			t, e.done = s.TryAcquire(n)
		} else {
			ctx, cancel := c.wait()
			defer cancel()
			done := make(chan struct{})
			seen := c.lookout(e, done)
			var err error
			t, err = s.Acquire(ctx, n)
			e.done = err == nil
			close(done)
			<-seen
		}
		if e.done {
			e.tickets = bitsOf(t.Numbers())
		}
	})
	c.pause()
	if !e.done {
		return
	}
	if c.r.IntN(2) == 0 { // the others come to wait
		time.Sleep(time.Duration(c.r.IntN(1500)) * time.Microsecond)
	}
	c.record(opRelease, 0, func(e *loggedEvent) {
		e.tickets = bitsOf(t.Numbers())
		e.done = t.Release() == nil
	})
	c.pause()
}

// lookout looks whether this process is in the queue, until it is or is done.
func (c *historian) lookout(e *loggedEvent, done chan struct{}) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		for pause := 100 * time.Microsecond; ; pause *= 2 {
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
			s, err := arena.ReadSnapshot(c.a.Path())
			if err == nil && waitsInQueue(s) {
				e.queued.Store(futex.Now())
				return
			}
		}
	}()
	return ended
}

func waitsInQueue(s *arena.Snapshot) bool {
	for _, m := range s.Members {
		if int(m.PID) != os.Getpid() {
			continue
		}
		for _, l := range s.Locks {
			for _, w := range l.Waiting {
				if l.Kind == arena.KindSemaphore && w.Member == m.Member {
					return true
				}
			}
		}
	}
	return false
}

// askedAndGot are the two moments of an acquisition. A try has no queue to be
// in, and is both at once. When he was seen in the queue he was there, but may
// have had his tickets by the time that this was written down.
func askedAndGot(op porcupine.Operation, e *loggedEvent) []porcupine.Operation {
	ask, get := op, op
	if queued := e.queued.Load(); queued != 0 {
		ask.Return = min(queued, op.Return)
	}
	in := op.Input.(call)
	in.what = opAsk
	ask.Input = in
	in.what, in.argument = opGet, int(e.tickets)
	get.Input = in
	return []porcupine.Operation{ask, get}
}

func queueStep(state, input, output any) []any {
	s, in, out := state.(queueState), input.(call), output.(answer)
	me := int8(in.client + 1)
	if in.what != opDeath && !in.unanswered && !out.done {
		return nil // a release or a resize that failed
	}
	switch in.what {
	case opAsk:
		s.queue[s.waiting] = asked{me, int8(in.argument)}
		s.waiting++
	case opGet:
		if s.waiting == 0 || s.queue[0].client != me {
			return nil
		}
		n := int8(0)
		for ticket := range s.holders {
			if in.argument&(1<<ticket) == 0 {
				continue
			}
			if s.holders[ticket] != 0 || ticket >= int(s.size) {
				return nil
			}
			s.holders[ticket] = me
			n++
		}
		if n != s.queue[0].tickets {
			return nil
		}
		copy(s.queue[:], s.queue[1:])
		s.queue[len(s.queue)-1] = asked{}
		s.waiting--
	case opRelease:
		if s.holders[in.ticket] != me {
			return nil
		}
		s.holders[in.ticket] = 0
	case opDeath:
		if s.holders[in.ticket] == me {
			s.holders[in.ticket] = 0
		}
	case opResize:
		resized := s
		resized.size = int8(in.argument)
		if in.unanswered {
			return []any{s, resized}
		}
		return []any{resized}
	}
	return []any{s}
}

func (s queueState) String() string {
	text := fmt.Sprintf("of %d:", s.size)
	for ticket, holder := range s.holders {
		if holder != 0 {
			text += fmt.Sprintf(" %d has %d", holder-1, ticket)
		}
	}
	for _, a := range s.queue[:s.waiting] {
		text += fmt.Sprintf(", %d waits for %d", a.client-1, a.tickets)
	}
	return text
}

func init() {
	historyKinds[queueKind] = historyKind{(*historian).queueTurn, porcupine.NondeterministicModel{
		Init: func() []any { return []any{queueState{size: historyTickets}} }, Step: queueStep,
		DescribeOperation: describe, DescribeState: func(s any) string { return fmt.Sprint(s) },
	}}
}
