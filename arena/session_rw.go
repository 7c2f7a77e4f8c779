package arena

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// RLock takes an rwmutex for reading, as [Session.Lock] takes one exclusively.
// A reentrant session may enter so what it holds in any mode.
func (s *Session) RLock(ctx context.Context, m *RWMutex) error {
	in := s.in
	if entered, err := in.enter("read lock", &m.handle, Shared); entered || err != nil {
		return err
	}
	return in.rlock(ctx, m)
}

// TryRLock is RLock that does not wait.
func (s *Session) TryRLock(m *RWMutex) (bool, error) {
	in := s.in
	if entered, err := in.enter("try", &m.handle, Shared); entered || err != nil {
		return entered, err
	}
	if !m.TryRLock() {
		return false, nil
	}
	in.taken(m.cell, m.cell.loadReading().index, Shared, 1)
	return true, nil
}

// RUnlock gives back a read lock; see [Session.Unlock] for its errors.
func (s *Session) RUnlock(m *RWMutex) error { return s.in.leave("read unlock", &m.handle, Shared) }

// ULock takes an rwmutex upgradably, as [Session.Lock] takes one exclusively. A
// reentrant session may enter so what it holds upgradably or exclusively.
func (s *Session) ULock(ctx context.Context, m *RWMutex) error {
	in := s.in
	if entered, err := in.enter("upgradable lock", &m.handle, Upgradable); entered || err != nil {
		return err
	}
	b, err := in.takeWord(ctx, m)
	if err != nil {
		return err
	}
	in.taken(m.cell, b.index, Upgradable, 1)
	return nil
}

// TryULock is ULock that does not wait.
func (s *Session) TryULock(m *RWMutex) (bool, error) {
	in := s.in
	if entered, err := in.enter("try", &m.handle, Upgradable); entered || err != nil {
		return entered, err
	}
	if !m.TryULock() {
		return false, nil
	}
	in.taken(m.cell, m.binding().index, Upgradable, 1)
	return true, nil
}

// UUnlock gives back an upgradable lock; see [Session.Unlock] for its errors.
func (s *Session) UUnlock(m *RWMutex) error {
	return s.in.leave("upgradable unlock", &m.handle, Upgradable)
}

func (s *session) rlock(ctx context.Context, m *RWMutex) error {
	if !m.readFast() {
		if _, err := s.bound(ctx, &m.handle); err != nil {
			return err
		}
		err := s.wait(ctx, &m.handle, Shared, 1, func(ctx context.Context, w *sessionWait) error {
			q, done := m.patiently(ctx)
			defer done()
			q.seat = w.seatOf()
			return m.readWaiting(q)
		})
		if err != nil {
			return err
		}
	}
	s.taken(m.cell, m.cell.loadReading().index, Shared, 1)
	return nil
}

// lockRW takes the lock upgradably, shows that, and upgrades it: so nobody has
// to know more phases of a writer than these two.
func (s *session) lockRW(ctx context.Context, m *RWMutex) error {
	b, err := s.takeWord(ctx, m)
	if err != nil {
		return err
	}
	h := s.taken(m.cell, b.index, Upgradable, 1)
	if err := s.exclude(ctx, m); err != nil {
		s.giveBack(s.find(&m.handle))
		return err
	}
	s.become(h, Exclusive)
	return nil
}

// takeWord takes the lock upgradably.
func (s *session) takeWord(ctx context.Context, m *RWMutex) (*binding, error) {
	b, err := s.bound(ctx, &m.handle)
	if err != nil {
		return nil, err
	}
	if atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		err := m.inside(func(c *core) error {
			c.reopen(b.index, b.slot) // it may have been left shut
			return nil
		})
		if err != nil {
			m.URelease() // the process may have another opening, and keeps what it holds
			return nil, err
		}
		return b, nil
	}
	err = s.wait(ctx, &m.handle, Upgradable, 1, func(ctx context.Context, _ *sessionWait) error {
		return m.ULockContext(ctx)
	})
	if err != nil {
		return nil, err
	}
	return m.binding(), nil
}

// exclude makes an upgradable holding exclusive.
func (s *session) exclude(ctx context.Context, m *RWMutex) error {
	done := false
	err := m.inside(func(c *core) error {
		done = !slowOnly && c.tryExclude(m.binding(), nil, &m.cell.judged)
		return nil
	})
	if done || err != nil {
		return err
	}
	return s.wait(ctx, &m.handle, Exclusive, 1, func(ctx context.Context, _ *sessionWait) error {
		return m.Upgrade(ctx)
	})
}

// become changes the mode of what the session holds.
func (s *session) become(h *hold, mode Mode) {
	h.entries[h.mode&3]--
	h.mode = mode
	h.entries[mode&3]++
	s.display(h, 1)
}

