package arena

import (
	"context"
	"errors"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

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
		if variantWokenBit && slept {
			b.slot.state.Store(0)
		}
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
			if c.addFlags(b.slot, word, robust.Local) && c.park(r, q, w) {
				return taken, nil
			}
			continue
		}
		past := variantWatchPastOwner && met != (robust.Member{}) && word.Owner() != met
		if owner := word.Owner(); !word.IsFree() && !past && (nudged || owner != met) {
			met = owner
			if p, verdict := c.meet(owner, nudged); verdict == robust.Gone {
				if out := c.inherit(b, word, p); out != busy {
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
		if c.addFlags(b.slot, word, flags) {
			c.sleep(q, (word | flags).Low())
		}
	}
}

// addFlags sets flags in the word that was looked at; false if it has changed.
func (c *core) addFlags(s *slot, w, flags robust.Word) bool {
	if w.Has(flags) {
		return true
	}
	if !s.word.CompareAndSwap(uint64(w), uint64(w|flags)) {
		return false
	}
	crash.At("acquire.flagged")
	return true
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
		if c.addFlags(b.slot, w, robust.Local) {
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
		crash.At("resign.passed")
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
	c.ticker.stir()
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
func (c *core) meet(owner robust.Member, nudged bool) (peer, robust.Verdict) {
	if nudged {
		p, verdict := c.judge(owner)
		if verdict != robust.Alive {
			return p, verdict
		}
	}
	if c.watch(owner) {
		return peer{member: owner}, robust.Alive
	}
	return c.judge(owner)
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
	return c.watcher.WatchSentinel(key, id, c.sentinelOf(owner, state), c.peerGone)
}

func (c *core) peerGone(key uint64) {
	c.ticker.stir()
	c.nudgeAll()
	c.settling.died(robust.Member{Index: uint16(key), Generation: uint16(key >> 16)})
	c.tendTickets()
	c.tendRanges()
}
