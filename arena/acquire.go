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
	// giving is for who gives something back, which a closed opening may.
	giving bool
	arena  *Arena    // the opening that it goes through
	seat   *readSeat // tells a session's detector where it waits to read, if not nil
}

func (h *handle) acquire(r request) error {
	c := h.arena.core
	if h.arena.closed.Load() && !r.giving || !c.gate.enter() {
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
		out, err := c.take(r, b)
		if err != nil {
			return h.explain(err, began)
		}
		if out == taken {
			raceAcquire(c, b)
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
// binding is none. Asked
// without holding the slot, the answer may be old by the time it is given.
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
		case w.Has(robust.Starved) && !patient && futex.Wake(futex.Low(&b.slot.word), 1) > 0:
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
	case c.gate.closing(), r.arena.closed.Load() && !r.giving:
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

// represent is the agent's loop.
func (c *core) represent(r request, b *binding, q *queue, w *waiter) (outcome, error) {
	if r.ctx.Done() != nil {
		stop := context.AfterFunc(r.ctx, q.nudge)
		defer stop()
	}
	var met robust.Member
	for slept := false; ; slept = true {
		nudged := q.nudged.Swap(0) != 0
		starved := slept && w.waited() > starvation
		out, word := c.tryTake(b, starved)
		if out == taken {
			c.succeed(b, q)
			return taken, nil
		}
		if out == stale {
			c.resign(b, q)
			return stale, nil
		}
		if err := c.stopped(r); err != nil {
			c.resign(b, q)
			return busy, err
		}
		if c.stale(b) {
			c.resign(b, q)
			return stale, nil
		}
		if word.SameHolding(c.self) {
			if c.addFlags(b, word, robust.Local) && c.park(r, q, w) {
				return taken, nil
			}
			continue
		}
		if owner := word.Owner(); !word.IsFree() && (nudged || owner != met) {
			met = owner
			if c.meet(owner, nudged) == robust.Gone {
				if out := c.reclaim(b, word); out != busy {
					if out == taken {
						c.succeed(b, q)
					} else {
						c.resign(b, q)
					}
					return out, nil
				}
				met = robust.Member{}
				continue
			}
		}
		flags := robust.Waiters
		if starved {
			flags |= robust.Starved
		}
		if c.addFlags(b, word, flags) {
			c.sleep(q, (word | flags).Low())
		}
	}
}

// addFlags sets flags in the word that was looked at; false if it has changed.
func (c *core) addFlags(b *binding, w, flags robust.Word) bool {
	return w.Has(flags) || b.slot.word.CompareAndSwap(uint64(w), uint64(w|flags))
}

// park sleeps in Go until a release in this process, a nudge, or the request's
// end; true means that the lock was handed over.
func (c *core) park(r request, q *queue, w *waiter) (granted bool) {
	q.mu.Lock()
	w.parked = true
	q.mu.Unlock()
	c.rest(r, w)
	q.mu.Lock()
	defer q.mu.Unlock()
	w.parked = false
	return w.granted
}

// rest is the sleep of a goroutine that an agent, or a release in this process,
// will signal. It may also have to give up.
func (c *core) rest(r request, w *waiter) {
	select {
	case <-w.wake:
	case <-r.ctx.Done():
	case <-c.gate.closed:
	}
}

// succeed ends the agency of one who has taken the lock. While it holds, the
// others wait for its release, which L announces.
func (c *core) succeed(b *binding, q *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.agent = nil
	c.departed(q)
	if q.list.first == nil {
		return
	}
	for {
		w := robust.Word(b.slot.word.Load())
		if !w.SameHolding(c.self) {
			q.appoint() // lost already
			return
		}
		if c.addFlags(b, w, robust.Local) {
			return
		}
	}
}

// resign ends the agency of one who gives up. The next one looks at the word;
// if there is none, a wake that this one may have consumed is passed on, and so
// is a signal from a release in this process that it took instead of a wake:
// that may be all that a sleeper elsewhere gets.
func (c *core) resign(b *binding, q *queue) {
	q.mu.Lock()
	q.agent = nil
	c.departed(q)
	q.appoint()
	alone := q.agent == nil
	q.mu.Unlock()
	crash.At("resign.resigned")
	if w := robust.Word(b.slot.word.Load()); alone && !variantKeepWake && w.IsFree() && w.Has(robust.Waiters) {
		futex.Wake(futex.Low(&b.slot.word), 1)
	}
}

// departed counts one goroutine less. Called with the queue's mutex held.
func (c *core) departed(q *queue) {
	q.count--
	c.recordQueue(q)
}

// sleep is the agent's sleep while the low half of the word has this value.
func (c *core) sleep(q *queue, value uint32) {
	crash.At("acquire.sleep")
	c.muxer.sleep(futex.Low(&q.slot.word), value, &q.nudged)
	crash.At("acquire.woken")
}

// wakeable tells an error of a sleep after which the next may be longer from
// one that will come back at once.
func wakeable(err error) bool {
	return errors.Is(err, futex.ErrChanged) || errors.Is(err, futex.ErrInterrupted) || errors.Is(err, futex.ErrTimedOut)
}

// meet sees to it that the owner's death will be noticed. It judges only when
// there is a reason to: somebody said so, or it cannot be watched. Deaths that
// a pidfd does not tell (exec, other pid namespaces) the ticker looks for.
func (c *core) meet(owner robust.Member, nudged bool) robust.Verdict {
	if nudged {
		_, verdict := c.judge(owner)
		if verdict != robust.Alive {
			return verdict
		}
	}
	if c.watch(owner) {
		return robust.Alive
	}
	_, verdict := c.judge(owner)
	return verdict
}

// watch has the owner's end told to every agent of this process.
func (c *core) watch(owner robust.Member) bool {
	e := c.memberAt(owner.Index)
	if e == nil {
		return false
	}
	state := memberState(e.state.Load())
	if state.phase() != phaseLive || state.generation() != owner.Generation || state.flags()&flagByteOnly != 0 {
		return false
	}
	id := robust.Identity{PID: state.pid(), PIDNS: e.pidNS.Load(), PidfdInode: e.pidfd.Load(), StartTime: e.startTime.Load()}
	key := uint64(owner.Generation)<<16 | uint64(owner.Index)
	return c.watcher.Watch(key, id, c.peerGone)
}

func (c *core) peerGone(uint64) {
	c.nudgeAll()
	c.settling.kick()
	c.tendTickets()
	c.tendRanges()
}
