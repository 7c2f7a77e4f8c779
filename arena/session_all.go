package arena

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
)

// Want is one lock and how it is wanted; see [Session.LockAll].
type Want struct {
	handle *handle
	mode   Mode
	sem    *Semaphore
	count  int // of tickets
	take   func(ctx context.Context, s *Session) error
	back   func(s *Session) error
}

// Exclusively wants a mutex, or an rwmutex exclusively.
func Exclusively(l Lockable) Want {
	return Want{handle: l.lockable(), mode: Exclusive,
		take: func(ctx context.Context, s *Session) error { return s.Lock(ctx, l) },
		back: func(s *Session) error { return s.Unlock(l) }}
}

// ForReading wants an rwmutex for reading.
func ForReading(m *RWMutex) Want {
	return Want{handle: &m.handle, mode: Shared,
		take: func(ctx context.Context, s *Session) error { return s.RLock(ctx, m) },
		back: func(s *Session) error { return s.RUnlock(m) }}
}

// Upgradably wants an rwmutex upgradably.
func Upgradably(m *RWMutex) Want {
	return Want{handle: &m.handle, mode: Upgradable,
		take: func(ctx context.Context, s *Session) error { return s.ULock(ctx, m) },
		back: func(s *Session) error { return s.UUnlock(m) }}
}

// TicketsOf wants n tickets of a semaphore.
func TicketsOf(sem *Semaphore, n int) Want {
	var got []int
	return Want{handle: &sem.handle, mode: OfTickets, sem: sem, count: n,
		take: func(ctx context.Context, s *Session) (err error) {
			got, err = s.Acquire(ctx, sem, n)
			return err
		},
		back: func(s *Session) error { return s.Release(sem, got...) }}
}

// joinTickets makes one want of those that follow each other and want tickets of
// one semaphore: who took a part would wait for the rest with it.
func joinTickets(wants []Want) []Want {
	all := wants[:0]
	for _, w := range wants {
		last := len(all) - 1
		if last >= 0 && w.sem != nil && all[last].handle.cell == w.handle.cell && min(w.count, all[last].count) > 0 {
			w = TicketsOf(all[last].sem, all[last].count+w.count)
			all = all[:last]
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
	wants = joinTickets(wants)
	for i, w := range wants {
		err := w.take(ctx, s)
		if err == nil {
			continue
		}
		for _, taken := range slices.Backward(wants[:i]) {
			if e := taken.back(s); e != nil {
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
