package arena

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

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
type Mutex struct {
	cell  *cell
	arena *Arena
}

// binding ties a name to the slot that it is in, in one generation of that
// slot. It never changes; when the slot is given to another name, the name's
// cell gets another binding.
type binding struct {
	word       *uint64
	free, self uint64 // the words that the fast paths swap

	slot       *slot
	index      uint32
	generation uint32
	mapping    *mapping // keeps what slot points to
}

// unbound is the binding of a handle that was never used: it always misses.
var unbound = &binding{word: new(uint64), free: 1, self: 1}

func (m *Mutex) binding() *binding { return m.cell.binding() }

// Name returns the lock's name.
func (m *Mutex) Name() string { return m.cell.name }

// Lock takes the lock, waiting as long as it takes. It panics if the name
// breaks a rule, the table is full, or the arena is closed, before or while it
// waits: LockContext returns an error instead.
func (m *Mutex) Lock() {
	if b := (*binding)(atomic.LoadPointer(&m.cell.bound)); !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		m.lockSlow()
	}
}

// Unlock releases the lock. It panics if this process does not hold it;
// [Mutex.Release] returns an error instead. After the arena was closed, which
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

// LockContext takes the lock, waiting until the context ends or the arena's
// Options.Timeout is over. If the lock is free it may succeed with a context
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

// Release is Unlock that returns ErrNotHeld instead of panicking.
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
		if e := m.Release(); e != nil && err == nil {
			err = e
		}
	}()
	err = f(ctx)
	returned = true
	return err
}

// Mutex returns a handle to the mutex of this name, 1 to MaxName bytes without
// NUL. It never fails: a name that breaks a rule, or is in use by another kind
// of lock, shows when the handle is first used. Handles are cheap, need no
// closing and may be kept.
func (a *Arena) Mutex(name string) *Mutex {
	return a.handles.mutex(a, name)
}

// lockSlow is kept out of line so that Lock stays small enough to be inlined.
//
//go:noinline
func (m *Mutex) lockSlow() {
	if err := m.acquire(request{ctx: context.Background(), unfailing: true}); err != nil {
		panic(err)
	}
}

//go:noinline
func (m *Mutex) unlockSlow() {
	if err := m.release(0); err != nil {
		panic(err)
	}
}

func (m *Mutex) lockContextSlow(ctx context.Context) error {
	if d := m.arena.options.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return m.acquire(request{ctx: ctx})
}

// tryPatience bounds what a try spends on making a slot for a new name: the
// holder of the stripe's latch may be stopped.
const tryPatience = 10 * time.Millisecond

func (m *Mutex) tryLockSlow() bool {
	c := m.arena.core
	if m.arena.closed.Load() || !c.gate.enter() {
		return false
	}
	defer c.gate.leave()
	for {
		b := m.binding()
		if b == unbound || c.stale(b) {
			ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
			err := m.bind(ctx, b)
			cancel()
			if err != nil {
				return false
			}
			continue
		}
		switch c.try(b, &m.cell.judged) {
		case taken:
			raceAcquire(c, b)
			return true
		case busy:
			return false
		}
	}
}

// bind looks the name up and ties it to its slot instead of to what the old
// binding says.
func (m *Mutex) bind(ctx context.Context, old *binding) error {
	p, err := m.arena.core.lookup(ctx, m.cell.name, KindMutex)
	if err != nil {
		return err
	}
	m.cell.rebind(old, m.arena.core.bindingOf(p))
	return nil
}

func (c *core) bindingOf(p place) *binding {
	b := &binding{
		word: at[uint64](c.mapping, slotOffset(p.index)), free: uint64(robust.Free(p.generation)), self: uint64(c.self),
		slot: p.slot, index: p.index, generation: p.generation, mapping: c.mapping,
	}
	if slowOnly {
		b.free, b.self = unbound.free, unbound.self
	}
	return b
}

// present returns the binding of a lock that this process may hold: the
// name's, if it is in the table. A lock can be held while all handles that
// knew where it is are gone.
func (m *Mutex) present() *binding {
	if b := m.binding(); b != unbound {
		return b
	}
	c := m.arena.core
	if checkName(m.cell.name) != nil {
		return nil
	}
	p, ok := c.find(hashName(c.head.seed.Load(), m.cell.name), m.cell.name)
	if !ok || p.kind != KindMutex {
		return nil
	}
	m.cell.rebind(unbound, c.bindingOf(p))
	return m.binding()
}

// release gives the lock back; with A in extra, as abandoned by a panic.
func (m *Mutex) release(extra robust.Word) error {
	c := m.arena.core
	if !c.gate.enter() {
		return nil // closing gives everything back
	}
	defer c.gate.leave()
	if b := m.present(); b == nil || !c.release(b, extra) {
		return fmt.Errorf("arena: unlock of %q: %w by this process", m.cell.name, ErrNotHeld)
	}
	return nil
}

// held calls f with the binding of a lock that this process holds, and
// returns ErrNotHeld if it does not.
func (m *Mutex) held(what string, f func(c *core, b *binding) bool) error {
	c := m.arena.core
	if !c.gate.enter() {
		return fmt.Errorf("arena: %s of %q: %w", what, m.cell.name, ErrClosed)
	}
	defer c.gate.leave()
	b := m.present()
	if b == nil || !robust.Word(b.slot.word.Load()).SameHolding(c.self) || !f(c, b) {
		return fmt.Errorf("arena: %s of %q: %w by this process", what, m.cell.name, ErrNotHeld)
	}
	return nil
}
