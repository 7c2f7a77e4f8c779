package arena

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"lockd/futex"
)

// Lockable is a *Mutex or an *RWMutex.
type Lockable interface {
	Name() string
	lockable() *handle
}

func (m *Mutex) lockable() *handle   { return &m.handle }
func (m *RWMutex) lockable() *handle { return &m.handle }

// Lock takes a mutex, or an rwmutex exclusively, waiting until the context ends
// or the time is over that the handle's Patience gives. Errors are those of
// [Mutex.LockContext] and ErrDeadlock, with any of which the lock is not held,
// and ErrSessionClosed and ErrConcurrent.
//
// A session that holds the lock already, in whichever way, is told ErrDeadlock
// at once; if it is reentrant and holds it exclusively, it enters it once more.
func (s *Session) Lock(ctx context.Context, l Lockable) error {
	defer runtime.KeepAlive(s)
	if m, ok := l.(*Mutex); ok && s.in.lockFast(m) {
		return nil
	}
	return s.in.lock(ctx, l)
}

// lockFast takes a mutex that is free.
func (s *session) lockFast(m *Mutex) bool {
	if s.state.Load() != sessionOpen || len(s.held.free) == 0 || m.arena.core != s.core || s.held.find(m.cell) >= 0 {
		return false
	}
	b := m.binding()
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		return false
	}
	s.taken(m.cell, b.index, Exclusive, 1)
	return true
}

// TryLock is Lock that does not wait. It is false, without an error, if
// somebody else holds the lock.
func (s *Session) TryLock(l Lockable) (bool, error) {
	defer runtime.KeepAlive(s)
	in := s.in
	if entered, err := in.enter("try", l.lockable(), Exclusive); entered || err != nil {
		return entered, err
	}
	switch l := l.(type) {
	case *Mutex:
		if l.TryLock() {
			in.taken(l.cell, l.binding().index, Exclusive, 1)
			return true, nil
		}
	case *RWMutex:
		if l.TryLock() {
			in.taken(l.cell, l.binding().index, Exclusive, 1)
			return true, nil
		}
	}
	return false, nil
}

// Unlock gives back what Lock or TryLock took, or what Upgrade made exclusive.
// If the session does not hold the lock it returns ErrNotHeld, if not so
// ErrMode, and nothing has changed. An error that is ErrNotHeld also says that
// somebody else has released the lock past the session, which holds it no more.
func (s *Session) Unlock(l Lockable) error {
	defer runtime.KeepAlive(s)
	in := s.in
	if m, ok := l.(*Mutex); ok && in.state.Load() == sessionOpen {
		if i := in.held.find(m.cell); i >= 0 && in.held.list[i].depth == 1 {
			h := &in.held.list[i]
			h.cover()
			b := m.binding()
			if !atomic.CompareAndSwapUint64(b.word, b.self, b.free) {
				return in.gaveBack(h, m.release(0))
			}
			in.drop(h)
			return nil
		}
	}
	return in.leave("unlock", l.lockable(), Exclusive)
}

func (s *session) lock(ctx context.Context, l Lockable) error {
	if entered, err := s.enter("lock", l.lockable(), Exclusive); entered || err != nil {
		return err
	}
	switch l := l.(type) {
	case *Mutex:
		return s.lockMutex(ctx, l)
	case *RWMutex:
		return s.lockRW(ctx, l)
	}
	return nil
}

func (s *session) lockMutex(ctx context.Context, m *Mutex) error {
	b, err := s.bound(ctx, &m.handle)
	if err != nil {
		return err
	}
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		err := s.wait(ctx, &m.handle, Exclusive, 1, func(ctx context.Context, _ *sessionWait) error {
			return m.lockContextSlow(ctx)
		})
		if err != nil {
			return err
		}
		b = m.binding() // what is held does not move
	}
	s.taken(m.cell, b.index, Exclusive, 1)
	return nil
}

// enter begins to take a lock. It is true if the session had it, and has
// entered it once more.
func (s *session) enter(what string, h *handle, mode Mode) (bool, error) {
	if err := s.check(what, h.cell.name); err != nil {
		return false, err
	}
	if h.arena.core != s.core {
		return false, s.fail(what, h.cell.name, fmt.Errorf("%w: it is a lock of another arena, %s", ErrOptions, h.arena.core.path))
	}
	if had := s.find(h); had != nil {
		if !s.options.Reentrant || !covers(had.mode, mode) {
			return false, s.selfDeadlock(h, had, mode)
		}
		if had.depth == maxEntries {
			return false, s.fail(what, h.cell.name, fmt.Errorf("%w: entered %d times", ErrMode, had.depth))
		}
		had.depth++
		had.entries[mode&3]++
		return true, nil
	}
	s.reserve()
	return false, nil
}

// covers tells whether who holds a lock in one mode may do what another is for.
func covers(held, mode Mode) bool {
	return held == mode || held == Exclusive || held == Upgradable && mode == Shared
}

// leave ends one entry of a lock, and gives it back with the last.
func (s *session) leave(what string, l *handle, mode Mode) error {
	if err := s.check(what, l.cell.name); err != nil {
		return err
	}
	h := s.find(l)
	switch {
	case h == nil:
		return s.fail(what, l.cell.name, fmt.Errorf("%w by this session", ErrNotHeld))
	case h.entries[mode&3] == 0:
		return s.fail(what, l.cell.name, fmt.Errorf("%w: %v, not %v", ErrMode, h.mode, mode))
	}
	if h.depth > 1 {
		h.depth--
		h.entries[mode&3]--
		return nil
	}
	return s.giveBack(h)
}

// giveBack gives back a lock wholly, however often it was entered.
func (s *session) giveBack(h *hold) error {
	h.cover()
	var err error
	switch l := (handle{h.cell, &s.arena.plain}); h.cell.kind {
	case KindMutex:
		err = (&Mutex{l}).Release()
	case KindRWMutex:
		err = (&RWMutex{l}).releaseFrom(h.mode)
	case KindRanges:
		err = h.more.ranges.ReleaseAll()
	case KindSemaphore:
		for _, t := range h.more.tickets {
			if e := t.Release(); e != nil {
				err = e
			}
		}
	}
	return s.gaveBack(h, err)
}

// gaveBack forgets a lock. An error says that it was not held any more.
func (s *session) gaveBack(h *hold, err error) error {
	name := h.cell.name
	s.drop(h)
	if err != nil {
		return s.fail("release", name, err)
	}
	return nil
}

// bound finds the slot of a lock.
func (s *session) bound(ctx context.Context, h *handle) (*binding, error) {
	c := s.core
	if b := h.binding(); !c.stale(b) {
		return b, nil
	}
	began := futex.Now()
	q, done := h.patiently(ctx)
	defer done()
	if h.arena.closed.Load() || !c.gate.enter() {
		return nil, h.explain(ErrClosed, 0)
	}
	defer c.gate.leave()
	for {
		b := h.binding()
		if !c.stale(b) {
			return b, nil
		}
		if err := h.bind(q.ctx, b); err != nil {
			return nil, h.explain(err, began)
		}
	}
}
