package main

import (
	"fmt"
	"slices"
)

// cycle is edges of which each begins where the one before ends.
type cycle []*edge

// certain tells whether nobody in it can ever go on.
func (c cycle) certain() bool {
	return !slices.ContainsFunc(c, func(e *edge) bool { return !e.certain })
}

func (c cycle) name() string {
	if c.certain() {
		return "deadlock"
	}
	return "possible deadlock"
}

// cycles returns a shortest cycle through each actor that is in one, certain
// ones first, and each cycle once.
func (g *graph) cycles() (all []cycle) {
	certain := func(e *edge) bool { return e.certain }
	any := func(*edge) bool { return true }
	met := make(map[*actor]bool)
	for _, use := range []func(*edge) bool{certain, any} {
		outgoing := g.outgoing(use)
		for _, a := range g.actors {
			if met[a] {
				continue
			}
			if c := shortest(a, outgoing); c != nil {
				all = append(all, c)
				for _, e := range c {
					met[e.from] = true
				}
			}
		}
	}
	return all
}

// outgoing are the edges to be used, by where they begin.
func (g *graph) outgoing(use func(*edge) bool) map[*actor][]*edge {
	all := make(map[*actor][]*edge)
	for _, e := range g.edges {
		if use(e) {
			all[e.from] = append(all[e.from], e)
		}
	}
	return all
}

// shortest looks for the way from an actor back to itself, breadth first.
func shortest(start *actor, outgoing map[*actor][]*edge) cycle {
	cameBy := make(map[*actor]*edge)
	for queue := []*actor{start}; len(queue) > 0; queue = queue[1:] {
		for _, e := range outgoing[queue[0]] {
			if cameBy[e.to] != nil {
				continue
			}
			cameBy[e.to] = e
			if e.to != start {
				queue = append(queue, e.to)
				continue
			}
			var c cycle
			for at := e; ; at = cameBy[at.from] {
				c = append(c, at)
				if at.from == start {
					slices.Reverse(c)
					return c
				}
			}
		}
	}
	return nil
}

// explain says in a line each who, by label and pid, holds what and waits for
// what.
func (c cycle) explain() []string {
	var lines []string
	for i, e := range c {
		m, before := e.from.members[0], c[(i+len(c)-1)%len(c)]
		and := " and waits"
		if e.waiting != m {
			and = fmt.Sprintf(" while its pid %d waits", e.waiting.PID)
		}
		has, by := "holds", "held by"
		if before.ahead {
			has = "is queued for"
		}
		if e.ahead {
			by = "behind"
		}
		lines = append(lines, fmt.Sprintf("%s: %s %s %s%s for %s, %s %s",
			e.from.called(), e.from.who(), has, quoted(before.lock), and, quoted(e.lock), by, e.to.who()))
	}
	return lines
}

// confirmed are the cycles all of whose waits are in another look as well.
func confirmed(cycles []cycle, again *graph) (both []cycle) {
	for _, c := range cycles {
		if !slices.ContainsFunc(c, func(e *edge) bool { return !slices.ContainsFunc(again.edges, e.same) }) {
			both = append(both, c)
		}
	}
	return both
}
