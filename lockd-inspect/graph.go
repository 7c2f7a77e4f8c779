package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// graph says who waits for whom. The renderings know nothing else.
type graph struct {
	arena  string
	taken  time.Time
	actors []*actor // those that wait or are waited for
	edges  []*edge
}

// actor is who holds and waits: a process, or several of which the first runs
// the others under what it holds.
type actor struct {
	number  int
	members []*member
}

// edge is a wait of one actor for another.
type edge struct {
	from, to *actor
	waiting  *member // which one of the actor's
	lock     string
	kind     string
	mode     string
	count    uint32
	since    time.Time
	// certain: the actor does nothing before the wait has ended. A process
	// whose goroutines may do something else meanwhile is not.
	certain bool
}

// graphOf finds who waits for whom. A process has no actors that the arena
// knows, so what goes through one is only possible; a run waits or has a
// command that is waited for, and nothing else.
func graphOf(r *report) *graph {
	g := &graph{arena: r.Arena.Name, taken: time.Time(r.Taken)}
	groups := actorsOf(r)
	for l := range r.locks() {
		for i := range l.Waiting {
			w := &l.Waiting[i]
			if !w.known() || w.dead() {
				continue
			}
			for _, b := range l.blockersOf(w.Mode) {
				g.add(groups, &w.party, b, edge{lock: l.bytes(), kind: l.Kind, mode: w.Mode, count: w.Count, since: time.Time(w.Since)})
			}
		}
		if l.Gate != nil && *l.Gate == "draining" && l.Owner != nil && !l.Owner.dead() {
			for i := range l.Reading {
				g.add(groups, l.Owner, &l.Reading[i].party, edge{lock: l.bytes(), kind: l.Kind, mode: "exclusive", count: 1})
			}
		}
	}
	g.settleOrder()
	return g
}

// blockersOf returns whom somebody waits for who wants the lock.
func (l *lock) blockersOf(mode string) (all []*party) {
	if l.Kind == "semaphore" {
		if l.Tickets == nil {
			return nil
		}
		for i := range l.Tickets.Holders {
			all = append(all, &l.Tickets.Holders[i].party)
		}
		return all
	}
	if l.Owner != nil {
		if mode == "shared" && l.Gate != nil && *l.Gate == "open" {
			return nil // on its way in
		}
		return append(all, l.Owner)
	}
	if mode != "shared" {
		for i := range l.Reading {
			all = append(all, &l.Reading[i].party)
		}
	}
	return all
}

func (g *graph) add(groups map[*member]*actor, waiter, blocker *party, e edge) {
	e.from, e.to, e.waiting = groups[waiter.entry], groups[blocker.entry], waiter.entry
	if e.from == nil || e.to == nil {
		return
	}
	m := waiter.entry
	e.certain = m.ByteOnly && e.count == 1 && e.kind != "semaphore" && e.from.bound(m)
	if e.from == e.to && !e.certain {
		return // goroutines of one process, which take turns
	}
	for _, a := range []*actor{e.from, e.to} {
		if !slices.Contains(g.actors, a) {
			g.actors = append(g.actors, a)
		}
	}
	g.edges = append(g.edges, &e)
}

// actorsOf joins the members that act for each other.
func actorsOf(r *report) map[*member]*actor {
	groups := make(map[*member]*actor)
	for _, m := range r.Members {
		outermost := m
		for range len(r.Members) {
			if outermost.ActsFor == nil {
				break
			}
			next := r.memberByIndex(*outermost.ActsFor)
			if next == nil {
				break
			}
			outermost = next
		}
		if groups[outermost] == nil {
			groups[outermost] = &actor{members: []*member{outermost}}
		}
		if groups[m] = groups[outermost]; m != outermost {
			groups[m].members = append(groups[m].members, m)
		}
	}
	return groups
}

// bound tells whether all that hold something for m do so at least as long as
// m waits.
func (a *actor) bound(m *member) bool { return m == a.members[0] || m.Bound }

// settleOrder numbers the actors, so that the same report always looks the same.
func (g *graph) settleOrder() {
	slices.SortFunc(g.actors, func(a, b *actor) int { return int(a.members[0].Index) - int(b.members[0].Index) })
	for i, a := range g.actors {
		a.number = i + 1
	}
	slices.SortStableFunc(g.edges, func(a, b *edge) int {
		if d := a.to.number - b.to.number; d != 0 {
			return d
		}
		if a.lock != b.lock {
			return compare(a.lock, b.lock)
		}
		return a.since.Compare(b.since)
	})
}

// title says who a member is.
func (m *member) title() string { return fmt.Sprintf("pid %d (%s)", m.PID, quoted(m.Label)) }

// described is the label, and the command line unless that says the same, as a
// run's does.
func (m *member) described() string {
	text := quoted(m.Label)
	if m.Command != nil && !strings.HasSuffix(*m.Command, m.Label) {
		text += ": " + printable(*m.Command)
	}
	return text
}

// plight is what should be known about who is waited for, or nothing.
func (m *member) plight() string {
	switch m.state() {
	case "stopped":
		return "is stopped"
	case "dead", "left":
		return "is dead"
	case "inherited":
		return "has ended, but not all that it started"
	case "unknown":
		return "may be dead or alive"
	}
	return ""
}

// waits says what an edge is, without whom it leads to.
func (e *edge) waits(taken time.Time) string {
	text := "waits"
	if !e.since.IsZero() {
		text += " " + seconds(taken.Sub(e.since)).String()
	}
	if e.waiting != e.from.members[0] {
		text += fmt.Sprintf(" in its pid %d", e.waiting.PID)
	}
	switch {
	case e.kind == "semaphore":
		text += " for " + e.mode
	case e.kind == "rwmutex":
		text += ", " + e.mode
	}
	if e.count > 1 {
		text += fmt.Sprintf(" ×%d", e.count)
	}
	return text
}

// same tells whether it is the same wait in another look.
func (e *edge) same(f *edge) bool {
	return e.waiting.is(f.waiting) && e.to.members[0].is(f.to.members[0]) &&
		e.lock == f.lock && e.since.Equal(f.since)
}

func (m *member) is(other *member) bool {
	return m.Index == other.Index && m.Generation == other.Generation
}
