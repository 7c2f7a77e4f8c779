package arena

import (
	"context"
	"fmt"
	"time"

	"lockd/internal/crash"
	"lockd/robust"
)

// The robbed: see robbery.go.

// robbed tells whether a holder in this process was robbed of the slot and has
// not noticed, or may just be about to be.
func (c *core) robbed(index uint32, s *slot) (found *record) {
	if s.state.Load() != hasRobberies {
		return nil
	}
	c.eachRobbery(index, func(r *record, victim robust.Member) bool {
		if victim == c.member {
			found = r
		}
		return found == nil
	})
	return found
}

// robbedPause is how long a process waits between two looks whether its robbed
// holder has noticed.
const robbedPause = 5 * time.Millisecond

// awaitRobbed waits for a holder of this process that was robbed of the place;
// true: the name has to be looked up again.
func (c *core) awaitRobbed(ctx context.Context, p place) (bool, error) {
	if p.kind != KindMutex || variantRobbedRebinds || c.robbed(p.index, p.slot) == nil {
		return false, nil
	}
	c.settling.kick() // the robber may have died before he came to his end
	select {
	case <-time.After(robbedPause):
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c.gate.closed:
		return false, ErrClosed
	}
}

// present is the handle's binding or, if somebody set out to rob this process
// of the slot and did not come to his end, one for the generation in which it
// is held now. It is not to be kept: the robber may be at work still.
func (h *handle) present() *binding {
	c, b := h.arena.core, h.binding()
	if b == unbound || !c.stale(b) || h.cell.kind != KindMutex || b.slot.state.Load() != hasRobberies {
		return b
	}
	p, ok := c.match(b.index, b.slot, hashName(c.head.seed.Load(), h.cell.name), h.cell.name)
	if !ok || !robust.Word(p.slot.word.Load()).SameHolding(c.self) {
		return b
	}
	now := c.bindingOf(p)
	return &now
}

// noticeRobbery tells a holder that was robbed, once.
func (h *handle) noticeRobbery() error {
	c, b := h.arena.core, h.binding()
	if b == unbound || h.cell.kind != KindMutex {
		return nil
	}
	robber, when, robbed := c.consumeRobbery(b.index, b.slot)
	if !robbed {
		return nil
	}
	at := time.Unix(0, int64(when)).Format(time.TimeOnly)
	c.log.Warn("released a lock that had been taken away", "lock", h.cell.name, "by", robber, "at", at)
	return fmt.Errorf("arena: unlock of %q: %w, by pid %d at %s", h.cell.name, ErrRobbed, robber, at)
}

// consumeRobbery ends one robbery of this process: who was robbed has noticed.
func (c *core) consumeRobbery(index uint32, s *slot) (robber uint32, when uint64, robbed bool) {
	for r := c.robbed(index, s); r != nil; r = c.robbed(index, s) {
		owner := r.owner.Load()
		robber, when = r.count.Load(), r.since.Load()
		if victim, still := robberyOf(r, index); still && victim == c.member && r.owner.CompareAndSwap(owner, 0) {
			crash.At("rob.noticed")
			return robber, when, true
		}
	}
	return 0, 0, false
}

// giveBackRobberies drops the robberies of which this process, which leaves,
// has not noticed.
func (c *core) giveBackRobberies() {
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		if r.owner.CompareAndSwap(recordOwner(c.member, recordRobbery), 0) {
			crash.At("give.robbery")
		}
	}
}
