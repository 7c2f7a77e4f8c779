package arena

import (
	"context"
	"sync"
	"sync/atomic"
)

// RWMutex is a handle to a named lock that any number of processes can hold
// for reading, or one exclusively. Beside readers, one can hold it upgradably:
// it reads, keeps writers and other upgradable holders out, and can become the
// writer without letting anybody in between.
//
//	             beside readers  beside the upgradable one  beside a writer
//	RLock        yes             yes                        no
//	ULock        yes             no                         no
//	Lock         no              no                         no
//
// Make it with [Arena.RWMutex], do not copy it. All handles of one name in one
// arena are the same lock, in every process. Holdings belong to the process:
// any goroutine of it may release them.
//
// What happens before Unlock happens before the next RLock, ULock or Lock
// returns; what happens before RUnlock, before the next Lock or Upgrade
// returns; both in any process. Upgrades and downgrades are releases and
// acquisitions in that sense.
//
// Neither side starves: a writer that waits keeps new readers out, and readers
// that wait go before the next writer. So a goroutine that holds the lock for
// reading must not RLock it again, as with [sync.RWMutex].
//
// A reader that dies is taken out. A writer that dies leaves the lock
// abandoned: see [RWMutex.Abandoned]. An upgradable holder that dies does not,
// for it has changed nothing.
type RWMutex struct{ handle }

// RWMutex returns a handle to the readers-writer lock of this name, as
// [Arena.Mutex] does to a mutex.
func (a *Arena) RWMutex(name string) *RWMutex {
	return (*RWMutex)(a.rwmutexes.named(a, KindRWMutex, name))
}

// RLock takes the lock for reading, waiting as long as it takes. It panics as
// [Mutex.Lock] does, and if there is no room left to count this process's
// readers in.
func (m *RWMutex) RLock() {
	r := (*reading)(atomic.LoadPointer(&m.cell.reading))
	if variantReaderLooks && m.readLooking(r) {
		return
	}
	if counts(atomic.AddUint64(r.counts, uint64(oneReader)))>>62 != openCell>>62 || atomic.LoadUint64(r.gate) != 0 {
		m.rLockSlow(r)
	}
}

// RUnlock gives back one read lock. It panics if this process holds none;
// [RWMutex.RRelease] returns an error instead. After the arena was closed it
// does nothing.
func (m *RWMutex) RUnlock() {
	r := (*reading)(atomic.LoadPointer(&m.cell.reading))
	if n := counts(atomic.AddUint64(r.counts, ^uint64(oneReader-1))); n>>62 != openCell>>62 || atomic.LoadUint64(r.gate) != 0 {
		m.rUnlockSlow(r, n)
	}
}

// TryRLock takes the lock for reading if no living writer holds or waits for
// it, and says whether it did. A failed TryRLock orders nothing in memory.
func (m *RWMutex) TryRLock() bool {
	return m.readFast() || m.tryReadSlow()
}

// RLockContext takes the lock for reading, waiting until the context ends or
// the time is over that the handle's Patience gives. Errors are those of
// [Mutex.LockContext]; with any of them the lock is not held by this call.
func (m *RWMutex) RLockContext(ctx context.Context) error {
	if m.readFast() {
		return nil
	}
	q, done := m.patiently(ctx)
	defer done()
	return m.readWaiting(q)
}

// RRelease is RUnlock that returns ErrNotHeld instead of panicking.
func (m *RWMutex) RRelease() error {
	r := m.cell.loadReading()
	if n := counts(atomic.AddUint64(r.counts, ^uint64(oneReader-1))); !n.isOpen() || atomic.LoadUint64(r.gate) != 0 {
		return m.readReleased(r, n)
	}
	return nil
}

// RLocker returns a [sync.Locker] whose Lock and Unlock are RLock and RUnlock.
func (m *RWMutex) RLocker() sync.Locker { return (*rlocker)(m) }

type rlocker RWMutex

