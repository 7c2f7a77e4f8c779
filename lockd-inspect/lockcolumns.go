package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var lockColumns = []column[*lock]{
	text("name", "of the lock; quoted if it has bytes that cannot be seen", func(l *lock) any { return l.bytes() }),
	text("name_hex", "the name's bytes, if they are not UTF-8", func(l *lock) any { return orNone(l.NameHex) }).onDemand(),
	text("kind", "mutex, rwmutex, semaphore or ranges", func(l *lock) any { return l.Kind }),
	text("state", stateHelp, func(l *lock) any { return l.State }).coloured(func(l *lock) colour { return l.colour() }),
	number("pid", "of the owner, or of the only process that reads or has tickets or ranges; in its own pid namespace", ofHolder(func(p *party) any { return p.PID })),
	text("label", "that the owner gave itself", ofEntry(func(m *member) any { return m.Label })).yielding(1),
	text("user", "who the owner runs as", ofEntry(func(m *member) any { return m.User })).onDemand(),
	text("owner_alive", "none if that cannot be told", ofHolder(func(p *party) any { return orNone(p.Alive) })).onDemand(),
	number("waiters", "goroutines and commands that wait for it", func(l *lock) any { return l.Waiters }),
	number("waiting", "for how long the first of them has been; in JSON in seconds", func(l *lock) any {
		if d := l.longestWait(); d > 0 {
			return seconds(d)
		}
		return nil
	}),
	text("command", "of the owner, if it is alive and in this pid namespace", ofEntry(func(m *member) any { return orNone(m.Command) })).yielding(2),
	number("readers", "read locks of an rwmutex that are held", func(l *lock) any {
		if l.Kind != "rwmutex" {
			return nil
		}
		return l.Readers
	}).onDemand(),
	text("reading", "by whom: pid×count of each process, in its own pid namespace", func(l *lock) any { return listed(readers(l.Reading)) }).onDemand(),
	text("queue", "who waits, the longest first or in the order in which they are served: pid, ×count, :tickets or range", func(l *lock) any {
		return listed(waiters(l.Waiting))
	}).onDemand(),
	number("abandonments", "how often an owner died, panicked or was robbed", func(l *lock) any { return l.Abandonments }).onDemand(),
	text("last_death", "of an owner: how it ended", ofDeath(func(d *death) any { return d.Cause })).onDemand(),
	number("last_death_pid", "and who it was", ofDeath(func(d *death) any { return d.PID })).onDemand(),
	text("last_death_label", "and what it called itself", ofDeath(func(d *death) any { return d.Label })).onDemand(),
	text("last_death_at", "and when that was noticed", ofDeath(func(d *death) any { return d.When })).onDemand(),
	number("held", "for how long its owner has held it, if that process tracks it; in JSON in seconds", func(l *lock) any {
		if d, exact := l.heldFor(); exact {
			return seconds(d)
		}
		return nil
	}).onDemand(),
	number("acquisitions", "by the processes that track what they hold", ofTally(func(c *counts) any { return c.Acquisitions })).onDemand(),
	number("contended", "those of them that had to wait", ofTally(func(c *counts) any { return c.Contended })).onDemand(),
	number("held_total", "for how long they held it together", ofTally(func(c *counts) any { return precise(c.Held) })).onDemand(),
	number("held_longest", "and the longest that one did", ofTally(func(c *counts) any { return precise(c.Longest) })).onDemand(),
	number("waited_total", "for how long they waited together", ofTally(func(c *counts) any { return precise(c.Waited) })).onDemand(),
	number("fence", "the last fencing number; the next one is higher", func(l *lock) any { return l.Fence }).onDemand(),
	number("tickets", "how many a semaphore has", ofTickets(func(t *ticketry) any { return t.Size })).onDemand(),
	number("tickets_held", "how many of them are held", ofTickets(func(t *ticketry) any { return t.InUse })).onDemand(),
	text("ticket_holders", "which tickets each process holds, as pid:numbers", ofTickets(func(t *ticketry) any { return listed(ticketHolders(t.Holders)) })).onDemand(),
	number("ranges", "pieces of ranges that are held", func(l *lock) any {
		if l.Kind != "ranges" {
			return nil
		}
		return len(l.Ranges)
	}).onDemand(),
	text("range_holders", "which ranges each process holds, as pid:start-end, with /s if shared", func(l *lock) any {
		return listed(rangeHolds(l.Ranges))
	}).onDemand(),
	number("slot", "where it is in the table", func(l *lock) any { return l.Slot }).onDemand(),
	number("generation", "of the slot", func(l *lock) any { return l.Generation }).onDemand(),
}

