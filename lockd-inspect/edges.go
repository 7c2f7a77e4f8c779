package main

import (
	"slices"
	"time"
)

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
	for _, l := range r.busy() {
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
	if l.Kind == "ranges" {
		b.ranges(l)
		return
	}
	for i := range l.Waiting {
		w := &l.Waiting[i]
		if !w.known() || w.dead() {
			continue
		}
		blockers := l.blockersOf(w)
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

// ranges finds who waits for whom where each wants another part, and in which
// session is known.
func (b *builder) ranges(l *lock) {
	who := func(m *member, session *uint32) *actor {
		if s := b.report.sessionOf(m, session); s != nil {
			return b.sessions[s.name()]
		}
		return b.processes[m]
	}
	for i := range l.Waiting {
		w := &l.Waiting[i]
		if !w.known() || w.dead() || w.Range == nil {
			continue
		}
		e := edge{
			from: who(w.entry, w.Range.Session), waiting: w.entry, lock: l.bytes(), kind: l.Kind, mode: w.Mode + " " + w.Range.String(),
			count: 1, since: time.Time(w.Since),
		}
		met := make(map[*actor]bool)
		for _, o := range l.obstaclesOf(w) {
			if to := who(o.entry, o.session); to != nil && !met[to] {
				met[to] = true
				e.ahead = o.ahead
				b.add(e, to)
			}
		}
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
				b.add(edge{from: from, waiting: from.members[0], lock: d.Lock, kind: w.Kind, mode: w.Mode, count: 1, since: from.session.waitingSince(), ahead: true}, to)
			}
			for _, e := range b.edges {
				e.certain = e.certain || same(e)
			}
		}
	}
}

// blockersOf returns whom somebody waits for who wants the lock.
func (l *lock) blockersOf(w *waiter) (all []*party) {
	if l.Kind == "ranges" {
		for _, o := range l.obstaclesOf(w) {
			if !slices.ContainsFunc(all, o.same) {
				all = append(all, o.party)
			}
		}
		return all
	}
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
		if w.Mode == "shared" && l.Gate != nil && *l.Gate == "open" {
			return nil // on its way in
		}
		return append(all, l.Owner)
	}
	if w.Mode != "shared" {
		for i := range l.Reading {
			all = append(all, &l.Reading[i].party)
		}
	}
	return all
}
