package arena

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
)

// sessionWait is one wait of a session. What it shows is written by the
// session when it begins and ends, and by this process's detector in between.
type sessionWait struct {
	session *session
	handle  *handle
	mode    Mode
	count   int
	seat    readSeat
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	over    bool
	word    sessionWord
	binding *binding
	verdict *DeadlockError

	due int64 // when to look next, CLOCK_MONOTONIC ns; the detector's
	// suspectFrom is from when on it is looked for a circle. Before, it is only
	// seen to that those who look see this wait as it is.
	suspectFrom int64
	pause       time.Duration
	looks       int // that had to be put off because nobody could tell who lives
}

// readSeat is where a goroutine waits to read, once it does.
type readSeat struct{ taken atomic.Pointer[seated] }

type seated struct {
	reading *reading
	waiter  *waiter
}

func (w *sessionWait) seatOf() *readSeat {
	if w == nil {
		return nil
	}
	return &w.seat
}

// wait runs f, which waits for a lock, as a wait that detectors see and may
// end. If f returns nil the lock was taken, whatever they found: then they
// looked just before.
func (s *session) wait(ctx context.Context, h *handle, mode Mode, count int, f func(context.Context, *sessionWait) error) (err error) {
	if !s.state.CompareAndSwap(sessionOpen, sessionWaits) {
		return s.check("wait for", h.cell.name)
	}
	defer s.state.Store(sessionOpen)
	if s.shown == nil {
		return f(ctx, nil)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &sessionWait{session: s, handle: h, mode: mode, count: count, cancel: cancel, pause: deadlockAfter, suspectFrom: math.MaxInt64}
	now := futex.Now()
	if after := s.options.DeadlockAfter; after >= 0 {
		w.pause = min(after, deadlockAfter)
		w.suspectFrom = now + int64(after)
	}
	w.due = now + int64(w.pause)
	s.shown.since.Store(uint64(time.Now().UnixNano()))
	w.publish(h.binding(), noEvidence)
	crash.At("session.waiting")
	s.core.detector.enter(w)
	defer func() { // f may panic: contexts are the user's
		s.core.detector.leave(w)
		if verdict := w.end(); err != nil && verdict != nil {
			err = verdict
		}
	}()
	return f(ctx, w)
}

// publish shows the wait. The mutex is held, or nobody else has w yet.
func (w *sessionWait) publish(b *binding, evidence uint32) {
	s := w.session
	s.shown.wait.Store(0) // nobody is to see half of it
	w.binding = b
	s.shown.generation.Store(b.generation)
	s.shown.evidence.Store(evidence)
	crash.At("session.publishing")
	s.seq++
	w.word = newSessionWord(b.index, w.mode, w.count, s.seq)
	s.shown.wait.Store(uint64(w.word))
}

// end shows no wait any more and returns the verdict on it, if there is one.
func (w *sessionWait) end() *DeadlockError {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.session.shown.wait.Store(0)
	crash.At("session.waited")
	if w.verdict != nil {
		w.session.core.closeVerdict(w.session.index, w.word)
	}
	return w.verdict
}

// refresh makes what is shown of the wait what it is by now. The name may have
// moved to another slot; and of a reader it is only by now that somebody knows
// that it waits and was not let in. It is false if there is nothing to see.
func (w *sessionWait) refresh() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.verdict != nil {
		return false
	}
	b := w.handle.binding()
	if sessionWord(w.session.shown.wait.Load()).isVictim() {
		// Only this process's detector gives it a verdict, and it has not: the
		// verdict was on an earlier wait, of somebody who was killed.
		w.publish(b, noEvidence)
	}
	if w.mode == Shared && w.handle.cell.kind == KindRWMutex {
		evidence := w.seat.evidence(w.session.core)
		if b != w.binding || evidence != w.session.shown.evidence.Load() {
			w.publish(b, evidence)
		}
		return evidence != noEvidence
	}
	if b != w.binding {
		w.publish(b, noEvidence)
	}
	return b != unbound
}

// evidence is a number that stands in the cell as long as nobody of those who
// wait there is let in, if this goroutine waits there.
func (r *readSeat) evidence(c *core) uint32 {
	at := r.taken.Load()
	if at == nil {
		return noEvidence
	}
	at.reading.mu.Lock()
	defer at.reading.mu.Unlock()
	c.reconcile(at.reading)
	n := at.reading.cell.load()
	if at.waiter.granted || !n.isOpen() || int(n.waiting()) != at.reading.length {
		return noEvidence
	}
	return evidenceOf(n)
}

func evidenceOf(n counts) uint32 { return uint32(n.epoch()) + 1 }

// convict gives the wait its verdict and ends it, unless it is over.
func (w *sessionWait) convict(e *DeadlockError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.verdict = e
	markVictim(w.session.shown, w.word)
	crash.At("detector.marked")
	w.cancel(errVictim)
}

// errVictim ends the waiting of a victim.
var errVictim = errors.New("found to be in a deadlock")

// selfDeadlock is for a session that asks for what it has.
func (s *session) selfDeadlock(h *handle, had *hold, mode Mode) error {
	return &DeadlockError{Edges: []DeadlockEdge{{
		Session: s.id(), PID: int(s.core.identity.PID), Label: s.options.Label,
		Lock: h.cell.name, Kind: h.cell.kind, Mode: mode, Count: 1, Since: time.Now(),
		HeldAs: had.mode, TakenAt: had.where(),
	}}}
}
