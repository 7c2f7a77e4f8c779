package arena

import (
	"context"
	"fmt"
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// The writers of an rwmutex. Who holds the owner word, which is taken and
// given back exactly as a mutex is, holds the lock upgradably: readers come
// and go beside it, another writer or upgradable holder does not. To exclude
// the readers too it shuts the gate and waits until the cells are empty.
//
//	gate       word      the lock is
//	0          free      free, or read
//	0          held      held upgradably, beside readers
//	holder, W  held      about to be held exclusively: readers are waited for
//	holder     held      held exclusively
//	any        free      free; whoever notices opens the gate
//
// Only who holds the word writes the gate. Opening it, the holder lets in all
// who wait before it gives up the word: they wait for one writer at most, and
// the next writer for those that were inside when it shut the gate.
//
// Who may die where:
//
//	shut, not W         exclusive: abandoned, even if it never got in
//	shut with W         it had changed nothing: not abandoned
//	opened, not granted those who wait let themselves in at their next look
//	reclaimed, not opened the next reclaimer opens it; A stands in the word

// halfChanged tells whether the death of who holds the slot leaves what it
// protects in doubt.
func halfChanged(s *slot) bool {
	if slotLife(s.life.Load()).kind() != KindRWMutex {
		return true
	}
	gate := robust.Word(s.state.Load())
	return gate != 0 && !gate.Has(robust.Waiters)
}

// reopen opens the gate that a holder left shut which is gone. The caller
// holds the word, and the lock itself not yet.
func (c *core) reopen(i uint32, s *slot) {
	if slotLife(s.life.Load()).kind() != KindRWMutex || s.state.Load() == 0 {
		return
	}
	s.state.Store(0)
	crash.At("reopen.opened")
	c.grantAll(i, s)
}

// shut makes the gate ours. It is false if this process does not hold the
// lock upgradably.
func (c *core) shut(b *binding) bool {
	return robust.Word(b.slot.word.Load()).SameHolding(c.self) && b.slot.state.CompareAndSwap(0, uint64(c.self))
}

// open opens the gate. It is false if this process does not hold the lock
// exclusively.
func (c *core) open(b *binding) bool {
	if !c.isExclusive(b) || !b.slot.state.CompareAndSwap(uint64(c.self), 0) {
		return false
	}
	crash.At("open.opened")
	c.grantAll(b.index, b.slot)
	crash.At("open.granted")
	return true
}

func (c *core) isExclusive(b *binding) bool {
	return robust.Word(b.slot.word.Load()).SameHolding(c.self) && b.slot.state.Load() == uint64(c.self)
}

// exclude makes an upgradable holding exclusive. With an error the gate is
// open and the word is still ours.
func (c *core) exclude(q request, b *binding) error {
	if !c.shut(b) {
		return ErrNotHeld
	}
	return c.excludeShut(q, b)
}

// excludeShut is exclude for who has shut the gate.
func (c *core) excludeShut(q request, b *binding) error {
	crash.At("exclude.shut")
	if err := c.drain(q, b); err != nil {
		c.reopen(b.index, b.slot)
		return err
	}
	crash.At("exclude.drained")
	raceWriteAcquire(c, b)
	return nil
}

// draining is a writer of this process that sleeps until a cell is empty.
type draining struct {
	core   *core
	cell   atomic.Pointer[record]
	nudged alarm
	seen   counts
}

func (d *draining) nudge() {
	d.nudged.ring()
}

func (d *draining) rouse() { d.nudge() }

func (d *draining) look() (changed bool) {
	x := d.cell.Load()
	n := x.load()
	changed = n != d.seen
	d.seen = n
	if n.isEmpty() {
		d.nudge()
	} else if !changed {
		if _, verdict := d.core.judge(ownerOfRecord(x.owner.Load())); verdict == robust.Gone {
			d.nudge()
		}
	}
	return changed
}

// drain waits until nobody reads. The gate is shut, so a cell that has been
// empty once is not looked at again: whoever comes now leaves again.
func (c *core) drain(q request, b *binding) error {
	waited := false
	for _, x := range c.chain(b.index, b.slot) {
		for looks := 0; multicore && looks < spinLooks && !x.load().isEmpty(); looks++ {
			futex.Pause(spinPauses())
		}
		if x.load().isEmpty() {
			continue
		}
		// Readers look for W after they have left, and this looks at them
		// after W is set.
		b.slot.state.Store(uint64(c.self | robust.Waiters))
		crash.At("drain.flagged")
		waited = true
		if err := c.drainCell(q, b.slot, x); err != nil {
			return err
		}
	}
	if waited {
		b.slot.state.Store(uint64(c.self))
		crash.At("drain.done")
	}
	return nil
}

func (c *core) drainCell(q request, s *slot, x *record) error {
	began := futex.Now()
	c.ticker.newcomer()
	defer c.ticker.gone()
	d := &draining{core: c}
	d.cell.Store(x)
	c.dozers.enter(d)
	c.ticker.stir()
	defer c.dozers.leave(d)
	if q.ctx.Done() != nil {
		stop := context.AfterFunc(q.ctx, d.nudge)
		defer stop()
	}
	var met robust.Member
	for {
		nudged := d.nudged.Swap(0) != 0
		n := x.load()
		if n.isEmpty() {
			return nil
		}
		owner := x.owner.Load()
		if err := c.stopped(q); err != nil {
			return &readBy{err: err, member: ownerOfRecord(owner), began: began}
		}
		if kindOfRecord(owner) == recordVacant {
			c.bury(nil, x, owner)
			continue
		}
		if m := ownerOfRecord(owner); m != c.member && (nudged || m != met) {
			met = m
			if _, verdict := c.meet(m, nudged); !variantSharedReaderCount && verdict == robust.Gone {
				c.bury(nil, x, owner)
				met = robust.Member{}
				continue
			}
		}
		crash.At("drain.sleep")
		c.muxer.sleep(futex.High(&x.counts), n.high(), &d.nudged)
		crash.At("drain.woken")
	}
}

// readBy is why a writer gave up, and who read then.
type readBy struct {
	err    error
	member robust.Member
	began  int64
}

func (e *readBy) Error() string {
	return fmt.Sprintf("%v while member %d reads", e.err, e.member.Index)
}
func (e *readBy) Unwrap() error { return e.err }

// tryExclude makes an upgradable holding exclusive if nobody reads who lives;
// the one reader that is counted in own, if that is not nil, becomes the
// writer. If it fails the gate is open and the word still ours.
func (c *core) tryExclude(b *binding, own *record, judged *atomic.Int64) bool {
	if !c.shut(b) {
		return false
	}
	b.slot.state.Store(uint64(c.self | robust.Waiters)) // if it dies now it was no writer
	crash.At("try-exclude.shut")
	for _, x := range c.chain(b.index, b.slot) {
		if x != own && !x.load().isEmpty() && !c.buryIfGone(x, judged) {
			c.reopen(b.index, b.slot)
			return false
		}
	}
	// Exclusive from here on, and one of those that are counted no reader.
	b.slot.state.Store(uint64(c.self))
	crash.At("try-exclude.exclusive")
	for own != nil {
		n := own.load()
		if !n.isOpen() || n.held() != 1 {
			c.reopen(b.index, b.slot)
			return false
		}
		if own.swap(n, n-oneReader) {
			break
		}
	}
	raceWriteAcquire(c, b)
	return true
}

// buryIfGone takes the readers of a member that is gone out of a cell.
func (c *core) buryIfGone(x *record, judged *atomic.Int64) bool {
	owner := x.owner.Load()
	if kindOfRecord(owner) == recordReaders {
		if m := ownerOfRecord(owner); m == c.member || variantSharedReaderCount || !c.mayJudge(judged) {
			return false
		} else if _, verdict := c.judge(m); verdict != robust.Gone {
			return false
		}
	}
	c.bury(nil, x, owner)
	return x.load().isEmpty()
}
