package arena

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// rangeWait is a request that waits.
type rangeWait struct {
	ticketWait
	span   span
	record *rangeRecord
	party  uint64

	// Who was in its way when it was last looked at; of more, the rest is met
	// when these are gone, or by the ticker.
	met [64]robust.Member
	n   int
}

// failed wraps why something was not done.
func (r *Ranges) failed(what string, err error) error {
	return fmt.Errorf("arena: %s ranges of %q: %w", what, r.cell.name, err)
}

// latched calls f under the latch, and again with more at hand until it says
// that it had enough.
func (r *Ranges) latched(q request, f func(d *rangeDesk) (enough bool)) error {
	c, h := r.arena.core, r.holder
	var stock rangeStock
	defer stock.giveBack(c)
	for {
		if err := r.handle.acquire(q); err != nil {
			return err
		}
		room, enough := 0, false
		r.inside(func(d *rangeDesk) {
			room = h.restock(&stock)
			enough = f(d)
		})
		if enough {
			return nil
		}
		if err := h.prepare(q.ctx, &stock, room); err != nil {
			return r.failed("make room for", err)
		}
	}
}

// inside calls f under the latch, which is held already, and frees it.
func (r *Ranges) inside(f func(d *rangeDesk)) {
	b := r.binding() // what is held is not evicted
	d := &r.holder.desk
	whole := false
	d.c = r.arena.core
	defer d.unlessWhole(&whole, b)
	d.at(r.arena.core, b)
	f(d)
	whole = true
	d.leave()
}

// lockSlow waits for a range.
func (r *Ranges) lockSlow(ctx context.Context, s span) error {
	c := r.arena.core
	if r.arena.closed.Load() || !c.gate.enter() {
		return r.failed("lock", ErrClosed)
	}
	defer c.gate.leave()
	q, done := r.patiently(ctx)
	defer done()
	began := futex.Now()
	w := &rangeWait{span: s, party: r.holder.party()}
	w.ranges, w.wake = w, make(chan struct{}, 1)
	taken := false
	err := r.latched(q, func(d *rangeDesk) (enough bool) {
		if taken, enough = d.lock(r.holder, s); enough && !taken {
			d.wait(r.holder, w)
		}
		return enough
	})
	if err == nil && !taken {
		err = r.await(q.ctx, w)
	}
	return r.explained(err, began, w)
}

// explained is the error that a caller gets.
func (r *Ranges) explained(err error, began int64, w *rangeWait) error {
	var late *TimeoutError
	if err == nil || errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	e := &TimeoutError{Lock: r.cell.name, Waited: time.Duration(futex.Now() - began)}
	if w.n > 0 {
		if p, ok := r.arena.core.peerOf(w.met[0]); ok {
			e.HolderPID, e.HolderLabel = int(p.identity.PID), p.label
		}
	}
	return e
}

// wait queues a request that somebody is in the way of.
func (d *rangeDesk) wait(h *rangeHolder, w *rangeWait) {
	w.request, w.record = d.enqueue(h, w.span)
	w.owner, w.wanted = &w.record.owner, recordOwner(d.c.member, w.span.kind.waiting())
	w.binding = d.b
	d.pass(w.span.first, w.span.last, true) // who was in the way may be gone by now
	d.blockers(w)
}

// withdrawRange takes out a request that was withdrawn, and grants whom that
// frees. For the error, it notes who was in the way.
func (c *core) withdrawRange(w *rangeWait) {
	b := w.binding
	d := &rangeDesk{c: c, b: b}
	if c.stale(b) || !c.latchRanges(b) {
		return // the tickers of those who wait will do it
	}
	whole := false
	defer d.unlessWhole(&whole, b)
	d.at(c, b)
	d.blockers(w)
	d.drop(w.request)
	d.pass(w.span.first, w.span.last, false)
	whole = true
	d.leave()
}

// blockers notes whom the request waits for: who holds something in its way
// first.
func (d *rangeDesk) blockers(w *rangeWait) {
	q := rangeClaim{party: w.party, first: w.span.first, last: w.span.last, kind: w.span.kind.waiting(), arrival: w.record.arrival.Load()}
	w.n = 0
	for _, held := range []bool{true, false} {
		walk := d.walk(&d.walks[0], q.first, q.last)
		for i, r := d.next(walk); i != 0; i, r = d.next(walk) {
			if p := claimOf(r); p.kind.isRangeHeld() == held && d.bars(p, q) {
				w.meet(p.member())
			}
		}
	}
}

func (w *rangeWait) meet(m robust.Member) {
	for _, known := range w.met[:w.n] {
		if known == m {
			return
		}
	}
	if w.n < len(w.met) {
		w.met[w.n] = m
		w.n++
	}
}

// await waits for the grant of a request that is in the queue. An error means
// that it was withdrawn.
func (r *Ranges) await(ctx context.Context, w *rangeWait) error {
	c := r.arena.core
	defer r.holder.asking.Add(-1)
	for looks := 0; looks < spinLooks && multicore && !w.answered(); looks++ {
		futex.Pause(spinPauses())
	}
	if !w.answered() {
		if err := c.awaitRange(ctx, r.arena, w); err != nil {
			crash.At("range.withdrawn")
			c.withdrawRange(w)
			return r.failed("lock", err)
		}
	}
	return r.collect(ctx, w)
}

func (c *core) awaitRange(ctx context.Context, a *Arena, w *rangeWait) error {
	c.ticker.newcomer()
	defer c.ticker.gone()
	c.porter.enter(&w.ticketWait)
	c.ticker.stir()
	defer c.porter.leave(&w.ticketWait)
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, c.porter.nudge)
		defer stop()
	}
	c.meetRangeHolders(w)
	me := c.memberAt(c.member.Index)
	bell := &me.bell
	for {
		rung := bell.Load()
		agent := c.porter.represents(&w.ticketWait, &me.answered)
		if w.answered() {
			return nil
		}
		if err := c.stopped(request{ctx: ctx, arena: a}); err != nil {
			if w.owner.CompareAndSwap(w.wanted, uint64(rangeGone)) {
				return err
			}
			return nil
		}
		c.sleepForAnswer(ctx, &w.ticketWait, agent, bell, rung)
	}
}

// collect makes a piece of the holder's of a record that was granted. Meanwhile
// the holder has both, that and what it had before.
func (r *Ranges) collect(ctx context.Context, w *rangeWait) error {
	crash.At("range.collect")
	held := recordOwner(r.arena.core.member, w.span.kind)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), busyPatience)
	defer cancel()
	whole := true
	err := r.latched(request{ctx: late, unfailing: true, arena: r.arena}, func(d *rangeDesk) bool {
		if whole = w.owner.Load() == held; !whole {
			return true
		}
		own := d.survey(r.holder.claim(w.span), r.holder).own > 0
		if cap(r.holder.pieces) < len(r.holder.pieces)+2 || own && !r.holder.has(1) {
			return false
		}
		d.hold(r.holder, w.span, own, w.request)
		if own {
			d.freed(w.span.first, w.span.last)
		}
		return true
	})
	switch {
	case err != nil:
		if w.owner.CompareAndSwap(held, uint64(rangeGone)) {
			r.arena.core.serveRanges(w.binding, []uint32{w.request}, w.span.first, w.span.last)
		}
		return err
	case !whole:
		return fmt.Errorf("%w: a range that was granted is not there", ErrDamaged)
	}
	crash.At("range.collected")
	return nil
}
