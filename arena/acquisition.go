package arena

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
)

// tryAcquire looks for the dead at most once a millisecond.
func (s *Semaphore) tryAcquire(n int) (t Tickets, ok bool) {
	s.use("try", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tryPatience)
		defer cancel()
		for judged := false; ; judged = true {
			var err error
			var out outcome
			if t, out, err = s.attempt(ctx, n, wantTickets, nil); err != nil || out == taken {
				ok = out == taken
				return err
			}
			if judged || !s.reap() {
				return nil
			}
		}
	})
	return t, ok
}

// reap frees what the dead hold, at most once a millisecond.
func (s *Semaphore) reap() bool {
	b, h := s.binding(), s.hall.Load()
	if h == nil || b == unbound {
		return false
	}
	last, now := h.judged.Load(), futex.Now()
	if now-last < int64(judgeEvery) || !h.judged.CompareAndSwap(last, now) {
		return false
	}
	return s.reapNow(b)
}

// reapNow frees what the dead hold and withdraws what they wait for, such as
// the semaphore's end: with nobody waiting, nobody had noticed.
func (s *Semaphore) reapNow(b *binding) bool {
	if !s.arena.core.reapTickets(b.index, b.slot) {
		return false
	}
	s.arena.core.serveTickets(b, true)
	return true
}

// latched does something under the latch of a semaphore that exists. A latch
// that is not to be had is waited for until the context ends.
func (s *Semaphore) latched(ctx context.Context, f func(d *desk)) error {
	c := s.arena.core
	b := s.binding()
	if b.slot == nil || !b.slot.word.CompareAndSwap(b.free, b.self) {
		if err := s.handle.acquire(request{ctx: ctx, arena: s.arena}); err != nil {
			return err
		}
		b = s.binding() // what is held is not evicted
	} else {
		raceAcquire(c, b)
	}
	d := &desk{c: c, b: b}
	d.work(func() { f(d) })
	return nil
}

// acquire takes n tickets or waits for them.
func (s *Semaphore) acquire(ctx context.Context, n int, mode uint32) (t Tickets, err error) {
	return s.acquireFor(ctx, n, mode, 0)
}

// acquireFor is acquire for the session in a record.
func (s *Semaphore) acquireFor(ctx context.Context, n int, mode, session uint32) (t Tickets, err error) {
	err = s.useUntil(ctx, "acquire", func(ctx context.Context) error {
		for {
			var out outcome
			if t, out, err = s.attempt(ctx, n, mode, nil); err != nil || out == taken {
				return err
			}
			c := s.arena.core
			claimed, err := c.claimRecords(ctx, 1)
			if err != nil {
				return err
			}
			w := c.newWait(claimed[0], session)
			t, out, err = s.attempt(ctx, n, mode, w)
			if err != nil || out == taken {
				c.unclaimRecords(claimed)
				return err
			}
			if t, err = s.collect(ctx, w, n); err != errRefusedBefore {
				return err
			}
		}
	})
	if err != nil {
		return Tickets{}, err
	}
	return t, nil
}

