package main

import (
	"cmp"
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

// actor is who holds and waits: a session, all of a process that is in none, or
// several processes of which the first runs the others under what it holds.
type actor struct {
	number  int
	members []*member
	session *session
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
	ahead    bool // who is waited for does not hold it, but waits before
	// certain: the actor does nothing before the wait has ended. A process
	// whose goroutines may do something else meanwhile is not.
	certain bool
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
	slices.SortFunc(g.actors, func(a, b *actor) int {
		return cmp.Or(cmp.Compare(a.members[0].Index, b.members[0].Index), cmp.Compare(a.sessionNumber(), b.sessionNumber()))
	})
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

// described is what it calls itself, and the command line unless that says the
// same, as a run's does.
func (a *actor) described() string {
	text, m := a.called(), a.members[0]
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
	case e.kind == "semaphore" || e.kind == "ranges":
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
	return e.waiting.is(f.waiting) && e.from.is(f.from) && e.to.is(f.to) &&
		e.lock == f.lock && e.since.Equal(f.since)
}

func (a *actor) is(b *actor) bool {
	return a.members[0].is(b.members[0]) && a.sessionNumber() == b.sessionNumber()
}

// sessionNumber is 0 of who is in no session.
func (a *actor) sessionNumber() uint32 {
	if a.session == nil {
		return 0
	}
	return a.session.Number
}

// who is the pid, and the session.
func (a *actor) who() string {
	text := fmt.Sprintf("pid %d", a.members[0].PID)
	if a.session != nil {
		text += fmt.Sprintf(" session %d", a.session.Number)
	}
	return text
}

// called is what it calls itself.
func (a *actor) called() string {
	text := quoted(a.members[0].Label)
	if a.session != nil && a.session.Label != "" {
		text = quoted(a.session.Label) + ", " + text
	}
	return text
}

func (m *member) is(other *member) bool {
	return m.Index == other.Index && m.Generation == other.Generation
}
