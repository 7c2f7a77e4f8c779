package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Acquiring, when the fast path missed. Three steps, each for when the one
// before did not do: try, spin for about a microsecond, queue.
//
// Who queues first becomes the agent of its process (see queue) and goes round
// this loop:
//
//	the word is free                  take it: CAS(free… → self…)
//	… in another generation           the name has moved: look it up anew
//	… with S, and I have not starved  wake a sleeper; if one woke, sleep
//	held by this process              set L, park in Go; the release signals
//	held by a member that is gone     reclaim it: CAS(that word → self, A)
//	held by another                   watch it, set W, sleep at the futex
//
// The agent sleeps on two words: the slot's, and its own, which is how a
// cancelled context, a death, or the ticker reach it without disturbing others.
// Every wake is answered by another round, so a spurious one costs one round.
//
// A wake that an agent consumed and does not use it passes on (resign). One
// that a process took to its grave is made up for by the tickers of the others.

// outcome is what an attempt to take a slot came to.
type outcome int

const (
	busy  outcome = iota // somebody holds it, or goes first
	taken                // it is ours
	stale                // the binding's slot has another generation
	full                 // no more readers can be counted
)

// starvation is how long somebody waits before newcomers have to queue behind
// him, and before his own process hands over to him directly. sync.Mutex has
// the same bound, and the same reason: barging is what makes a lock fast, for
// whoever runs already takes it without a switch, and it is unfair without a
// limit.
const starvation = time.Millisecond

// spinLooks is how often a spinning goroutine looks at the word, a third of a
// microsecond apart. Fewer and longer steps beat more and shorter: each look
// takes the cache line from the owner.
const spinLooks = 4

var multicore = runtime.NumCPU() > 1

func spinPauses() uint32 { return futex.PausesPer(300 * time.Nanosecond) }

// request is what a caller of a lock wants.
type request struct {
	ctx context.Context
	// unfailing is for Lock, which waits on when the file was replaced.
	unfailing bool
	arena     *Arena    // the opening that it goes through; nil: it gives back, or looks, and only the last opening ends that
	seat      *readSeat // tells a session's detector where it waits to read, if not nil
}

// isClosed tells whether the opening that it goes through was closed.
func (r request) isClosed() bool { return r.arena != nil && r.arena.closed.Load() }

func (h *handle) acquire(r request) error {
	c := h.arena.core
	if r.isClosed() || !c.gate.enter() {
		return h.explain(ErrClosed, 0)
	}
	defer c.gate.leave()
	began := futex.Now()
	for {
		b := h.binding()
		if c.stale(b) {
			if c.checkReplacedOften() && !r.unfailing {
				return h.explain(ErrReplaced, began)
			}
			if err := h.bind(r.ctx, b); err != nil {
				return h.explain(err, began)
			}
			continue
		}
		if h.takeTracked() {
			return nil
		}
		out, err := c.take(r, b)
		if err != nil {
			return h.explain(err, began)
		}
		if out == taken {
			raceAcquire(c, b)
			if b.tracking != nil {
				c.tallyTaken(b, max(1, futex.Now()-began))
			}
			return nil
		}
		// Stale. A robbed slot keeps its name in a new generation; an evicted
		// one has lost it.
		if err := h.bind(r.ctx, b); err != nil {
			return h.explain(err, began)
		}
	}
}

// explain turns the reason for giving up into the error that a caller gets.
func (h *handle) explain(err error, began int64) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return h.timedOut(began)
	case errors.Is(err, ErrClosed), errors.Is(err, ErrReplaced), errors.Is(err, context.Canceled):
		return fmt.Errorf("arena: lock %q: %w", h.cell.name, err)
	}
	return err
}

// stale tells whether a slot has left the generation of a binding, or the
// binding is none. Asked without holding the slot, the answer may be old by the
// time it is given.
func (c *core) stale(b *binding) bool {
	if b == unbound {
		return true
	}
	life := slotLife(b.slot.life.Load())
	return !life.isLive() || life.generation() != b.generation
}

// tryTake takes a free slot. Somebody patient has starved himself and goes
// before the starved.
func (c *core) tryTake(b *binding, patient bool) (outcome, robust.Word) {
	for {
		w := robust.Word(b.slot.word.Load())
		switch {
		case !w.IsFree():
			return busy, w
		case w.Generation() != b.generation:
			return stale, w
		case w.Has(robust.Starved) && !patient && !(variantWokenBit && silenced(b.slot)) && futex.Wake(futex.Low(&b.slot.word), 1) > 0:
			crash.At("acquire.yielded")
			return busy, w
		}
		if b.slot.word.CompareAndSwap(uint64(w), uint64(w.Taken(c.self))) {
			crash.At("acquire.taken")
			return taken, w
		}
	}
}

// take takes the slot, however long it takes.
func (c *core) take(r request, b *binding) (outcome, error) {
	out, w := c.tryTake(b, false)
	for looks := 0; out == busy && looks < spinLooks && c.worthSpinning(w, looks); looks++ {
		futex.Pause(spinPauses())
		out, w = c.tryTake(b, false)
	}
	if out != busy {
		return out, nil
	}
	if err := c.stopped(r); err != nil {
		return busy, err
	}
	return c.queueUp(r, b)
}

// worthSpinning: an owner that runs on another processor may be done soon; if
// others sleep already, it mostly is not.
func (c *core) worthSpinning(w robust.Word, looks int) bool {
	return multicore && !w.IsFree() && (looks == 0 || !w.Has(robust.Waiters))
}

// stopped says why a request should give up, if it should.
func (c *core) stopped(r request) error {
	switch {
	case c.gate.closing(), r.isClosed():
		return ErrClosed
	case c.replaced.Load() && !r.unfailing:
		return ErrReplaced
	}
	err := r.ctx.Err()
	if cause := context.Cause(r.ctx); err != nil && cause != err {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// queueUp waits in this process's queue for the slot.
func (c *core) queueUp(r request, b *binding) (outcome, error) {
	c.ticker.newcomer()
	defer c.ticker.gone()
	q := c.lot.enter(b.key(), b.slot)
	defer c.lot.leave(q)

	w := newWaiter()
	q.mu.Lock()
	q.count++
	c.recordQueue(q)
	if q.agent == nil && q.list.first == nil {
		q.agent = w
	} else {
		q.list.push(w)
	}
	agent := q.agent == w
	q.mu.Unlock()

	for !agent {
		c.rest(r, w)
		q.mu.Lock()
		switch err := c.stopped(r); {
		case w.granted:
			q.mu.Unlock()
			return taken, nil
		case q.agent == w:
			agent = true
		case err != nil:
			q.list.remove(w)
			c.departed(q)
			q.mu.Unlock()
			return busy, err
		}
		q.mu.Unlock()
	}
	return c.represent(r, b, q, w)
}
