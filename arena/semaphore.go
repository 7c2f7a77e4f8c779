package arena

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"lockd/futex"
)

// Semaphore is a handle to a named set of numbered tickets, 0 to one less than
// its size, of which each is held by one process at a time. Make it with
// [Arena.Semaphore], do not copy it.
//
// Giving a ticket back happens before an acquisition that gets it returns, in
// any process. Requests are served in the order in which they arrive, in all
// processes together, so that a large one is not starved by small ones.
//
// The tickets of a process that dies, however it dies, come back, each of them
// once. Nobody is told: what a ticket stands for is not called half-changed.
type Semaphore struct {
	handle
	size   int           // to make it with; 0: whatever it has
	joined atomic.Uint32 // the incarnation that this handle was first used for
	hall   atomic.Pointer[hall]
}

// Semaphore returns a handle to the semaphore of this name, 1 to MaxName bytes
// without NUL. It is made with so many tickets, 1 to MaxTickets, when a handle
// to it is first used; it stays, with whatever size it is given later, until
// it is destroyed or the arena is removed. If it exists with another number of
// tickets, the handle's first use returns ErrSize and changes nothing; 0 takes
// it as it is, and never makes it.
//
// Semaphore never fails: what is wrong with the arguments shows when the
// handle is used. A handle to a semaphore that was destroyed stays one; a new
// handle makes a new semaphore.
func (a *Arena) Semaphore(name string, tickets int) *Semaphore {
	return &Semaphore{handle: handle{a.cell(KindSemaphore, name), &a.plain}, size: tickets}
}

// Acquire takes n tickets at once, waiting for them until the context ends or
// the time is over that the handle's Patience gives. If they are free it may
// succeed with a context that has ended. Errors: a *TimeoutError, which is ErrTimeout and
// context.DeadlineExceeded; context.Canceled, or the context's cause, wrapped;
// ErrTickets, ErrTooMany (also when the semaphore is made smaller meanwhile),
// ErrSize, ErrDestroyed, ErrNoSemaphore, ErrName, ErrKind, ErrTableFull,
// ErrClosed, ErrReplaced. With any of them no ticket is held.
func (s *Semaphore) Acquire(ctx context.Context, n int) (Tickets, error) {
	if h := s.hall.Load(); h != nil && n == 1 {
		if h.swapFirst() && (h.isCalm() || h.keepFirst()) {
			return Tickets{hall: h, place: h.first, turn: h.first.turn}, nil
		}
		if t, ok := h.takeOne(); ok {
			return t, nil
		}
	}
	return s.acquire(ctx, n, wantTickets)
}

// AcquirePatiently is Acquire that does not fail if n is more than the
// semaphore has, but waits until it is made large enough. Until then it holds
// up nobody who came later.
func (s *Semaphore) AcquirePatiently(ctx context.Context, n int) (Tickets, error) {
	return s.acquire(ctx, n, wantPatiently)
}

// TryAcquire takes n tickets at once if they are free and nobody living waits
// for tickets, and says whether it did. It does not wait. A failed TryAcquire
// orders nothing in memory. It may fail for no longer than a millisecond after
// the death of a holder is provable.
func (s *Semaphore) TryAcquire(n int) (Tickets, bool) {
	if h := s.hall.Load(); h != nil && n == 1 {
		if t, ok := h.takeOne(); ok {
			return t, true
		}
	}
	return s.tryAcquire(n)
}

// Tickets returns how many tickets the semaphore has.
func (s *Semaphore) Tickets() (int, error) {
	return s.look(func(b *binding) int { return loadTickets(b.slot).capacity() })
}

// InUse returns how many tickets are held, by the dead too as long as nobody
// has noticed. It can be more than Tickets after the semaphore was made smaller.
func (s *Semaphore) InUse() (int, error) {
	return s.look(func(b *binding) int { return s.arena.core.ticketsInUse(b.index, b.slot) })
}

// look returns what f finds of a semaphore that is there before and after.
func (s *Semaphore) look(f func(b *binding) int) (n int, err error) {
	err = s.use("look at", func(ctx context.Context) error {
		b, err := s.join(ctx, false)
		if err != nil {
			return err
		}
		if n = f(b); loadTickets(b.slot).incarnation() != s.joined.Load() {
			n = 0
			return ErrDestroyed
		}
		return nil
	})
	return n, err
}

func (c *core) ticketsInUse(index uint32, s *slot) int {
	n := 0
	c.eachTicket(index, s, func(_ int, word *atomic.Uint64) bool {
		if _, held := ticketWord(word.Load()).owner(); held {
			n++
		}
		return true
	})
	return n
}

// use wraps an operation in what all have in common.
func (s *Semaphore) use(what string, f func(context.Context) error) error {
	return s.useUntil(context.Background(), what, f)
}

func (s *Semaphore) useUntil(ctx context.Context, what string, f func(context.Context) error) error {
	c := s.arena.core
	if s.arena.closed.Load() || !c.gate.enter() {
		return fmt.Errorf("arena: %s semaphore %q: %w", what, s.cell.name, ErrClosed)
	}
	defer c.gate.leave()
	r, done := s.patiently(ctx)
	defer done()
	began := futex.Now()
	err := f(r.ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return s.timedOut(began)
	}
	return fmt.Errorf("arena: %s semaphore %q: %w", what, s.cell.name, err)
}

// ticketHolder names the holder of the lowest ticket.
func (c *core) ticketHolder(b *binding) (pid int, label string) {
	c.eachTicket(b.index, b.slot, func(_ int, word *atomic.Uint64) bool {
		m, held := ticketWord(word.Load()).owner()
		if held {
			pid, label = c.nameOf(m, 0)
		}
		return !held
	})
	return pid, label
}

// SemaphoreInfo is one semaphore in a list.
type SemaphoreInfo struct {
	Name    string
	Tickets int
	InUse   int // by the dead too, as long as nobody has noticed
}

// Semaphores lists the semaphores of the arena, in no order. Each is as it was
// at a moment of its own.
func (a *Arena) Semaphores() ([]SemaphoreInfo, error) {
	c := a.core
	if a.closed.Load() || !c.gate.enter() {
		return nil, fmt.Errorf("arena: list semaphores: %w", ErrClosed)
	}
	defer c.gate.leave()
	c.noticeGrowth()
	var all []SemaphoreInfo
	for i := uint32(1); i < min(c.slotCount(), c.head.bump.Load()); i++ {
		s := c.slotAt(i)
		if s == nil {
			break
		}
		life := slotLife(s.life.Load())
		if !life.isLive() || life.kind() != KindSemaphore {
			continue
		}
		st := loadTickets(s)
		info := SemaphoreInfo{Name: c.slotName(s), Tickets: st.capacity(), InUse: c.ticketsInUse(i, s)}
		if st.exists() && slotLife(s.life.Load()) == life {
			all = append(all, info)
		}
	}
	return all, nil
}
