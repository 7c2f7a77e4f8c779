package main

import (
	"errors"
	"fmt"
	"syscall"

	"lockd/arena"
)

// otherKind says how a lock is held that is of another kind than was asked for.
func (r *runner) otherKind() string {
	report, err := r.t.live(r.arena)
	if err != nil {
		return ""
	}
	l := report.lockNamed(r.lock)
	switch {
	case l == nil:
		return ""
	case l.Kind == "ranges":
		return "; run --range 0 holds all of it"
	case l.Kind == "semaphore":
		return "; run --tickets 1 holds one of its tickets"
	case r.part.set || r.tickets > 0:
		return "; run without --range and --tickets holds it"
	case r.shared || r.exclusive:
		return "; who excludes readers uses run --exclusive"
	}
	return ""
}

// failed says why the lock cannot be had at all.
func (r *runner) failed(err error) int {
	if errors.Is(err, arena.ErrUnsafeFile) {
		err = unsafeFile{explained{err}}
	}
	text := explained{err}.Error()
	switch {
	case errors.Is(err, arena.ErrKind):
		text += r.otherKind()
	case errors.Is(err, arena.ErrNoSemaphore):
		text = fmt.Sprintf("no semaphore named %s; lockd-inspect sem %s make %s TICKETS makes one", quoted(r.lock),
			shellLine([]string{r.arena}), shellLine([]string{r.lock}))
	}
	r.t.complain("%s", text)
	switch {
	case errors.Is(err, arena.ErrName), errors.Is(err, arena.ErrTickets), errors.Is(err, arena.ErrTooMany):
		return exitUsage
	case errors.Is(err, arena.ErrKind), errors.Is(err, arena.ErrDamaged), errors.Is(err, arena.ErrTruncated):
		return exitData
	case errors.Is(err, arena.ErrNoSpace):
		return exitCantCreate
	case errors.Is(err, arena.ErrTableFull), errors.Is(err, arena.ErrMembersFull), errors.Is(err, arena.ErrBusy),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return exitSystem
	}
	return exitNoInput
}
