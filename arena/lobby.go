package arena

import (
	"context"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// The lobby is where goroutines wait that found the gate shut: a list in this
// process. One of the list, the agent, sleeps at the futex on behalf of all. In
// the shared cell they are a number:
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

// waitToRead waits in this process's list.
func (c *core) waitToRead(q request, r *reading) (outcome, error) {
	c.ticker.newcomer()
	defer c.ticker.gone()
	w := newWaiter()
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
		c.ticker.stir()
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
		c.rest(q, w)
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
		stop := context.AfterFunc(q.ctx, w.nudge)
		defer stop()
	}
	var met robust.Member
	for {
		nudged := w.nudged.Swap(0) != 0
		n := r.cell.load()
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
		c.muxer.sleep(futex.Low(&r.cell.counts), n.low(), &w.nudged)
		crash.At("read.woken")
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
			crash.At("gate.taken")
			c.letGo(r.index, s)
		}
		return true
	}
	owner := w.Owner()
	if w.SameHolding(c.self) || !nudged && owner == *met {
		return false
	}
	*met = owner
	p, verdict := c.meet(owner, nudged)
	if verdict != robust.Gone {
		return false
	}
	*met = robust.Member{}
	if c.seize(s, w, p) {
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
		crash.At("read.regretted")
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
		w.nudge()
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
