package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// comparison gathers the events between two reports.
type comparison struct {
	before, after *report
	events        []event
}

func changes(before, after *report) []event {
	c := &comparison{before: before, after: after}
	c.members()
	type place struct{ slot, generation uint32 }
	was := make(map[place]*lock)
	for _, l := range before.busy() {
		was[place{l.Slot, l.Generation}] = l
	}
	for _, l := range after.busy() {
		old := was[place{l.Slot, l.Generation}]
		if old == nil {
			old = &lock{Name: l.Name, Kind: l.Kind, Abandonments: l.Abandonments, Tickets: l.Tickets.without()}
		}
		delete(was, place{l.Slot, l.Generation})
		c.lock(old, l)
	}
	for _, old := range was { // its name has left the table
		c.lock(old, &lock{Name: old.Name, NameHex: old.NameHex, Kind: old.Kind, Abandonments: old.Abandonments, taken: time.Time(after.Taken)})
	}
	c.cycles()
	slices.SortStableFunc(c.events, func(a, b event) int { return cmp.Compare(rank(a), rank(b)) })
	return c.events
}

// rank puts what happened to processes before what follows from it.
func rank(e event) int {
	if i := slices.Index([]string{"attached", "died", "abandoned"}, e.Event); i >= 0 {
		return i
	}
	return 3
}

func (c *comparison) add(name string, l *lock, p *party, format string, args ...any) {
	e := event{At: c.after.Taken, Event: name, Text: fmt.Sprintf(format, args...)}
	if l != nil {
		lock := l.bytes()
		e.Lock = &lock
	}
	if p != nil {
		e.PID, e.Label = p.PID, p.Label
	}
	c.events = append(c.events, e)
}

func (m *member) party() *party { return &party{m.Index, m.Generation, m.PID, m.Label, m.Alive, m} }

func (p *party) title() string { return fmt.Sprintf("pid %d (%s)", p.PID, quoted(p.Label)) }

func (p *party) same(q *party) bool {
	return p != nil && q != nil && p.Index == q.Index && p.Generation == q.Generation
}

// members passes over those that are still joining: what they call themselves
// may not be there yet.
func (c *comparison) members() {
	for _, m := range c.after.Members {
		old := c.before.attached(m)
		if c.after.attached(m) == nil {
			continue
		}
		if old == nil {
			c.add("attached", nil, m.party(), "%s", m.title())
		}
		if m.dead() && !m.LeftInOrder && (old == nil || !old.dead()) {
			c.add("died", nil, m.party(), "%s", m.title())
		}
	}
	for _, old := range c.before.Members {
		switch {
		case c.before.attached(old) == nil || c.after.attached(old) != nil:
		case old.dead():
			c.add("settled", nil, old.party(), "%s", old.title())
		default:
			c.add("left", nil, old.party(), "%s", old.title())
		}
	}
}

// attached is this member in a report, or nil before it has come or after it
// has gone.
func (r *report) attached(m *member) *member {
	if m := r.member(m.Index, m.Generation); m != nil && m.Phase != "joining" {
		return m
	}
	return nil
}

func (c *comparison) lock(old, l *lock) {
	if l.Abandonments > old.Abandonments {
		var who *party
		text := "its owner ended holding it"
		if d := l.LastDeath; d != nil {
			who = &party{PID: uint32(d.PID), Label: d.Label}
			text = fmt.Sprintf("%s %s holding it", who.title(), ended(d.Cause))
		}
		c.add("abandoned", l, who, "%s", text)
	}
	if l.Kind == "semaphore" {
		c.tickets(old, l)
	} else if l.Kind == "ranges" {
		c.ranges(old, l)
	} else {
		c.owner(old, l)
	}
	for i := range l.Reading {
		r := &l.Reading[i]
		if k := slices.IndexFunc(old.Reading, func(o reader) bool { return o.same(&r.party) }); k < 0 {
			c.add("taken", l, &r.party, "%s, shared", r.title())
		}
	}
	for i := range old.Reading {
		r := &old.Reading[i]
		if !slices.ContainsFunc(l.Reading, func(o reader) bool { return o.same(&r.party) }) {
			c.add("released", l, &r.party, "%s, shared", r.title())
		}
	}
	for i := range l.Waiting {
		w := &l.Waiting[i]
		if w.dead() || slices.ContainsFunc(old.Waiting, func(o waiter) bool { return o.isLike(w) }) {
			continue
		}
		var holders []string
		for _, p := range l.blockersOf(w) {
			holders = append(holders, p.title())
		}
		text := w.title()
		if len(holders) > 0 {
			text += " waits for " + strings.Join(holders, ", ")
		}
		c.add("waiting", l, &w.party, "%s", text)
	}
}

