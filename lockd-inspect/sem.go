package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"lockd/arena"
)

var semColumns = []column[*lock]{
	text("name", "of the semaphore", func(l *lock) any { return l.bytes() }),
	number("tickets", "how many it has", ofTickets(func(t *ticketry) any { return t.Size })),
	number("in_use", "how many of them are held", ofTickets(func(t *ticketry) any { return t.InUse })),
	number("waiters", "requests that wait", func(l *lock) any { return l.Waiters }),
	text("holders", "which tickets each process holds, as pid:numbers", ofTickets(func(t *ticketry) any { return listed(ticketHolders(t.Holders)) })),
	text("queue", "who waits, in the order in which they are served, as pid:tickets", func(l *lock) any { return listed(waiters(l.Waiting)) }),
	text("ending", "whether it is being destroyed", ofTickets(func(t *ticketry) any { return t.Ending })).onDemand(),
}

var semActions = []string{"list", "make", "resize", "destroy"}

// semaphorist is one call of the verb.
type semaphorist struct {
	*verb
	t        *tool
	layout   layout
	trust    trust
	patience patience
	wait     bool
}

func semVerb() *verb {
	s := new(semaphorist)
	v := newVerb("sem", "ARENA [ACTION NAME TICKETS]", "semaphores: list, make, resize, destroy", `Lists the semaphores of an arena, or changes one as the library does. The arena
is created by make if it is not there.

list                   the same as no action
make NAME TICKETS      if it is there with another size, nothing changes
resize NAME TICKETS    larger at once, smaller as tickets come back; with --wait
                       it returns when they have
destroy NAME           waits until all tickets are back, and refuses new requests
                       meanwhile

Exit code: 0 if it is done, 1 if it is not: another size, or not in time; 2 if it
cannot be done.`)
	s.verb = v
	s.layout.flags(v.flags)
	v.flags.BoolVar(&s.wait, "wait", false, "of resize: wait until no more tickets are held than there are")
	v.flags.VarP(&s.patience, "timeout", "w", "of resize --wait and destroy: wait that long, in seconds or like 1m30s")
	s.trust.flags(v.flags)
	v.columns = helpOn(semColumns)
	v.takes = []argument{anArena, aSemAction, aLock}
	v.run = func(t *tool, args []string) int {
		s.t = t
		return s.do(args)
	}
	return v
}

func (s *semaphorist) do(args []string) int {
	if len(args) == 0 {
		s.t.complain("sem of which arena? %s", s.t.arenasThere())
		return exitCannotTell
	}
	name, action, rest := args[0], "list", args[min(1, len(args)):]
	if len(rest) > 0 {
		action, rest = rest[0], rest[1:]
	}
	want := map[string]int{"list": 0, "make": 2, "resize": 2, "destroy": 1}
	n, known := want[action]
	switch {
	case !known:
		return s.t.misused(s.verb, fmt.Errorf("sem cannot %s; it can: %s", quotedAlways(action), strings.Join(semActions, ", ")))
	case len(rest) != n:
		return s.t.misused(s.verb, fmt.Errorf("sem %s takes %s", action, []string{"nothing more", "a NAME", "a NAME and a number of TICKETS"}[n]))
	case action == "list":
		return s.list(name)
	}
	tickets := 0
	if n == 2 {
		var err error
		if tickets, err = strconv.Atoi(rest[1]); err != nil || tickets < 1 {
			return s.t.misused(s.verb, fmt.Errorf("%s is no number of tickets", quotedAlways(rest[1])))
		}
	}
	return s.change(name, action, rest[0], tickets)
}

func (s *semaphorist) list(name string) int {
	columns, err := choose(semColumns, s.layout.columns, s.layout.json)
	if err != nil {
		return s.t.misused(s.verb, err)
	}
	r, err := s.t.load(name)
	if r == nil {
		s.t.complain("%v", err)
		return exitCannotTell
	}
	rows := slices.Collect(semaphoresOf(r))
	if err := ordered(semColumns, s.layout.sort, rows); err != nil {
		return s.t.misused(s.verb, err)
	}
	code := write(s.t, s.layout, columns, slices.Values(rows), "semaphores", nil)
	if err != nil {
		s.t.complain("%v", err)
		return exitCannotTell
	}
	return code
}

func semaphoresOf(r *report) iter.Seq[*lock] {
	return func(yield func(*lock) bool) {
		for _, l := range r.busy() {
			if l.Tickets != nil && !yield(l) {
				return
			}
		}
	}
}

func (s *semaphorist) change(name, action, which string, tickets int) int {
	a, err := s.open(name, action)
	if err != nil {
		s.t.complain("%v", err)
		return exitCannotTell
	}
	defer a.Close()
	interrupted, stop := interruptible()
	defer stop()
	ctx, cancel := interrupted, context.CancelFunc(func() {})
	if s.patience.limited {
		ctx, cancel = context.WithTimeout(ctx, s.patience.limit)
	}
	defer cancel()
	sem := a.Semaphore(which, 0)
	switch action {
	case "make":
		_, err = a.Semaphore(which, tickets).Tickets()
	case "resize":
		if err = sem.Resize(tickets); err == nil && s.wait {
			err = sem.ResizeWait(ctx, tickets)
		}
	case "destroy":
		err = sem.Destroy(ctx)
	}
	switch {
	case err == nil:
		return exitFine
	case interrupted.Err() != nil:
		return exitInterrupted
	case errors.Is(err, arena.ErrNoSemaphore):
		s.t.complain("no semaphore named %s in %s; lockd-inspect sem %s make %s TICKETS makes one", quoted(which), quoted(name),
			shellLine([]string{name}), shellLine([]string{which}))
		return exitCannotTell
	case action == "make" && errors.Is(err, arena.ErrSize):
		has := "another number of tickets"
		if n, err := sem.Tickets(); err == nil {
			has = many(n, "ticket", "tickets")
		}
		s.t.complain("%s in %s has %s; lockd-inspect sem %s resize %s %d changes that", quoted(which), quoted(name), has,
			shellLine([]string{name}), shellLine([]string{which}), tickets)
		return exitFound
	}
	s.t.complain("%v", explained{err})
	if errors.Is(err, arena.ErrSize) || errors.Is(err, arena.ErrTimeout) {
		return exitFound
	}
	return exitCannotTell
}

func (s *semaphorist) open(name, action string) (*arena.Arena, error) {
	if action != "make" {
		return s.t.attach(name, "lockd-inspect sem", s.trust)
	}
	a, err := arena.Open(s.t.path(name), openOptions("lockd-inspect sem", s.trust))
	return a, s.t.explain(name, err)
}