const stateHelp = `free
	read       an rwmutex, by readers alone
	upgradable an rwmutex, by a living owner beside readers
	draining   an rwmutex whose owner waits for readers to leave
	held       by a living owner
	abandoned  free, and what it protects may be half-changed
	inherited  held by an heir who has not marked it consistent
	dead       its owner died; the next who wants it will inherit it
	left       its owner and all that inherited it ended in good order
	2 of 4     of a semaphore: so many tickets are held
	3 ranges   of ranges: so many pieces are held`

func (l *lock) colour() colour {
	switch l.State {
	case "free":
		return faint
	case "abandoned", "dead":
		return red
	case "inherited", "draining":
		return amber
	}
	return plain
}

func orNone[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// holder is who holds the lock, or the only one that holds some of it.
func (l *lock) holder() *party {
	switch {
	case l.Kind == "semaphore" && l.Tickets != nil && len(l.Tickets.Holders) == 1:
		return &l.Tickets.Holders[0].party
	case len(l.Ranges) > 0 && !slices.ContainsFunc(l.Ranges, func(h rangeHold) bool { return !h.same(&l.Ranges[0].party) }):
		return &l.Ranges[0].party
	case l.isLatched():
		return nil
	case l.Owner == nil && len(l.Reading) == 1:
		return &l.Reading[0].party
	}
	return l.Owner
}

// exclusivelyHeld does not count readers.
func (l *lock) exclusivelyHeld() bool {
	if l.Kind == "semaphore" {
		return l.Tickets != nil && l.Tickets.InUse > 0
	}
	if l.Kind == "ranges" {
		return slices.ContainsFunc(l.Ranges, func(h rangeHold) bool { return h.Mode == "exclusive" })
	}
	return l.Owner != nil
}

func ofHolder(value func(*party) any) func(*lock) any {
	return func(l *lock) any {
		if p := l.holder(); p != nil {
			return value(p)
		}
		return nil
	}
}

func ofEntry(value func(*member) any) func(*lock) any {
	return func(l *lock) any {
		if p := l.holder(); p != nil && p.entry != nil {
			return value(p.entry)
		}
		return nil
	}
}

func ofDeath(value func(*death) any) func(*lock) any {
	return func(l *lock) any {
		if l.LastDeath == nil {
			return nil
		}
		return value(l.LastDeath)
	}
}

func ofTally(value func(*counts) any) func(*lock) any {
	return func(l *lock) any {
		if l.Tally == nil {
			return nil
		}
		return value(l.Tally)
	}
}

// heldFor is for how long the owner has held it, if he says so.
func (l *lock) heldFor() (time.Duration, bool) {
	if l.Tally == nil || l.Owner == nil || !l.Tally.HeldSince.isSet() {
		return 0, false
	}
	return max(0, l.taken.Sub(time.Time(l.Tally.HeldSince))), true
}

func ofTickets(value func(*ticketry) any) func(*lock) any {
	return func(l *lock) any {
		if l.Tickets == nil {
			return nil
		}
		return value(l.Tickets)
	}
}

// Lists are arrays in JSON and texts in a table.
type (
	readers       []reader
	waiters       []waiter
	ticketHolders []ticketHolder
)

// listed is none for an empty list.
func listed[L interface {
	~[]E
	fmt.Stringer
}, E any](l L) any {
	if len(l) == 0 {
		return nil
	}
	return l
}

func (all readers) String() string {
	return joined(all, func(r reader) string { return fmt.Sprintf("%d×%d", r.PID, r.Count) })
}

func (all waiters) String() string {
	return joined(all, func(w waiter) string {
		s := fmt.Sprint(w.PID)
		if w.Count > 1 {
			s += fmt.Sprintf("×%d", w.Count)
		}
		if w.Tickets > 0 {
			s += fmt.Sprintf(":%d", w.Tickets)
		}
		if w.Range != nil {
			s += ":" + w.Range.String()
			if w.Mode == "shared" {
				s += "/s"
			}
		}
		return s
	})
}

func (all ticketHolders) String() string {
	return joined(all, func(h ticketHolder) string { return fmt.Sprintf("%d:%s", h.PID, spans(h.Numbers)) })
}

func joined[E any](all []E, show func(E) string) string {
	var texts []string
	for _, e := range all {
		texts = append(texts, show(e))
	}
	return strings.Join(texts, " ")
}

// spans writes ascending numbers shortly, like "0-2,5".
func spans(numbers []int) string {
	var all []string
	for rest := slices.Clone(numbers); len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n] == rest[n-1]+1 {
			n++
		}
		if n == 1 {
			all = append(all, fmt.Sprint(rest[0]))
		} else {
			all = append(all, fmt.Sprintf("%d-%d", rest[0], rest[n-1]))
		}
		rest = rest[n:]
	}
	return strings.Join(all, ",")
}

// state of a semaphore, like "2 of 4".
func (t *ticketry) state() string {
	if t == nil {
		return "none"
	}
	text := fmt.Sprintf("%d of %d", t.InUse, t.Size)
	if t.Ending {
		text += ", ending"
	}
	return text
}
