package arena

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// What the methods of RWMutex are made of.

// readFast is the fast path of a read lock that does not have to wait. It
// looks at the gate first, so that who tries again and again disturbs no writer.
func (h *handle) readFast() bool {
	r := h.cell.loadReading()
	if !variantPassGate && atomic.LoadUint64(r.gate) != 0 {
		return false
	}
	if counts(atomic.AddUint64(r.counts, uint64(oneReader))).isOpen() && (variantPassGate || atomic.LoadUint64(r.gate) == 0) {
		return true
	}
	r.takeBack()
	return false
}

// readLooking is the fast path in the wrong order.
func (h *handle) readLooking(r *reading) bool {
	if atomic.LoadUint64(r.gate) != 0 {
		return false
	}
	if counts(atomic.AddUint64(r.counts, uint64(oneReader))).isOpen() {
		return true
	}
	r.takeBack()
	return false
}

// rLockSlow is kept out of line, as rUnlockSlow is, for the fast paths need no
// stack of their own then.
//
//go:noinline
func (m *RWMutex) rLockSlow(r *reading) {
	r.takeBack()
	q, done := m.unfailing()
	defer done()
	must(m.readWaiting(q))
}

//go:noinline
func (m *RWMutex) rUnlockSlow(r *reading, n counts) { must(m.readReleased(r, n)) }

// takeBack undoes an addition to r by a fast path.
func (r *reading) takeBack() {
	r.tell(counts(atomic.AddUint64(r.counts, ^uint64(oneReader-1))))
}

// tell wakes a writer that may wait for the fast path that left n.
func (r *reading) tell(n counts) {
	if r.cell != nil && n.isOpen() {
		r.core.tellWriter(r.slot, r.cell, n)
	}
}

// readReleased ends a release whose fast path subtracted from r, left n, and
// found that this may not be all.
func (h *handle) readReleased(r *reading, n counts) error {
	if n.isOpen() {
		r.tell(n)
		return nil
	}
	r.tell(counts(atomic.AddUint64(r.counts, uint64(oneReader))))
	return h.readRelease()
}

// inside calls f if the arena is open, and keeps it so.
func (h *handle) inside(f func(c *core) error) error {
	c := h.arena.core
	if h.arena.closed.Load() || !c.gate.enter() {
		return h.explain(ErrClosed, 0)
	}
	defer c.gate.leave()
	return f(c)
}

// ending calls f with the binding of a lock that this process may hold, and
// returns ErrNotHeld if f does not find it so.
func (h *handle) ending(what string, f func(c *core, b *binding) bool) error {
	c := h.arena.core
	if !c.gate.enter() {
		return nil // closing gives everything back
	}
	defer c.gate.leave()
	if b := h.binding(); c.stale(b) || !f(c, b) {
		return h.notHeld(what)
	}
	return nil
}

// takeWord takes the owner word, which is the upgradable lock. The gate may
// have been left shut by one who is gone.
func (m *RWMutex) takeWord(c *core, q request) (*binding, error) {
	b := m.binding()
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		if err := m.acquire(q); err != nil {
			return nil, err
		}
		b = m.binding()
	}
	c.reopen(b.index, b.slot)
	return b, nil
}

// tryWord is takeWord that does not wait; nil if the word was not to be had.
func (m *RWMutex) tryWord(c *core) *binding {
	b := m.binding()
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		if !m.tryLockSlow() {
			return nil
		}
		b = m.binding()
	}
	c.reopen(b.index, b.slot)
	return b
}

// lock takes the lock exclusively. A fast path has perhaps taken the word, of b,
// and shut the gate.
func (m *RWMutex) lock(q request, b *binding, shut bool) error {
	inside := false
	err := m.inside(func(c *core) (err error) {
		inside = true
		if b == nil {
			b, err = m.takeWord(c, q)
		} else if !shut {
			c.reopen(b.index, b.slot)
		}
		if err != nil {
			return err
		}
		if shut {
			err = c.excludeShut(q, b)
		} else {
			err = c.exclude(q, b)
		}
		if err != nil {
			c.release(b, 0)
			return m.explainDrain(err)
		}
		return nil
	})
	if b != nil && !inside {
		m.putBack(b)
	}
	return err
}

