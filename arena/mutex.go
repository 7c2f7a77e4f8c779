package arena

import (
	"context"
	"errors"
	"sync/atomic"

	"lockd/robust"
)

// Mutex is a handle to a named lock that one process at a time can hold. It
// is a [sync.Locker]; make it with [Arena.Mutex], do not copy it. All handles
// of one name in one arena are the same lock, in every process.
//
// A release of the lock happens before the next acquisition of it returns, in
// any process; in Go's memory model's words the former synchronizes before the
// latter. Any goroutine of the process that holds the lock may release it.
//
// When the process that holds it dies, however it dies, the lock passes on:
// see [Mutex.Abandoned].
type Mutex struct{ handle }

// Lock takes the lock, waiting as long as it takes. It panics if the name
// breaks a rule, the table is full, or the arena is closed, before or while it
// waits: LockContext returns an error instead.
func (m *Mutex) Lock() {
	if b := (*binding)(atomic.LoadPointer(&m.cell.bound)); !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		m.lockSlow()
	}
}

// Unlock releases the lock. It panics if this process does not hold it;
// [Mutex.Release] returns an error instead. If an operator took the lock away
// meanwhile the log says so. After the arena was closed, which
// gave the lock back, it does nothing.
func (m *Mutex) Unlock() {
	if b := (*binding)(atomic.LoadPointer(&m.cell.bound)); !atomic.CompareAndSwapUint64(b.word, b.self, b.free) {
		m.unlockSlow()
	}
}

// TryLock takes the lock if nobody living holds it, and says whether it did.
// It does not wait. A failed TryLock orders nothing in memory. It may fail
// for no longer than a millisecond after the owner's death is provable.
func (m *Mutex) TryLock() bool {
	b := m.binding()
	return atomic.CompareAndSwapUint64(b.word, b.free, b.self) || m.tryLockSlow()
}

// LockContext takes the lock, waiting until the context ends or the time is
// over that the handle's Patience gives. If the lock is free it may succeed with a context
// that has ended. Errors: a *TimeoutError, which is ErrTimeout and
// context.DeadlineExceeded; context.Canceled, or the context's cause, wrapped;
// ErrName, ErrKind, ErrTableFull, ErrClosed, ErrReplaced. With any of them the
// lock is not held.
func (m *Mutex) LockContext(ctx context.Context) error {
	if b := m.binding(); atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		return nil
	}
	return m.lockContextSlow(ctx)
}

// Release is Unlock that returns ErrNotHeld instead of panicking, and ErrRobbed
// if the lock was taken away: see [Arena.Break]. To release
// what one does not hold while others use the arena is misuse all the same: it
// is told from the state at one moment.
func (m *Mutex) Release() error {
	if b := m.binding(); atomic.CompareAndSwapUint64(b.word, b.self, b.free) {
		return nil
	}
	return m.release(0)
}

// Do runs f while it holds the lock, waiting for it as LockContext does. It
// returns f's error, or why the lock could not be had or, afterwards, was not
// held any more. If f panics or ends its goroutine the lock is released as
// abandoned, and the panic goes on.
func (m *Mutex) Do(ctx context.Context, f func(context.Context) error) (err error) {
	if err := m.LockContext(ctx); err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned {
			m.release(robust.Abandoned)
			return
		}
		if e := m.releaseOfDo(); e != nil && err == nil {
			err = e
		}
	}()
	err = f(ctx)
	returned = true
	return err
}

// releaseOfDo says, as Release and Unlock do not, when Close has given the lock
// away meanwhile.
func (m *Mutex) releaseOfDo() error {
	err := m.Release()
	if err == nil && m.arena.core.gate.closing() {
		return m.explain(ErrClosed, 0)
	}
	return err
}

// Mutex returns a handle to the mutex of this name, 1 to MaxName bytes without
// NUL. It never fails: a name that breaks a rule, or is in use by another kind
// of lock, shows when the handle is first used. Handles are cheap, need no
// closing and may be kept.
func (a *Arena) Mutex(name string) *Mutex {
	return (*Mutex)(a.mutexes.named(a, KindMutex, name))
}

// lockSlow is kept out of line so that Lock stays small enough to be inlined.
//
//go:noinline
func (m *Mutex) lockSlow() {
	if m.takeTracked() {
		return
	}
	r, done := m.unfailing()
	defer done()
	if err := m.acquire(r); err != nil {
		panic(err)
	}
}

//go:noinline
func (m *Mutex) unlockSlow() {
	if err := m.release(0); err != nil && !errors.Is(err, ErrRobbed) {
		panic(err)
	}
}
