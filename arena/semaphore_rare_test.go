//go:build lockd_crash

package arena

import (
	"context"
	"runtime"
	"syscall"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// Work that comes past points which two processes only meet at within
// nanoseconds: whatever else has to happen then, happens in a window.
func init() {
	ticketWindows["overtake"] = overtakeWork
	ticketWindows["latched"] = latchedWork
	ticketWindows["outrun"] = outrunWork
	ticketWindows["dead ahead"] = deadAheadWork
	ticketWindows["dead holder"] = deadHolderWork
}

func queueUpForAll(a *Arena) {
	s := a.Semaphore("crash", 0)
	s.Tickets()
	before := queuedFor(s)
	go s.Acquire(context.Background(), crashTickets)
	for queuedFor(s) == before {
		runtime.Gosched()
	}
}

// overtakeWork takes a ticket just when somebody begins to wait.
func overtakeWork(a *Arena) {
	s := a.Semaphore("crash", 0)
	s.Tickets()
	held, _ := s.Acquire(context.Background(), 2)
	crash.Pause("semaphore.swapped", func() { queueUpForAll(a) })
	s.TryAcquire(1)
	held.Release()
}

// latchedWork looks at the queue while somebody has the latch.
func latchedWork(a *Arena) {
	s := a.Semaphore("crash", 0)
	s.Tickets()
	s.latched(context.Background(), func(*desk) { a.core.serveTickets(s.binding(), false) })
}

// outrunWork gives tickets to a request while a newcomer takes one of them.
func outrunWork(a *Arena) {
	s := a.Semaphore("crash", 0)
	held, _ := s.Acquire(context.Background(), crashTickets)
	queueUpForAll(a)
	h := s.hall.Load()
	crash.Pause("grant.given", func() { h.places[crashTickets-1].word.CompareAndSwap(h.free, h.self) })
	held.Release()
}

// deadAheadWork comes to a queue in which a dead process waits, before anybody
// has settled it.
func deadAheadWork(a *Arena) {
	if _, err := a.core.acquireLatch(context.Background(), &a.core.head.settler, settlerDoor); err != nil {
		proc.Say("%v", err)
		return
	}
	s := a.Semaphore("crash", 0)
	s.Acquire(context.Background(), crashTickets)
	ahead, err := launch("ticket-waiter", []string{a.Path(), "1", "crash"})
	if err != nil {
		proc.Say("%v", err)
		return
	}
	go ahead.ask("acquire")
	for queuedFor(s) == 0 {
		runtime.Gosched()
	}
	ahead.cmd.Process.Signal(syscall.SIGKILL)
	ahead.cmd.Wait()
	a.core.reapTickets(s.binding().index, s.binding().slot)
}

// deadHolderWork finds a ticket that a dead process holds, before anybody has
// settled it.
func deadHolderWork(a *Arena) {
	if _, err := a.core.acquireLatch(context.Background(), &a.core.head.settler, settlerDoor); err != nil {
		proc.Say("%v", err)
		return
	}
	s := a.Semaphore("crash", 0)
	s.Tickets()
	holder, err := launch("ticket-waiter", []string{a.Path(), "1", "crash"})
	if err != nil {
		proc.Say("%v", err)
		return
	}
	holder.ask("acquire")
	holder.cmd.Process.Signal(syscall.SIGKILL)
	holder.cmd.Wait()
	a.core.reapTickets(s.binding().index, s.binding().slot)
}
