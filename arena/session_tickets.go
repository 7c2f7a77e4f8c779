package arena

import (
	"context"
	"fmt"
	"runtime"
	"slices"
)

// Acquire takes n tickets of a semaphore, as [Semaphore.Acquire] does, and says
// which ones. A session that has some may ask for more; it is told ErrDeadlock
// if it waits in a circle, be it for tickets that it has itself.
func (s *Session) Acquire(ctx context.Context, sem *Semaphore, n int) ([]int, error) {
	defer runtime.KeepAlive(s)
	return s.in.acquire(ctx, sem, n, wantTickets)
}

// AcquirePatiently is Acquire that waits for a resize if n is more than the
// semaphore has, as [Semaphore.AcquirePatiently] does.
func (s *Session) AcquirePatiently(ctx context.Context, sem *Semaphore, n int) ([]int, error) {
	defer runtime.KeepAlive(s)
	return s.in.acquire(ctx, sem, n, wantPatiently)
}

func (s *session) acquire(ctx context.Context, sem *Semaphore, n int, mode uint32) ([]int, error) {
	if err := s.enterTickets("acquire", sem); err != nil {
		return nil, err
	}
	if t, ok := sem.takeAtOnce(n); ok {
		return s.got(sem, t), nil
	}
	if err := sem.ensure(ctx); err != nil {
		return nil, err
	}
	if t, ok := sem.takeAtOnce(n); ok {
		return s.got(sem, t), nil
	}
	var t Tickets
	err := s.wait(ctx, &sem.handle, OfTickets, n, func(ctx context.Context, _ *sessionWait) (err error) {
		t, err = sem.acquireFor(ctx, n, mode, s.index)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.got(sem, t), nil
}

// takeAtOnce is the fast path for one ticket.
func (s *Semaphore) takeAtOnce(n int) (Tickets, bool) {
	if h := s.hall.Load(); h != nil && n == 1 {
		return h.takeOne()
	}
	return Tickets{}, false
}

// ensure finds the semaphore, so that it is known which slot is waited for.
func (s *Semaphore) ensure(ctx context.Context) error {
	return s.useUntil(ctx, "acquire", func(ctx context.Context) error {
		_, err := s.join(ctx, false)
		return err
	})
}

// TryAcquire is Acquire that does not wait. It returns nil, without an error,
// if the tickets are not to be had.
func (s *Session) TryAcquire(sem *Semaphore, n int) ([]int, error) {
	defer runtime.KeepAlive(s)
	in := s.in
	if err := in.enterTickets("try", sem); err != nil {
		return nil, err
	}
	t, ok := sem.TryAcquire(n)
	if !ok {
		return nil, nil
	}
	return in.got(sem, t), nil
}

// Release gives back tickets of these numbers; without numbers, all that the
// session has of the semaphore. If it has not all of them it returns
// ErrNotHeld, if one is named twice ErrTickets, and gives none back.
func (s *Session) Release(sem *Semaphore, numbers ...int) error {
	defer runtime.KeepAlive(s)
	in := s.in
	if err := in.check("release", sem.cell.name); err != nil {
		return err
	}
	h := in.find(&sem.handle)
	if h == nil {
		return in.fail("release", sem.cell.name, fmt.Errorf("%w by this session", ErrNotHeld))
	}
	if len(numbers) == 0 {
		return in.giveBack(h)
	}
	return in.releaseSome(h, numbers)
}

func (s *session) enterTickets(what string, sem *Semaphore) error {
	if err := s.check(what, sem.cell.name); err != nil {
		return err
	}
	if sem.arena.core != s.core {
		return s.fail(what, sem.cell.name, fmt.Errorf("%w: it is a semaphore of another arena, %s", ErrOptions, sem.arena.core.path))
	}
	s.reserve()
	return nil
}

// got notes tickets that were just taken.
func (s *session) got(sem *Semaphore, t Tickets) []int {
	h := s.find(&sem.handle)
	if h == nil {
		h = s.taken(sem.cell, t.hall.binding.index, OfTickets, t.Count())
		if h.more == nil {
			h.more = new(holdMore)
		}
		h.more.tickets = append(h.more.tickets, t)
	} else {
		h.more.tickets = append(h.more.tickets, t)
		s.display(h, len(h.numbers()))
	}
	return t.Numbers()
}

func (h *hold) numbers() []int {
	var all []int
	for _, t := range h.more.tickets {
		all = append(all, t.Numbers()...)
	}
	slices.Sort(all)
	return all
}

// releaseSome gives back some of the tickets; the word says so first.
func (s *session) releaseSome(h *hold, numbers []int) error {
	name := h.cell.name
	given := slices.Sorted(slices.Values(numbers))
	had := h.numbers()
	for i, n := range given {
		if i > 0 && given[i-1] == n {
			return s.fail("release", name, fmt.Errorf("%w: ticket %d is named twice", ErrTickets, n))
		}
		if _, found := slices.BinarySearch(had, n); !found {
			return s.fail("release", name, fmt.Errorf("%w: ticket %d", ErrNotHeld, n))
		}
	}
	if len(given) == len(had) {
		return s.giveBack(h)
	}
	s.display(h, len(had)-len(given))
	var err error
	for _, t := range h.more.tickets {
		mine := slices.DeleteFunc(t.Numbers(), func(n int) bool {
			_, found := slices.BinarySearch(given, n)
			return !found
		})
		if len(mine) == 0 {
			continue
		}
		if e := t.ReleaseSome(mine...); e != nil {
			err = s.fail("release", name, e)
		}
	}
	h.more.tickets = slices.DeleteFunc(h.more.tickets, func(t Tickets) bool { return t.Count() == 0 })
	return err
}