// Upgrade makes an upgradable lock, or a read lock, exclusive, and waits for
// the readers. From an upgradable one nobody else can have held it exclusively
// in between; from a read lock somebody can, unless it was nobody's upgradably
// meanwhile: two readers who upgrade wait for each other, and one of them is
// told ErrDeadlock and has to let go. With an error the lock is held as before.
//
// What was entered before in the weaker mode is left in that. Upgrade returns
// ErrNotHeld, and ErrMode if the lock is held exclusively.
func (s *Session) Upgrade(ctx context.Context, m *RWMutex) error {
	in := s.in
	h, err := in.convertible("upgrade", m, Upgradable, Shared)
	if err != nil {
		return err
	}
	if h.mode == Shared {
		if err := in.upgradeReader(ctx, m); err != nil {
			return err
		}
		if err := in.exclude(ctx, m); err != nil {
			return in.back(m, err)
		}
	} else if err := in.exclude(ctx, m); err != nil {
		return err
	}
	in.become(in.find(&m.handle), Exclusive)
	return nil
}

// back makes a reader again of one that could become upgradable and no more.
func (s *session) back(m *RWMutex, err error) error {
	h := s.find(&m.handle)
	h.cover()
	if e := m.toReader((*core).isUpgradable, (*core).isUpgradable); e != nil {
		s.display(h, 1)
		return errors.Join(err, e)
	}
	s.become(h, Shared)
	return err
}

// UpgradeToU makes a read lock upgradable, and waits for who holds it so. With
// an error the lock is held as before.
func (s *Session) UpgradeToU(ctx context.Context, m *RWMutex) error {
	if _, err := s.in.convertible("upgrade", m, Shared); err != nil {
		return err
	}
	return s.in.upgradeReader(ctx, m)
}

func (s *session) upgradeReader(ctx context.Context, m *RWMutex) error {
	if _, err := s.takeWord(ctx, m); err != nil {
		return err
	}
	s.become(s.find(&m.handle), Upgradable)
	return m.RRelease()
}

// TryUpgrade makes a read lock exclusive if nobody else holds it in any way;
// else it is held as before.
func (s *Session) TryUpgrade(m *RWMutex) (bool, error) {
	h, err := s.in.convertible("upgrade", m, Shared)
	if err != nil || !m.TryUpgrade() {
		return false, err
	}
	s.in.become(h, Exclusive)
	return true, nil
}

// Downgrade makes an exclusive lock a read lock, as [RWMutex.Downgrade] does.
// It returns ErrNotHeld, and ErrMode if the lock is not held exclusively or
// has been entered more than once.
func (s *Session) Downgrade(m *RWMutex) error {
	return s.downgrade(m, Exclusive, Shared, func() error { return m.toReader((*core).isExclusive, (*core).open) })
}

// DowngradeToU makes an exclusive lock upgradable; its errors are Downgrade's.
func (s *Session) DowngradeToU(m *RWMutex) error {
	return s.downgrade(m, Exclusive, Upgradable, func() error {
		return m.ending("downgrade", func(c *core, b *binding) bool {
			raceRelease(c, b)
			return c.open(b)
		})
	})
}

// UDowngrade makes an upgradable lock a read lock; its errors are Downgrade's.
func (s *Session) UDowngrade(m *RWMutex) error {
	return s.downgrade(m, Upgradable, Shared, func() error { return m.toReader((*core).isUpgradable, (*core).isUpgradable) })
}

func (s *Session) downgrade(m *RWMutex, from, to Mode, f func() error) error {
	in := s.in
	h, err := in.convertible("downgrade", m, from)
	if err != nil {
		return err
	}
	if h.depth > 1 {
		return in.fail("downgrade", m.cell.name, fmt.Errorf("%w: entered %d times", ErrMode, h.depth))
	}
	h.cover()
	if err := f(); err != nil {
		in.display(h, 1)
		return err
	}
	in.become(h, to)
	return nil
}

// convertible returns what the session holds of m, if in one of these modes.
func (s *session) convertible(what string, m *RWMutex, from ...Mode) (*hold, error) {
	if err := s.check(what, m.cell.name); err != nil {
		return nil, err
	}
	h := s.find(&m.handle)
	if h == nil {
		return nil, s.fail(what, m.cell.name, fmt.Errorf("%w by this session", ErrNotHeld))
	}
	for _, mode := range from {
		if h.mode == mode {
			return h, nil
		}
	}
	return nil, s.fail(what, m.cell.name, fmt.Errorf("%w: %v", ErrMode, h.mode))
}

func (m *RWMutex) releaseFrom(mode Mode) error {
	switch mode {
	case Shared:
		return m.RRelease()
	case Upgradable:
		return m.URelease()
	}
	return m.Release()
}