func (c *comparison) owner(old, l *lock) {
	switch {
	case old.Owner == nil && l.Owner != nil:
		c.add("taken", l, l.Owner, "%s", l.Owner.title())
	case old.Owner != nil && l.Owner == nil:
		if l.Abandonments == old.Abandonments {
			c.add("released", l, old.Owner, "%s", old.Owner.title())
		}
	case old.Owner == nil || old.Owner.same(l.Owner):
	case l.Abandonments > old.Abandonments:
		c.add("inherited", l, l.Owner, "%s from %s", l.Owner.title(), old.Owner.title())
	case old.Waiters > 0:
		c.add("handed-over", l, l.Owner, "%s to %s", old.Owner.title(), l.Owner.title())
	default:
		c.add("released", l, old.Owner, "%s", old.Owner.title())
		c.add("taken", l, l.Owner, "%s", l.Owner.title())
	}
	if old.Abandoned && !l.Abandoned && l.Abandonments == old.Abandonments {
		c.add("repaired", l, old.Owner, "what it protects is whole again")
	}
}

// without is the semaphore before anybody held any of it.
func (t *ticketry) without() *ticketry {
	if t == nil {
		return nil
	}
	return &ticketry{Size: t.Size}
}

func (t *ticketry) numbersOf(p *party) []int {
	if t != nil {
		for i := range t.Holders {
			if t.Holders[i].same(p) {
				return t.Holders[i].Numbers
			}
		}
	}
	return nil
}

func (c *comparison) tickets(old, l *lock) {
	if old.Tickets != nil && l.Tickets != nil && old.Tickets.Size != l.Tickets.Size {
		c.add("resized", l, nil, "from %d to %d tickets", old.Tickets.Size, l.Tickets.Size)
	}
	tell := func(name string, has, had *ticketry) {
		if has == nil {
			return
		}
		for i := range has.Holders {
			h := &has.Holders[i]
			before := had.numbersOf(&h.party)
			if more := slices.DeleteFunc(slices.Clone(h.Numbers), func(n int) bool { return slices.Contains(before, n) }); len(more) > 0 {
				c.add(name, l, &h.party, "%s, tickets %s", h.title(), spans(more))
			}
		}
	}
	tell("taken", l.Tickets, old.Tickets)
	tell("released", old.Tickets, l.Tickets)
}

// isLike tells whether it is the same request in another look.
func (w *waiter) isLike(o *waiter) bool {
	if w.Range != nil && o.Range != nil && (w.Range.Holder != o.Range.Holder || w.Range.String() != o.Range.String()) {
		return false
	}
	return w.same(&o.party) && w.Mode == o.Mode
}

func (c *comparison) ranges(old, l *lock) {
	tell := func(name string, has, had *lock) {
		has.eachRangeHolder(func(p *party, mode string, held []stretch) {
			var before, more []stretch
			had.eachRangeHolder(func(q *party, m string, all []stretch) {
				if q.same(p) && m == mode {
					before = all
				}
			})
			for _, s := range held {
				more = append(more, s.without(before)...)
			}
			if len(more) > 0 {
				c.add(name, l, p, "%s, %s %s", p.title(), mode, stretches(more))
			}
		})
	}
	tell("released", old, l)
	tell("taken", l, old)
}

// cycles tells of those that cannot end by themselves, and when they have ended
// nevertheless: somebody gave up, or was killed.
func (c *comparison) cycles() {
	before, after := graphOf(c.before), graphOf(c.after)
	tell := func(name string, all []cycle, other *graph) {
		for _, k := range all {
			if k.certain() && len(confirmed([]cycle{k}, other)) == 0 {
				c.add(name, nil, k[0].from.members[0].party(), "%s", strings.Join(k.explain(), "; "))
			}
		}
	}
	tell("deadlock", after.cycles(), before)
	tell("broken", before.cycles(), after)
}
