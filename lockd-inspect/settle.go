package main

import (
	"context"
	"fmt"
	"time"
)

const settlePatience = 10 * time.Second

func settleVerb() *verb {
	var c trust
	v := newVerb("settle", "ARENA", "give back what dead processes held", `Gives back now what members that have died held, waited for or were about to
do: without it that happens when somebody wants it, or attaches and stays a
second. Locks that the dead held are abandoned then, and the next owner is told.
Nothing is taken from the living, nor from those of whom it cannot be told.

Exit code: 0 if nothing is left to settle, 1 if somebody is whose death cannot
be proven, 2 if it cannot be done.`)
	c.flags(v.flags)
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		name, ok := t.one(v, args, "which arena")
		if !ok {
			return exitCannotTell
		}
		before, err := t.live(name)
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		a, err := t.attach(name, "lockd-inspect settle", c)
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		interrupted, stop := interruptible()
		defer stop()
		ctx, cancel := context.WithTimeout(interrupted, settlePatience)
		defer cancel()
		err = a.Settle(ctx)
		a.Close()
		if err != nil && interrupted.Err() != nil {
			return exitInterrupted
		}
		if err != nil {
			t.complain("%v", explained{err})
			return exitCannotTell
		}
		after, err := t.live(name)
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		return t.tellSettled(before, after)
	}
	return v
}

func (t *tool) tellSettled(before, after *report) int {
	n, left := 0, 0
	for _, m := range memberRows(before) {
		if !m.dead() {
			continue
		}
		if after.member(m.Index, m.Generation) != nil {
			t.complain("%s is dead and could not be settled; lockd-inspect check %s says why", m.title(), shellLine([]string{after.Arena.Name}))
			left++
			continue
		}
		n++
		held := "nothing"
		if len(m.holds) > 0 {
			held = m.holds.String()
		}
		fmt.Fprintf(t.stdout, "settled %s, which held %s\n", m.title(), held)
	}
	if n == 0 && left == 0 {
		fmt.Fprintln(t.stdout, "nothing to settle")
	}
	for _, m := range after.Members {
		if m.Alive == nil {
			t.complain("of %s nothing can be told from here: look from its pid namespace", m.title())
			left++
		}
	}
	if left > 0 {
		return exitFound
	}
	return exitFine
}
