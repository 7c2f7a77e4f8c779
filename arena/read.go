package arena

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Reading, when the fast path missed. Who finds the gate shut waits in this
// process's list; one of the list, the agent, sleeps at the futex on behalf of
// all. In the shared cell they are a number:
//
//	waiting n, held m  ──who held the gate opens──▶  waiting 0, held m+n
//
// one compare-and-swap, after which they hold the lock, awake or not. So they
// get in before the next writer, whenever they run. How many of the list that
// was is the difference between the list and the number that waits; the first
// of the list are meant, for only the list's mutex lets anybody join it.
//
// If the gate is open they let themselves in by the same swap, look at the
// gate once more, and go back to waiting if it was shut meanwhile.

// readWaiting takes the lock for reading, however long it takes.
func (h *handle) readWaiting(q request) error {
	c := h.arena.core
	if h.arena.closed.Load() || !c.gate.enter() {
		return h.explain(ErrClosed, 0)
	}
	defer c.gate.leave()
	began := futex.Now()
	for {
		r, err := h.reading(q.ctx)
		if err != nil {
			return h.explain(err, began)
		}
		out := c.tryRead(r)
		for looks := 0; out == busy && multicore && looks < spinLooks; looks++ {
			futex.Pause(spinPauses())
			out = c.tryRead(r)
		}
		if out == busy {
			if err = c.stopped(q); err == nil {
				out, err = c.waitToRead(q, r)
			}
			if err != nil {
				return h.explain(err, began)
			}
		}
		if out == taken {
			raceReadAcquire(c, r.index)
			return nil
		}
	}
}

// tryRead is one attempt. It looks at the gate first too: additions that have
// to be taken back hold up a writer that drains the cells.
func (c *core) tryRead(r *reading) outcome {
	if r.slot.state.Load() != 0 {
		return busy
	}
	n := counts(r.cell.counts.Add(uint64(oneReader)))
	crash.At("read.added")
	if n.isOpen() && r.slot.state.Load() == 0 {
		return taken
	}
	c.leave(r.slot, r.cell)
	if !n.isOpen() {
		return stale
	}
	return busy
}

// tryReadSlow is a try whose fast path missed. It takes the gate from a holder
// that is gone, at most once a millisecond.
func (h *handle) tryReadSlow() bool {
	c := h.arena.core
	if h.arena.closed.Load() || !c.gate.enter() {
		return false
	}
	defer c.gate.leave()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
		r, err := h.reading(ctx)
		cancel()
		if err != nil {
			return false
		}
		switch c.tryRead(r) {
		case taken:
			raceReadAcquire(c, r.index)
			return true
		case busy:
			if !c.mayJudge(&h.cell.judged) || !c.attendGate(r, new(robust.Member), true) {
				return false
			}
		}
	}
}

// mayJudge limits how often failed tries judge.
func (c *core) mayJudge(judged *atomic.Int64) bool {
	last, now := judged.Load(), futex.Now()
	return now-last >= int64(judgeEvery) && judged.CompareAndSwap(last, now)
}

// waitToRead waits in this process's list.
func (c *core) waitToRead(q request, r *reading) (outcome, error) {
	c.ticker.newcomer()
	defer c.ticker.gone()
	w := &waiter{wake: make(chan struct{}, 1), since: futex.Now()}
	r.mu.Lock()
	for {
		n := r.cell.load()
		if !n.isOpen() {
			r.mu.Unlock()
			return stale, nil
		}
		if r.cell.swap(n, n+oneWaits) {
			break
		}
	}
	crash.At("read.waiting")
	if r.length == 0 {
		c.dozers.enter(r)
		r.cell.since.Store(uint64(time.Now().UnixNano()))
	}
	r.length++
	r.list.push(w)
	if q.seat != nil {
		q.seat.taken.Store(&seated{r, w})
	}
	c.reconcile(r)
	for {
		if done, err := c.concluded(q, r, w); done {
			r.mu.Unlock()
			return taken, err
		}
		if r.agent == w {
			break
		}
		r.mu.Unlock()
		select {
		case <-w.wake:
		case <-q.ctx.Done():
		case <-c.gate.closed:
		}
		r.mu.Lock()
		c.reconcile(r)
	}
	r.mu.Unlock()
	return taken, c.representReaders(q, r, w)
}

