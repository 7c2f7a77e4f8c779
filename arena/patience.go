package arena

import (
	"context"
	"fmt"
	"sync"
	"time"

	"lockd/futex"
	"lockd/robust"
)

// Patience says how long calls wait, and what they say meanwhile. It is set for
// an arena in Options, and for a handle with With; a call's own say is its
// context.
type Patience struct {
	// Timeout bounds the waiting of calls whose context has no deadline. 0: no
	// bound, or in a handle the arena's; negative, in a handle: no bound. Lock
	// and its like, which cannot fail, wait as long as it takes.
	Timeout time.Duration
	// WarnAfter is how long a call waits until it is said that it still waits;
	// it is said again each time the call has waited twice as long. 0: never, or
	// in a handle the arena's; negative, in a handle: never.
	WarnAfter time.Duration
	// OnWait is told, in a goroutine of its own, that a call still waits; nil: a
	// line in the log, or in a handle the arena's. It may be called, once, when
	// the call has just ended its wait.
	OnWait func(StillWaiting)
}

// StillWaiting is what is known of a call that waits for a lock.
type StillWaiting struct {
	Lock   string
	Kind   Kind
	Since  time.Time
	Waited time.Duration
	// HolderPID is the process id of the holder, or of one of them, in the
	// holder's pid namespace; 0 if nobody was seen to hold the lock.
	HolderPID   int
	HolderLabel string
}

func (p Patience) check() error {
	switch {
	case p.Timeout < 0:
		return fmt.Errorf("arena: %w: Timeout %v is negative", ErrOptions, p.Timeout)
	case p.WarnAfter < 0:
		return fmt.Errorf("arena: %w: WarnAfter %v is negative", ErrOptions, p.WarnAfter)
	}
	return nil
}

// or fills in what p leaves open.
func (p Patience) or(outer Patience) Patience {
	if p.Timeout == 0 {
		p.Timeout = outer.Timeout
	}
	if p.WarnAfter == 0 {
		p.WarnAfter = outer.WarnAfter
	}
	if p.OnWait == nil {
		p.OnWait = outer.OnWait
	}
	return p
}

// With returns a handle to the same mutex whose calls have this patience.
func (m *Mutex) With(p Patience) *Mutex { return &Mutex{m.with(p)} }

// With returns a handle to the same lock whose calls have this patience.
func (m *RWMutex) With(p Patience) *RWMutex { return &RWMutex{m.with(p)} }

// With returns a handle to the same semaphore whose calls have this patience.
func (s *Semaphore) With(p Patience) *Semaphore {
	return &Semaphore{handle: s.with(p), size: s.size}
}

func (h *handle) with(p Patience) handle {
	p = p.or(h.patience())
	return handle{cell: h.cell, approach: &approach{h.arena, &p}}
}

func (h *handle) patience() Patience {
	if h.own != nil {
		return *h.own
	}
	return h.arena.options.Patience
}

// patiently is the request of a call with this context, to be ended by done.
func (h *handle) patiently(ctx context.Context) (r request, done func()) {
	p := h.patience()
	done = func() {}
	if _, bounded := ctx.Deadline(); p.Timeout > 0 && !bounded {
		ctx, done = context.WithTimeout(ctx, p.Timeout)
	}
	if p.WarnAfter > 0 {
		bound, reminder := done, h.remind(p)
		done = func() {
			reminder.stop()
			bound()
		}
	}
	return request{ctx: ctx, arena: h.arena}, done
}

// unfailing is the request of a call that cannot fail.
func (h *handle) unfailing() (r request, done func()) {
	done = func() {}
	if p := h.patience(); p.WarnAfter > 0 {
		done = h.remind(p).stop
	}
	return request{ctx: context.Background(), unfailing: true, arena: h.arena}, done
}

// reminder says again and again that a call still waits.
type reminder struct {
	handle   *handle
	patience Patience
	began    time.Time

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func (h *handle) remind(p Patience) *reminder {
	r := &reminder{handle: h, patience: p, began: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(p.WarnAfter, r.say)
	return r
}

func (r *reminder) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	r.timer.Stop()
}

func (r *reminder) say() {
	c := r.handle.arena.core
	r.mu.Lock()
	stopped := r.stopped
	r.mu.Unlock()
	if stopped || !c.gate.enter() {
		return
	}
	defer c.gate.leave()
	waited := time.Since(r.began)
	w := StillWaiting{Lock: r.handle.cell.name, Kind: r.handle.cell.kind, Since: r.began, Waited: waited}
	w.HolderPID, w.HolderLabel = r.handle.holder()
	if r.patience.OnWait != nil {
		r.patience.OnWait(w)
	} else {
		c.log.Warn("still waiting for a lock", "lock", w.Lock, "kind", w.Kind.String(), "waited", waited.Round(time.Millisecond),
			"holder", w.HolderPID, "label", w.HolderLabel)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.timer.Reset(waited)
	}
}

// holder names a process that holds the lock, if one is seen that does. Who
// asks keeps the arena open.
func (h *handle) holder() (pid int, label string) {
	c, b := h.arena.core, h.binding()
	if c.stale(b) {
		return 0, ""
	}
	if h.cell.kind == KindSemaphore {
		return c.ticketHolder(b)
	}
	if h.cell.kind == KindRanges {
		return c.rangeHolder(b)
	}
	w := robust.Word(b.slot.word.Load())
	if h.cell.kind == KindRWMutex && (w.IsFree() || w.SameHolding(c.self)) {
		if pid, label = c.readingPeer(b); pid != 0 {
			return pid, label
		}
	}
	if w.IsFree() {
		return 0, ""
	}
	return c.nameOf(w.Owner(), w.PID())
}

// readingPeer names a member that reads, another than this one if there is one.
func (c *core) readingPeer(b *binding) (pid int, label string) {
	for _, x := range c.chain(b.index, b.slot) {
		owner := x.owner.Load()
		if x.load().held() == 0 || kindOfRecord(owner) != recordReaders {
			continue
		}
		pid, label = c.nameOf(ownerOfRecord(owner), 0)
		if ownerOfRecord(owner) != c.member {
			break
		}
	}
	return pid, label
}

// nameOf returns what is known of a member; pid is what is known beside.
func (c *core) nameOf(m robust.Member, pid uint32) (int, string) {
	if p, ok := c.peerOf(m); ok {
		return int(p.identity.PID), p.label
	}
	return int(pid), ""
}

// timedOut is the error of a wait that began at this time of the monotonic clock.
func (h *handle) timedOut(began int64) *TimeoutError {
	e := &TimeoutError{Lock: h.cell.name, Waited: time.Duration(futex.Now() - began)}
	e.HolderPID, e.HolderLabel = h.holder()
	return e
}