// ulock takes the lock upgradably; a fast path has perhaps taken the word, of b.
func (m *RWMutex) ulock(q request, b *binding) error {
	inside := false
	err := m.inside(func(c *core) (err error) {
		inside = true
		if b == nil {
			_, err = m.takeWord(c, q)
		} else {
			c.reopen(b.index, b.slot)
		}
		return err
	})
	if b != nil && !inside {
		m.putBack(b)
	}
	return err
}

// upgrade makes an upgradable holding exclusive; a fast path has perhaps shut
// the gate, of b.
func (m *RWMutex) upgrade(q request, b *binding) error {
	inside := false
	err := m.inside(func(c *core) (err error) {
		inside = true
		if b != nil {
			err = c.excludeShut(q, b)
		} else if b = m.binding(); c.stale(b) {
			return m.notHeld("upgrade")
		} else {
			err = c.exclude(q, b)
		}
		if err != nil {
			return m.explainDrain(err)
		}
		return nil
	})
	if b != nil && !inside {
		m.openAgain(b)
	}
	return err
}

// tryWriter takes the lock exclusively; if own is not nil, instead of the one
// read lock that is counted there.
func (m *RWMutex) tryWriter(c *core, own *record) bool {
	b := m.tryWord(c)
	if b == nil {
		return false
	}
	if c.tryExclude(b, own, &m.cell.judged) {
		return true
	}
	c.release(b, 0)
	return false
}

// explainDrain is explain for who gave up waiting for readers.
func (m *RWMutex) explainDrain(err error) error {
	var by *readBy
	if !errors.As(err, &by) {
		return m.notHeld("lock")
	}
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return m.explain(by.err, 0)
	}
	e := &TimeoutError{Lock: m.cell.name, Waited: time.Duration(futex.Now() - by.began)}
	if p, ok := m.arena.core.peerOf(by.member); ok {
		e.HolderPID, e.HolderLabel = int(p.identity.PID), p.label
	}
	return e
}

// toReader turns the lock into a read lock: counted first, then the rest is
// given up by end.
func (m *RWMutex) toReader(holds, end func(*core, *binding) bool) error {
	return m.inside(func(c *core) error {
		b := m.binding()
		if c.stale(b) || !holds(c, b) {
			return m.notHeld("downgrade")
		}
		raceRelease(c, b)
		for {
			r, err := m.reading(context.Background())
			if err != nil {
				return err
			}
			n := counts(r.cell.counts.Add(uint64(oneReader)))
			if n.isOpen() {
				crash.At("downgrade.counted")
				if !end(c, b) || !c.release(b, 0) {
					c.leave(r.slot, r.cell)
					return m.notHeld("downgrade")
				}
				return nil
			}
			c.leave(r.slot, r.cell)
			if n.isFull() {
				return m.tooManyReaders()
			}
		}
	})
}

// abandon gives up the exclusive lock because of a panic.
func (m *RWMutex) abandon() {
	m.ending("unlock", func(c *core, b *binding) bool {
		if !c.isExclusive(b) {
			return false
		}
		storeDeath(b.slot, Panicked, c.identity.PID, c.options.Label)
		for {
			w := robust.Word(b.slot.word.Load())
			if !w.SameHolding(c.self) {
				return false
			}
			if c.addFlags(b.slot, w, robust.Abandoned) { // A comes before the gate opens
				break
			}
		}
		crash.At("abandon.marked")
		raceRelease(c, b)
		return c.open(b) && c.release(b, 0)
	})
}

func (c *core) isUpgradable(b *binding) bool {
	return robust.Word(b.slot.word.Load()).SameHolding(c.self) && b.slot.state.Load() == 0
}