// concluded tells whether a goroutine's waiting is over: it was let in, or it
// gives up. Called with the reading's mutex held, after reconcile.
func (c *core) concluded(q request, r *reading, w *waiter) (bool, error) {
	for !w.granted {
		err := c.stopped(q)
		if err == nil {
			return false, nil
		}
		if n := r.cell.load(); n.waiting() > 0 && int(n.waiting()) >= r.length && r.cell.swap(n, n-oneWaits) {
			crash.At("read.withdrawn")
			r.remove(c, w)
			r.appoint()
			return true, err
		}
		c.reconcile(r)
	}
	return true, nil
}

// representReaders is the agent's loop.
func (c *core) representReaders(q request, r *reading, w *waiter) error {
	if q.ctx.Done() != nil {
		stop := context.AfterFunc(q.ctx, r.nudge)
		defer stop()
	}
	var met robust.Member
	for {
		nudged := r.nudged.Swap(0) != 0
		grants := r.cell.grants.Load()
		r.mu.Lock()
		c.reconcile(r)
		done, err := c.concluded(q, r, w)
		r.mu.Unlock()
		if done {
			return err
		}
		if c.attendGate(r, &met, nudged) {
			continue
		}
		crash.At("read.sleep")
		c.muxer.sleep(&r.cell.grants, grants, &r.nudged)
	}
}

// attendGate sees to it that whoever shut the gate opens it, or does so for
// one who is gone. It is true if the gate may be open now.
func (c *core) attendGate(r *reading, met *robust.Member, nudged bool) bool {
	s := r.slot
	w := robust.Word(s.word.Load())
	if s.state.Load() == 0 {
		return true
	}
	if w.IsFree() {
		// A gate that is shut while nobody holds the word is nobody's. It may
		// also be another's than a moment ago: then it is merely opened again.
		if s.word.CompareAndSwap(uint64(w), uint64(w.Barged(c.self))) {
			c.letGo(r.index, s)
		}
		return true
	}
	owner := w.Owner()
	if w.SameHolding(c.self) || !nudged && owner == *met {
		return false
	}
	*met = owner
	if c.meet(owner, nudged) != robust.Gone {
		return false
	}
	*met = robust.Member{}
	if p, verdict := c.judge(owner); verdict == robust.Gone && c.seize(s, w, p) {
		c.letGo(r.index, s)
	}
	return true
}

// reconcile lets the waiting in if the gate is open, and wakes those of the
// list who were let in. Called with the reading's mutex held.
func (c *core) reconcile(r *reading) {
	for r.length > 0 && r.slot.state.Load() == 0 {
		n := r.cell.load()
		k := n.waiting()
		if k == 0 {
			break
		}
		if !r.cell.swap(n, n.granted()) {
			continue
		}
		crash.At("read.admitted")
		if r.slot.state.Load() == 0 {
			break
		}
		for n = r.cell.load(); !r.cell.swap(n, n.regretted(k)); n = r.cell.load() {
		}
		c.tellWriter(r.slot, r.cell, n.regretted(k))
	}
	for granted := r.length - int(r.cell.load().waiting()); granted > 0 && r.length > 0; granted-- {
		w := r.list.first
		w.granted = true
		r.remove(c, w)
		w.signal()
	}
	r.appoint()
}

// remove takes a goroutine out of the list. An agent that somebody else takes
// out is told at the futex.
func (r *reading) remove(c *core, w *waiter) {
	r.list.remove(w)
	if r.agent == w {
		r.agent = nil
		r.nudge()
	}
	if r.length--; r.length == 0 {
		c.dozers.leave(r)
	}
}

// appoint makes the first of the list the agent, if there is none.
func (r *reading) appoint() {
	if r.agent == nil && r.list.first != nil {
		r.agent = r.list.first
		r.agent.signal()
	}
}

// readRelease gives back one read lock.
func (h *handle) readRelease() error {
	c := h.arena.core
	if !c.gate.enter() {
		return nil // closing gives everything back
	}
	defer c.gate.leave()
	r := h.presentReading()
	if r == nil {
		return h.notHeld("read unlock")
	}
	raceReadRelease(c, r.index)
	for {
		n := r.cell.load()
		if !n.isOpen() || n.held() == 0 {
			return h.notHeld("read unlock")
		}
		if r.cell.swap(n, n-oneReader) {
			crash.At("read.left")
			c.tellWriter(r.slot, r.cell, n-oneReader)
			return nil
		}
	}
}

func (h *handle) notHeld(what string) error {
	return fmt.Errorf("arena: %s of %q: %w by this process", what, h.cell.name, ErrNotHeld)
}
