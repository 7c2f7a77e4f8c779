package arena

import (
	"context"
	"fmt"
	"time"

	"lockd/robust"
)

// handle is what the handles of all kinds have in common: a name in an arena,
// and taking and giving back the slot that the name is in.
type handle struct {
	cell *cell
	*approach
}

// approach is what a handle adds to its cell: the opening that it goes through,
// and its patience. Most handles of an opening share one, so that what a fast
// path reads of a handle and its cell is one line of the processor's cache: see
// namedCell.
type approach struct {
	arena *Arena
	own   *Patience // nil: the arena's
}

func (h *handle) binding() *binding { return h.cell.binding() }

// Name returns the lock's name.
func (h *handle) Name() string { return h.cell.name }

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

	tracking *tracking // nil: nothing is counted
}

func (b *binding) key() lotKey { return lotKey{b.index, b.generation} }

// unbound is the binding of a handle that was never used: it always misses.
var unbound = &binding{word: new(uint64), free: 1, self: 1}

// lockContextSlow waits as the context and the handle's patience say.
func (h *handle) lockContextSlow(ctx context.Context) error {
	if h.takeTracked() {
		return nil
	}
	r, done := h.patiently(ctx)
	defer done()
	return h.acquire(r)
}

// tryPatience bounds what a try spends on making a slot for a new name: the
// holder of the stripe's latch may be stopped. Tests, for which only that is a
// reason to give up, and not a busy machine, have more.
var tryPatience = 10 * time.Millisecond

// tryLockSlow is a try whose fast path missed.
func (h *handle) tryLockSlow() bool {
	if h.takeTracked() {
		return true
	}
	c := h.arena.core
	if h.arena.closed.Load() || !c.gate.enter() {
		return false
	}
	defer c.gate.leave()
	ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
	defer cancel()
	for again := false; ; again = true {
		b := h.binding()
		out := stale
		if !c.stale(b) {
			out = c.try(b, &h.cell.judged)
		}
		switch out {
		case taken:
			raceAcquire(c, b)
			c.tallyTaken(b, 0)
			return true
		case busy:
			return false
		}
		// Who was not let run for so long has a try all the same.
		if again && ctx.Err() != nil || h.bind(ctx, b) != nil {
			return false
		}
	}
}

// bind looks the name up and ties it to its slot instead of to what the old
// binding says.
func (h *handle) bind(ctx context.Context, old *binding) error {
	c := h.arena.core
	for {
		p, err := c.lookup(ctx, h.cell.name, h.cell.kind)
		if err != nil {
			return err
		}
		if again, err := c.awaitRobbed(ctx, p); err != nil {
			return err
		} else if again {
			continue
		}
		if c.tenants.install(h.cell, old, h.cell.newBinding(c.bindingOf(p))) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func (c *core) bindingOf(p place) binding {
	b := binding{
		word: at[uint64](c.mapped.Load(), slotOffset(p.index)), free: uint64(robust.Free(p.generation)), self: uint64(c.self),
		slot: p.slot, index: p.index, generation: p.generation, mapping: c.mapped.Load(),
	}
	c.track(&b, p.kind)
	if slowOnly {
		b.free, b.self = unbound.free, unbound.self
	}
	return b
}

// release gives the lock back; with A in extra, as abandoned by a panic.
func (h *handle) release(extra robust.Word) error {
	if extra == 0 && h.giveTracked() {
		return nil
	}
	c := h.arena.core
	if !c.gate.enter() {
		return nil // closing gives everything back
	}
	defer c.gate.leave()
	if b := h.binding(); variantExchangeUnlock && b != unbound {
		w := robust.Word(b.slot.word.Swap(uint64(robust.Free(slotLife(b.slot.life.Load()).generation()))))
		c.wakeAfter(b.key(), b.slot, w, true)
		return h.noticeRobbery()
	}
	if b := h.present(); b != unbound && !c.stale(b) && c.release(b, extra) {
		return nil
	}
	if err := h.noticeRobbery(); err != nil {
		return err
	}
	return fmt.Errorf("arena: unlock of %q: %w by this process", h.cell.name, ErrNotHeld)
}

// held calls f with the binding of a lock that this process holds, and
// returns ErrNotHeld if it does not.
func (h *handle) held(what string, f func(c *core, b *binding) bool) error {
	c := h.arena.core
	if !c.gate.enter() {
		return fmt.Errorf("arena: %s of %q: %w", what, h.cell.name, ErrClosed)
	}
	defer c.gate.leave()
	b := h.present()
	if c.stale(b) || !robust.Word(b.slot.word.Load()).SameHolding(c.self) || !f(c, b) {
		return fmt.Errorf("arena: %s of %q: %w by this process", what, h.cell.name, ErrNotHeld)
	}
	return nil
}
