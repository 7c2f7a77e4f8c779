package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"

	"lockd/arena"
)

// grip is what run holds while its command runs.
type grip interface {
	try() bool
	acquire(context.Context) error
	release() error
	abandoned() (arena.Death, bool)
	markConsistent() error
	environment() []string
}

func (r *runner) gripOf(a *arena.Arena) grip {
	switch {
	case r.tickets > 0:
		return &ticketHold{semaphore: a.Semaphore(r.lock, 0), n: r.tickets}
	case r.part.set:
		return &rangeGrip{ranges: a.Ranges(r.lock), part: r.part, mode: r.rangeMode()}
	case r.shared:
		return sharedHold{a.RWMutex(r.lock)}
	case r.exclusive:
		return exclusiveHold{a.RWMutex(r.lock)}
	}
	return &wholeHold{exclusive: a.Mutex(r.lock), other: a.RWMutex(r.lock)}
}

// exclusive is what Mutex and RWMutex have in common.
type exclusive interface {
	TryLock() bool
	LockContext(context.Context) error
	Release() error
	Abandoned() (arena.Death, bool)
	MarkConsistent() error
}

type exclusiveHold struct{ exclusive }

func (h exclusiveHold) try() bool                       { return h.TryLock() }
func (h exclusiveHold) acquire(c context.Context) error { return h.LockContext(c) }
func (h exclusiveHold) release() error                  { return h.Release() }
func (h exclusiveHold) abandoned() (arena.Death, bool)  { return h.Abandoned() }
func (h exclusiveHold) markConsistent() error           { return h.MarkConsistent() }
func (h exclusiveHold) environment() []string           { return nil }

// wholeHold is of the kind that the name has: a mutex, or if programs use it as
// an rwmutex that, for writing.
type wholeHold struct {
	exclusive
	other *arena.RWMutex
}

func (h *wholeHold) try() bool { return h.TryLock() }

func (h *wholeHold) acquire(ctx context.Context) error {
	err := h.LockContext(ctx)
	if _, first := h.exclusive.(*arena.Mutex); first && errors.Is(err, arena.ErrKind) {
		if e := h.other.LockContext(ctx); !errors.Is(e, arena.ErrKind) {
			h.exclusive = h.other
			return e
		}
	}
	return err
}

func (h *wholeHold) release() error                 { return h.Release() }
func (h *wholeHold) abandoned() (arena.Death, bool) { return h.Abandoned() }
func (h *wholeHold) markConsistent() error          { return h.MarkConsistent() }
func (h *wholeHold) environment() []string          { return nil }

type sharedHold struct{ *arena.RWMutex }

func (h sharedHold) try() bool                       { return h.TryRLock() }
func (h sharedHold) acquire(c context.Context) error { return h.RLockContext(c) }
func (h sharedHold) release() error                  { return h.RRelease() }
func (h sharedHold) abandoned() (arena.Death, bool)  { return arena.Death{}, false }
func (h sharedHold) markConsistent() error           { return nil }
func (h sharedHold) environment() []string           { return nil }

type ticketHold struct {
	semaphore *arena.Semaphore
	n         int
	held      arena.Tickets
}

func (h *ticketHold) try() bool {
	t, ok := h.semaphore.TryAcquire(h.n)
	h.held = t
	return ok
}

func (h *ticketHold) acquire(ctx context.Context) (err error) {
	h.held, err = h.semaphore.Acquire(ctx, h.n)
	return err
}

func (h *ticketHold) release() error                 { return h.held.Release() }
func (h *ticketHold) abandoned() (arena.Death, bool) { return arena.Death{}, false }
func (h *ticketHold) markConsistent() error          { return nil }

// environment tells the command which tickets it has.
func (h *ticketHold) environment() []string {
	return []string{"LOCKD_TICKETS=" + strings.Trim(fmt.Sprint(h.held.Numbers()), "[]")}
}

// tellAgain is how often --verbose says that it still waits.
const tellAgain = 10 * time.Second

// tellWaiting says who is waited for until the context ends. What it returns
// is called with how the waiting ended.
func (r *runner) tellWaiting(ctx context.Context) func(error) {
	if !r.verbose {
		return func(error) {}
	}
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait := 50 * time.Millisecond; ; wait = tellAgain {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
				r.tellHolders()
			}
		}
	}()
	return func(err error) {
		<-done
		took := seconds(time.Since(began))
		if err == nil {
			r.t.complain("got %s after %s", quoted(r.lock), took)
		} else if errors.Is(err, arena.ErrTimeout) {
			r.t.complain("gave up on %s after %s", quoted(r.lock), took)
		}
	}
}

func (r *runner) tellHolders() {
	report, err := r.t.live(r.arena)
	if err != nil {
		return
	}
	l := report.lockNamed(r.lock)
	if l == nil {
		return
	}
	var holders []string
	for _, p := range l.blockersOf(r.requestIn(l)) {
		text := fmt.Sprintf("pid %d (%s)", p.PID, quoted(p.Label))
		if p.entry != nil && p.entry.state() != "alive" {
			text += ", " + p.entry.state()
		}
		holders = append(holders, text)
	}
	if len(holders) > 0 {
		r.t.complain("waiting for %s, held by %s; %d wait", quoted(r.lock), strings.Join(holders, ", "), l.Waiters)
	}
}

// requestIn is what this run waits for.
func (r *runner) requestIn(l *lock) *waiter {
	for i := range l.Waiting {
		if w := &l.Waiting[i]; int(w.PID) == os.Getpid() {
			return w
		}
	}
	w := &waiter{Mode: "exclusive"}
	if r.shared {
		w.Mode = "shared"
	}
	if r.part.set {
		w.Range = &rangeRequest{stretch: r.part.stretch()}
	}
	return w
}

func reason(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "there is no such command in PATH"
	case errors.As(err, &path):
		return path.Err.Error()
	}
	return err.Error()
}
