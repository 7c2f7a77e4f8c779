package arena

import (
	"context"
	"fmt"
	"sync/atomic"

	"lockd/internal/crash"
)

// Resize gives the semaphore another number of tickets, 1 to MaxTickets. More
// are there at once, and who waits for them is woken. Fewer take effect as
// tickets come back: those held stay held, and ticket numbers from n on are
// not given out again. Requests for more than n that wait fail with
// ErrTooMany, unless they are patient.
//
// It returns ErrTickets, ErrDestroyed, ErrTableFull if the arena has no room
// for the tickets, and what Acquire returns for a bad handle; then the size is
// what it was.
func (s *Semaphore) Resize(n int) error {
	return s.use("resize", func(ctx context.Context) error { return s.resize(ctx, n, nil) })
}

// ResizeWait is Resize that waits until no ticket from number n on is held. If
// the context ends first it returns the context's error, and the new size
// stays. If somebody makes the semaphore larger meanwhile it returns ErrSize.
func (s *Semaphore) ResizeWait(ctx context.Context, n int) error {
	return s.useUntil(ctx, "resize", func(ctx context.Context) error {
		w, err := s.claimWait(ctx)
		if err != nil {
			return err
		}
		if err := s.resize(ctx, n, w); err != nil {
			s.arena.core.unclaimRecords([]uint32{w.request})
			return err
		}
		kind, err := s.answerOf(ctx, w)
		if err == nil && kind != recordGranted {
			err = ErrDestroyed
			if st := loadTickets(w.binding.slot); st.incarnation() == s.joined.Load() && !st.has(ticketsEnding) {
				err = fmt.Errorf("%w: somebody has resized it to %d meanwhile", ErrSize, st.capacity())
			}
		}
		return err
	})
}

func (s *Semaphore) claimWait(ctx context.Context) (*ticketWait, error) {
	claimed, err := s.arena.core.claimRecords(ctx, 1)
	if err != nil {
		return nil, err
	}
	return s.arena.core.newWait(claimed[0], 0), nil
}

// answerOf waits for the answer to a request that is not for tickets.
func (s *Semaphore) answerOf(ctx context.Context, w *ticketWait) (recordKind, error) {
	c := s.arena.core
	kind, err := c.await(ctx, s.arena, w)
	if err == nil {
		w.record.owner.CompareAndSwap(recordOwner(c.member, kind), 0)
	}
	return kind, err
}

// resize changes the size and, if w is not nil, queues a request for the
// tickets that are too many.
func (s *Semaphore) resize(ctx context.Context, n int, w *ticketWait) error {
	if n < 1 || n > MaxTickets {
		return fmt.Errorf("%w: a semaphore has 1 to %d tickets, not %d", ErrTickets, MaxTickets, n)
	}
	c := s.arena.core
	var claimed []uint32
	defer func() { c.unclaimRecords(claimed) }()
	for {
		b, err := s.join(ctx, false)
		if err != nil {
			return err
		}
		missing := 0
		gone, ending := false, false
		if err := s.latched(ctx, func(d *desk) {
			if loadTickets(d.b.slot).has(ticketsEnding) {
				d.pass(true) // the end may have been withdrawn
			}
			st := loadTickets(d.b.slot)
			ending = st.has(ticketsEnding)
			if gone = st.incarnation() != s.joined.Load() || ending; gone {
				return
			}
			have := 0
			c.eachTicket(d.b.index, d.b.slot, func(number int, _ *atomic.Uint64) bool { have = number + 1; return true })
			if missing = recordsFor(n) - have/recordTicketCount - len(claimed); missing > 0 {
				return
			}
			claimed = d.extend(claimed, have, newTicketState(st.incarnation(), n))
			crash.At("resize.extended")
			if w != nil {
				w.binding = d.b
				d.enqueue(w.request, w.record, n, wantBack, ticketsDrained)
			}
			// A request that waits for this size holds up newcomers from here on.
			for !swapTickets(d.b.slot, st, st&^capacityMask|ticketState(n)|ticketsAwaited|ticketsDrained) {
				st = loadTickets(d.b.slot)
			}
			crash.At("resize.resized")
			d.pass(true)
		}); err != nil {
			return err
		}
		switch {
		case ending && s.reapNow(b):
			continue
		case gone:
			return ErrDestroyed
		case missing <= 0:
			return nil
		}
		more, err := c.claimRecords(ctx, missing)
		if err != nil {
			return err
		}
		claimed = append(claimed, more...)
	}
}

// Destroy refuses new requests and those that wait, waits until all tickets
// are back, and ends the semaphore: its handles get ErrDestroyed for good. If
// the context ends first, or the process dies waiting, the semaphore goes on; of
// a process that dies when all tickets are back, others may finish the work.
// Which size the handle was made with does not matter.
//
// Errors are the context's, ErrNoSemaphore, ErrDestroyed if another had done it
// before this handle was used again, and what Acquire returns for a bad handle.
func (s *Semaphore) Destroy(ctx context.Context) error {
	return s.useUntil(ctx, "destroy", func(ctx context.Context) error {
		if _, err := s.join(ctx, true); err != nil {
			return err
		}
		w, err := s.claimWait(ctx)
		if err != nil {
			return err
		}
		gone := false
		err = s.latched(ctx, func(d *desk) {
			if gone = loadTickets(d.b.slot).incarnation() != s.joined.Load(); gone {
				return
			}
			w.binding = d.b
			d.enqueue(w.request, w.record, 0, wantEnd, ticketsEnding|ticketsDrained)
			d.pass(true)
		})
		if gone {
			err = ErrDestroyed
		}
		if err != nil {
			s.arena.core.unclaimRecords([]uint32{w.request})
			return err
		}
		_, err = s.answerOf(ctx, w)
		return err
	})
}
