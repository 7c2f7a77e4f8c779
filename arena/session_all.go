package arena

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
)

// Want is one lock and how it is wanted; see [Session.LockAll]. It may be used
// again, and by several sessions at once.
type Want struct {
	handle *handle
	mode   Mode
	count  int // of tickets
	// take returns what gives back what it took.
	take func(ctx context.Context, s *Session, w *Want) (back func() error, err error)
}

// Exclusively wants a mutex, or an rwmutex exclusively.
func Exclusively(l Lockable) Want {
	return Want{l.lockable(), Exclusive, 1, func(ctx context.Context, s *Session, _ *Want) (func() error, error) {
		return func() error { return s.Unlock(l) }, s.Lock(ctx, l)
	}}
}

// ForReading wants an rwmutex for reading.
func ForReading(m *RWMutex) Want {
	return Want{&m.handle, Shared, 1, func(ctx context.Context, s *Session, _ *Want) (func() error, error) {
		return func() error { return s.RUnlock(m) }, s.RLock(ctx, m)
	}}
}

// Upgradably wants an rwmutex upgradably.
func Upgradably(m *RWMutex) Want {
	return Want{&m.handle, Upgradable, 1, func(ctx context.Context, s *Session, _ *Want) (func() error, error) {
		return func() error { return s.UUnlock(m) }, s.ULock(ctx, m)
	}}
}

// TicketsOf wants n tickets of a semaphore.
func TicketsOf(sem *Semaphore, n int) Want {
	return Want{&sem.handle, OfTickets, n, func(ctx context.Context, s *Session, w *Want) (func() error, error) {
		got, err := s.Acquire(ctx, sem, w.count)
		return func() error { return s.Release(sem, got...) }, err
	}}
}

// joinTickets makes one want of those that follow each other and want tickets of
// one semaphore: who took a part would wait for the rest with it.
func joinTickets(wants []Want) []Want {
	all := wants[:0]
	for _, w := range wants {
		last := len(all) - 1
		if last >= 0 && w.mode == OfTickets && all[last].handle.cell == w.handle.cell && min(w.count, all[last].count) > 0 {
			all[last].count += w.count
			continue
		}
		all = append(all, w)
	}
	return all
}

// LockAll takes several locks, or with an error none of them: the error is that
// of the first that could not be had. Sessions that take all they need by one
// LockAll each are never deadlocked with each other, in whichever order they
// name the locks: they are taken in the order of kinds and names, which is the
// same everywhere.
//
// A lock that is named twice, or held already, is refused with ErrDeadlock as
// Lock would, unless the session is reentrant. Then the stronger mode goes first.
// Tickets of a semaphore that is named twice are taken together.
func (s *Session) LockAll(ctx context.Context, wants ...Want) error {
	defer runtime.KeepAlive(s)
	if err := s.in.check("lock all", ""); err != nil {
		return err
	}
	wants = slices.SortedStableFunc(slices.Values(wants), func(a, b Want) int {
		return cmp.Or(cmp.Compare(a.handle.cell.kind, b.handle.cell.kind), cmp.Compare(a.handle.cell.name, b.handle.cell.name),
			cmp.Compare(strength(b.mode), strength(a.mode)))
	})
	var taken []func() error
	for _, w := range joinTickets(wants) {
		back, err := w.take(ctx, s, &w)
		if err == nil {
			taken = append(taken, back)
			continue
		}
		for _, back := range slices.Backward(taken) {
			if e := back(); e != nil {
				err = fmt.Errorf("%w; and %w", err, e)
			}
		}
		return err
	}
	return nil
}

func strength(m Mode) int {
	switch m {
	case Exclusive:
		return 3
	case Upgradable:
		return 2
	}
	return 1
}