func (l *rlocker) Lock()   { (*RWMutex)(l).RLock() }
func (l *rlocker) Unlock() { (*RWMutex)(l).RUnlock() }

// Lock takes the lock exclusively, waiting as long as it takes. It panics as
// [Mutex.Lock] does.
func (m *RWMutex) Lock() {
	b, shut := m.wordFast(), false
	if b != nil {
		done := false
		if shut, done = b.shutFast(); done {
			return
		}
	}
	q, done := m.unfailing()
	defer done()
	must(m.lock(q, b, shut))
}

// Unlock gives up the exclusive lock. It panics if this process does not hold
// it exclusively; [RWMutex.Release] returns an error instead. After the arena
// was closed it does nothing.
func (m *RWMutex) Unlock() { must(m.Release()) }

// TryLock takes the lock exclusively if nobody living holds it in any way, and
// says whether it did. It may fail, too, while a reader that comes at the same
// moment finds out that it came too late.
func (m *RWMutex) TryLock() bool {
	done := false
	m.inside(func(c *core) error {
		done = m.tryWriter(c, nil)
		return nil
	})
	return done
}

// LockContext takes the lock exclusively, as [Mutex.LockContext] does. The
// error of a time-out names the holder, or one of the readers.
func (m *RWMutex) LockContext(ctx context.Context) error {
	b, shut := m.wordFast(), false
	if b != nil {
		done := false
		if shut, done = b.shutFast(); done {
			return nil
		}
	}
	q, done := m.patiently(ctx)
	defer done()
	return m.lock(q, b, shut)
}

// Release is Unlock that returns ErrNotHeld instead of panicking.
func (m *RWMutex) Release() error {
	b := m.binding()
	if open, done := b.openFast(); done && atomic.CompareAndSwapUint64(b.word, b.self, b.free) {
		return nil
	} else if open {
		m.opened(b, true)
		return nil
	}
	return m.ending("unlock", func(c *core, b *binding) bool {
		raceRelease(c, b)
		return c.open(b) && c.release(b, 0)
	})
}

// ULock takes the lock upgradably, waiting as long as it takes. It panics as
// [Mutex.Lock] does.
func (m *RWMutex) ULock() {
	b := m.wordFast()
	if b != nil && b.slot.state.Load() == 0 {
		return
	}
	q, done := m.unfailing()
	defer done()
	must(m.ulock(q, b))
}

// UUnlock gives up the upgradable lock. It panics if this process does not
// hold it so; [RWMutex.URelease] returns an error instead. After the arena was
// closed it does nothing.
func (m *RWMutex) UUnlock() { must(m.URelease()) }

// TryULock takes the lock upgradably if nobody living holds it upgradably or
// exclusively, and says whether it did.
func (m *RWMutex) TryULock() bool {
	done := false
	m.inside(func(c *core) error {
		done = m.tryWord(c) != nil
		return nil
	})
	return done
}

// ULockContext takes the lock upgradably, as [Mutex.LockContext] does.
func (m *RWMutex) ULockContext(ctx context.Context) error {
	b := m.wordFast()
	if b != nil && b.slot.state.Load() == 0 {
		return nil
	}
	q, done := m.patiently(ctx)
	defer done()
	return m.ulock(q, b)
}

// URelease is UUnlock that returns ErrNotHeld instead of panicking.
func (m *RWMutex) URelease() error {
	if b := m.binding(); atomic.LoadUint64(b.word) == b.self && b.slot.state.Load() == 0 && atomic.CompareAndSwapUint64(b.word, b.self, b.free) {
		return nil
	}
	return m.ending("upgradable unlock", func(c *core, b *binding) bool {
		return c.isUpgradable(b) && c.release(b, 0)
	})
}

