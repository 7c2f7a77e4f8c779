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
	// certain: the actor does nothing before the wait has ended. A process
	// whose goroutines may do something else meanwhile is not.
	certain bool
}

// graphOf finds who waits for whom. What a process does in no session may be
// done by any of its goroutines, so what goes through one is only possible; a
// run waits or has a command that is waited for, and nothing else.
func graphOf(r *report) *graph {
	g := &graph{arena: r.Arena.Name, taken: time.Time(r.Taken)}
	b := &builder{graph: g, report: r, processes: actorsOf(r), sessions: make(map[sessionName]*actor)}
	for _, s := range r.Sessions {
		if s.entry != nil {
			b.sessions[s.name()] = &actor{members: []*member{s.entry}, session: s}
		}
	}
	for l := range r.locks() {
		b.lock(l)
	}
	b.deadlocks()
	g.settleOrder()
	return g
}

// builder finds the edges of a graph.
type builder struct {
	*graph
	report    *report
	processes map[*member]*actor
	sessions  map[sessionName]*actor
}

func (b *builder) lock(l *lock) {
	for i := range l.Waiting {
		w := &l.Waiting[i]
		if !w.known() || w.dead() {
			continue
		}
		blockers := l.blockersOf(w.Mode)
		in := b.report.waitingIn(w.entry, l.Slot)
		for _, s := range in {
			e := edge{from: b.sessions[s.name()], lock: l.bytes(), kind: l.Kind, mode: w.Mode, count: 1, since: s.waitingSince()}
			if s.Wait.Kind == "rwmutex" {
				e.mode = s.Wait.Mode
			}
			b.blocked(l, &w.party, blockers, e)
		}
		if rest := int(w.Count) - len(in); rest > 0 {
			b.blocked(l, &w.party, blockers, edge{
				from: b.processes[w.entry], lock: l.bytes(), kind: l.Kind, mode: w.Mode, count: uint32(rest), since: time.Time(w.Since),
			})
		}
	}
	if l.Gate != nil && *l.Gate == "draining" && l.Owner != nil && l.Owner.known() && !l.Owner.dead() {
		var readers []*party
		for i := range l.Reading {
			readers = append(readers, &l.Reading[i].party)
		}
		e := edge{from: b.processes[l.Owner.entry], lock: l.bytes(), kind: l.Kind, mode: "exclusive", count: 1}
		if in := append(b.report.waitingIn(l.Owner.entry, l.Slot), b.report.holding(l.Owner.entry, l.Slot)...); len(in) > 0 {
			e.from, e.since = b.sessions[in[0].name()], in[0].waitingSince()
		}
		b.blocked(l, l.Owner, readers, e)
	}
}

// blocked adds an edge to each who holds the lock, in a session or in none.
func (b *builder) blocked(l *lock, waiter *party, blockers []*party, e edge) {
	e.waiting = waiter.entry
	for _, p := range blockers {
		if p.entry == nil {
			continue
		}
		in := b.report.holding(p.entry, l.Slot)
		for _, s := range in {
			b.add(e, b.sessions[s.name()])
		}
		if len(in) == 0 {
			b.add(e, b.processes[p.entry])
		}
	}
}

func (g *graph) add(e edge, to *actor) {
	if e.to = to; e.from == nil || e.to == nil {
		return
	}
	e.certain = e.from.session == nil && e.waiting.ByteOnly && e.count == 1 && e.kind != "semaphore" && e.from.bound(e.waiting)
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

// deadlocks makes certain what the library's detector has found.
func (b *builder) deadlocks() {
	for _, circle := range b.report.Deadlocks {
		for _, d := range circle {
			from, to := b.sessions[d.From], b.sessions[d.To]
			if from == nil || to == nil || from.session.Wait == nil {
				continue
			}
			same := func(e *edge) bool { return e.from == from && e.to == to && e.lock == d.Lock }
			if !slices.ContainsFunc(b.edges, same) { // it waits behind the other, who does not hold it yet
				w := from.session.Wait
				b.add(edge{from: from, waiting: from.members[0], lock: d.Lock, kind: w.Kind, mode: w.Mode, count: 1, since: from.session.waitingSince()}, to)
			}
			for _, e := range b.edges {
				e.certain = e.certain || same(e)
			}
		}
	}
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