// attempt takes n tickets if they are to be had; if not, and w is not nil, it
// queues a request, and has to be followed by collect.
func (s *Semaphore) attempt(ctx context.Context, n int, mode uint32, w *ticketWait) (Tickets, outcome, error) {
	if n < 1 || n > MaxTickets {
		return Tickets{}, busy, fmt.Errorf("%w: 1 to %d can be acquired, not %d", ErrTickets, MaxTickets, n)
	}
	b, err := s.join(ctx, false)
	if err != nil {
		return Tickets{}, busy, err
	}
	out := busy
	held := make([]heldTicket, 0, n)
	ending, short := false, false
	if e := s.latched(ctx, func(d *desk) {
		// A request that was withdrawn, or an end that was, may still be in the
		// way: who withdrew it can be stopped or dead before it served the rest.
		if st := loadTickets(d.b.slot); st.has(ticketsAwaited | ticketsEnding) {
			d.pass(st.has(ticketsEnding))
		}
		st := loadTickets(d.b.slot)
		switch {
		case st.incarnation() != s.joined.Load() || st.has(ticketsEnding):
			err, ending = ErrDestroyed, st.has(ticketsEnding)
			return
		case n > st.capacity() && mode == wantTickets:
			err = fmt.Errorf("%w: %d of %d", ErrTooMany, n, st.capacity())
			return
		case n <= st.capacity() && (!st.has(ticketsAwaited) || variantOvertakeQueue):
			if held = d.take(n, st, held); len(held) == n {
				out = taken
				return
			}
			if short = d.isShort(st); short {
				return
			}
		}
		if w == nil {
			return
		}
		flags := ticketsAwaited
		if n > st.capacity() {
			flags = 0
		}
		w.binding = d.b
		d.enqueue(w.request, w.record, n, mode, flags)
		d.pass(false)
	}); e != nil {
		return Tickets{}, busy, e
	}
	switch {
	case ending && s.reapNow(b):
		return s.attempt(ctx, n, mode, w)
	case short:
		return Tickets{}, busy, fmt.Errorf("%w: not all its tickets are to be found", ErrDamaged)
	case err != nil || out != taken:
		return Tickets{}, out, err
	}
	raceGot(s.arena.core, b)
	return s.holding(held), taken, nil
}

// holding is for tickets that this process has, in the incarnation that the
// handle has joined: as long as it has any, there is no other.
func (s *Semaphore) holding(held []heldTicket) Tickets {
	return Tickets{hall: s.hall.Load(), many: &ticketSet{held: held}}
}

func (c *core) newWait(request, session uint32) *ticketWait {
	r := recordIs[requestRecord](c, request)
	r.session.Store(session)
	return &ticketWait{
		request: request, record: r, owner: &r.owner,
		wanted: recordOwner(c.member, recordWanted), wake: make(chan struct{}, 1),
	}
}

// errRefusedBefore: the request was refused because of an end that has been
// withdrawn since, or of a size that is another by now. It is asked again.
var errRefusedBefore = errors.New("refused, and there is no reason any more")

// collect waits for the answer to a request and takes what was granted. The
// tickets are this process's since they were given; they become the caller's
// before the record is freed, whose index they name.
func (s *Semaphore) collect(ctx context.Context, w *ticketWait, n int) (Tickets, error) {
	c, b := s.arena.core, w.binding
	kind, err := c.await(ctx, s.arena, w)
	if err != nil {
		return Tickets{}, err
	}
	answered := recordOwner(c.member, kind)
	if kind != recordGranted {
		defer w.record.owner.CompareAndSwap(answered, 0)
		switch st := loadTickets(b.slot); {
		case st.incarnation() != s.joined.Load() || st.has(ticketsEnding):
			return Tickets{}, ErrDestroyed
		case n > st.capacity():
			return Tickets{}, fmt.Errorf("%w: %d of %d, which it was resized to", ErrTooMany, n, st.capacity())
		}
		return Tickets{}, errRefusedBefore
	}
	crash.At("request.granted")
	held := make([]heldTicket, 0, n)
	given := uint64(givenTo(c.member, w.request))
	c.eachTicket(b.index, b.slot, func(number int, word *atomic.Uint64) bool {
		if word.CompareAndSwap(given, uint64(c.self)) {
			crash.At("request.collected")
			held = append(held, heldTicket{number, word})
		}
		return len(held) < n
	})
	w.record.owner.CompareAndSwap(answered, 0)
	raceGot(c, b)
	t := s.holding(held)
	switch {
	case len(held) < n:
		err = fmt.Errorf("%w: %d tickets of %d that were granted are not there", ErrDamaged, n-len(held), n)
	case c.gate.closing():
		err = ErrClosed
	default:
		return t, nil
	}
	t.Release()
	return Tickets{}, err
}