// Upgrade turns the upgradable lock into the exclusive one. It keeps new
// readers out and waits for those inside; nobody else can have held the lock
// exclusively in between. Errors are those of [Mutex.LockContext], with which
// it is held upgradably as before, and ErrNotHeld.
func (m *RWMutex) Upgrade(ctx context.Context) error {
	b := m.binding()
	shut := false
	if atomic.LoadUint64(b.word) == b.self {
		done := false
		if shut, done = b.shutFast(); done {
			return nil
		}
	}
	if !shut {
		b = nil
	}
	q, done := m.patiently(ctx)
	defer done()
	return m.upgrade(q, b)
}

// TryUpgrade turns a read lock of this process into the exclusive lock if
// nobody else, in this process or another, holds the lock in any way. If it
// fails the read lock is held as before. It does not wait, for two readers
// that waited to become writers would wait for each other: who knows that it
// may have to write takes ULock. It panics if this process holds no read lock.
func (m *RWMutex) TryUpgrade() bool {
	done := false
	must(m.inside(func(c *core) error {
		r := m.presentReading()
		if r == nil || r.cell.load().held() == 0 {
			return m.notHeld("upgrade")
		}
		done = m.tryWriter(c, r.cell)
		return nil
	}))
	return done
}

// Downgrade turns the exclusive lock into a read lock; no writer can have held
// it in between. It panics if this process does not hold it exclusively, and
// as RLock does; then it is held as before.
func (m *RWMutex) Downgrade() {
	must(m.toReader((*core).isExclusive, (*core).open))
}

// DowngradeToU turns the exclusive lock into the upgradable one. It panics if
// this process does not hold it exclusively.
func (m *RWMutex) DowngradeToU() {
	b := m.binding()
	if open, done := b.openFast(); done {
		return
	} else if open {
		m.opened(b, false)
		return
	}
	must(m.ending("downgrade", func(c *core, b *binding) bool {
		raceRelease(c, b)
		return c.open(b)
	}))
}

// UDowngrade turns the upgradable lock into a read lock. It panics if this
// process does not hold it upgradably, and as RLock does; then it is held as
// before.
func (m *RWMutex) UDowngrade() {
	must(m.toReader((*core).isUpgradable, (*core).isUpgradable))
}

// Do runs f while it holds the lock exclusively, as [Mutex.Do] does.
func (m *RWMutex) Do(ctx context.Context, f func(context.Context) error) (err error) {
	if err := m.LockContext(ctx); err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned {
			m.abandon()
			return
		}
		if e := m.Release(); e != nil && err == nil {
			err = e
		}
	}()
	err = f(ctx)
	returned = true
	return err
}

// RDo runs f while it holds the lock for reading. It returns f's error, or why
// the lock could not be had. If f panics the lock is given back, and the panic
// goes on.
func (m *RWMutex) RDo(ctx context.Context, f func(context.Context) error) error {
	if err := m.RLockContext(ctx); err != nil {
		return err
	}
	defer m.RRelease()
	return f(ctx)
}

// Abandoned tells who holds the lock, in whichever way, whether a writer ended
// badly while it held it exclusively, and nobody has called MarkConsistent
// since. It is false, too, if this process does not hold the lock.
func (m *RWMutex) Abandoned() (Death, bool) {
	if d, ok := m.abandoned(); ok {
		return d, true
	}
	c := m.arena.core
	if !c.gate.enter() { // a closed opening does: what the process holds it holds
		return Death{}, false
	}
	defer c.gate.leave()
	if r := m.presentReading(); r != nil && r.cell.load().held() > 0 {
		return deathOf(r.slot)
	}
	return Death{}, false
}

// MarkConsistent is [Mutex.MarkConsistent]. Only who holds the lock
// exclusively or upgradably may.
func (m *RWMutex) MarkConsistent() error { return m.markConsistent() }

// Fence is [Mutex.Fence]. Only who holds the lock exclusively or upgradably
// may.
func (m *RWMutex) Fence() (uint64, error) { return m.drawFence() }

func must(err error) {
	if err != nil {
		panic(err)
	}
}
