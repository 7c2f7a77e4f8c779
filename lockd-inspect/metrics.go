package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// metric is a family in Prometheus' text format.
type metric struct {
	name, kind, help string
	samples          []sample
}

type sample struct {
	labels []string // name, value, name, value, …
	value  float64
}

func (m *metric) add(value float64, labels ...string) {
	m.samples = append(m.samples, sample{labels, value})
}

func metricsVerb() *verb {
	var only filter
	v := newVerb("metrics", "[ARENA…]", "numbers for Prometheus, in its text format", `Writes gauges and counters of one arena, some, or all that there are, in the text
format that Prometheus reads, such as for the textfile collector of its node
exporter. Single locks are told of if somebody waits for them, if they are
abandoned or were so, if they match --name, or if processes track what they hold.`+dumpHint)
	v.flags.StringArrayVar(&only.names, "name", nil, "tell also of locks whose name matches this `pattern` of *, ? and [a-z]")
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		if err := only.check(); err != nil {
			return t.misused(v, err)
		}
		if len(args) == 0 {
			found, _, err := t.findArenas()
			if err != nil {
				t.complain("%v", err)
				return exitCannotTell
			}
			for _, a := range found {
				args = append(args, a.Arena.Path)
			}
		}
		blind := false
		f := newFamilies()
		for _, name := range args {
			r, err := t.load(name)
			if err != nil {
				t.complain("%v", err)
				blind = true
			}
			if r != nil {
				f.of(r, &only, err == nil)
			}
		}
		w := bufio.NewWriter(t.stdout)
		f.write(w)
		if code := t.written(w); !blind {
			return code
		}
		return exitCannotTell
	}
	return v
}

// families are all metrics, by what they are about.
type families struct {
	all []*metric

	readable, size, created, capacity, names, waiters, members, sessions, deadlocks *metric
	acquisitions, contended, heldFor, heldTotal, heldLongest, waited                *metric
	held, waiting, longest, abandoned, abandonments, tickets, ticketsUse, ranges    *metric
}

func newFamilies() *families {
	f := new(families)
	add := func(name, kind, help string) *metric {
		m := &metric{name: name, kind: kind, help: help}
		f.all = append(f.all, m)
		return m
	}
	f.readable = add("lockd_arena_readable", "gauge", "Whether the arena could be read wholly.")
	f.size = add("lockd_arena_size_bytes", "gauge", "Size of the arena's file.")
	f.created = add("lockd_arena_created_timestamp_seconds", "gauge", "When the arena was created, in seconds since 1970.")
	f.capacity = add("lockd_arena_locks_limit", "gauge", "Locks that the arena may grow to.")
	f.names = add("lockd_arena_locks", "gauge", "Locks in the table, by kind and state.")
	f.waiters = add("lockd_arena_waiters", "gauge", "Goroutines and commands that wait for a lock.")
	f.members = add("lockd_arena_members", "gauge", "Attached processes, by state.")
	f.sessions = add("lockd_arena_sessions", "gauge", "Sessions that are open.")
	f.deadlocks = add("lockd_arena_deadlocks", "gauge", "Circles of waits in which nobody can go on.")
	f.held = add("lockd_lock_held", "gauge", "Whether somebody holds the lock, or some of it.")
	f.waiting = add("lockd_lock_waiters", "gauge", "Goroutines and commands that wait for the lock.")
	f.longest = add("lockd_lock_longest_wait_seconds", "gauge", "For how long the first of them has waited.")
	f.abandoned = add("lockd_lock_abandoned", "gauge", "Whether what the lock protects may be half-changed.")
	f.abandonments = add("lockd_lock_abandonments_total", "counter", "How often an owner ended without releasing the lock.")
	f.acquisitions = add("lockd_lock_acquisitions_total", "counter", "How often processes that track what they hold took the lock.")
	f.contended = add("lockd_lock_contended_total", "counter", "How often they had to wait for it.")
	f.waited = add("lockd_lock_waited_seconds_total", "counter", "For how long.")
	f.heldTotal = add("lockd_lock_held_seconds_total", "counter", "For how long they held it, all holdings that have ended.")
	f.heldLongest = add("lockd_lock_longest_held_seconds", "gauge", "The longest of these.")
	f.heldFor = add("lockd_lock_held_seconds", "gauge", "For how long the lock has been held, if its owner tracks that.")
	f.tickets = add("lockd_semaphore_tickets", "gauge", "Tickets that a semaphore has.")
	f.ticketsUse = add("lockd_semaphore_tickets_in_use", "gauge", "Tickets of a semaphore that are held.")
	f.ranges = add("lockd_ranges_held", "gauge", "Pieces of ranges that are held, by mode.")
	return f
}

func (f *families) of(r *report, only *filter, readable bool) {
	arena := []string{"arena", r.Arena.Name}
	f.readable.add(float64(one(readable)), arena...)
	f.size.add(float64(r.Arena.Size), arena...)
	if at := time.Time(r.Arena.Created); !at.IsZero() {
		f.created.add(float64(at.UnixNano())/1e9, arena...)
	}
	if !readable {
		return
	}
	f.capacity.add(float64(r.Arena.Capacity), arena...)
	type group struct{ kind, state string }
	count := make(map[group]int)
	waiters := 0
	for l := range r.locks() {
		state := l.State
		if l.isLatched() {
			state = map[bool]string{true: "held", false: "free"}[l.held()]
		}
		count[group{l.Kind, state}]++
		waiters += l.Waiters
		f.ofLock(r, l, only)
	}
	for _, kind := range kinds {
		for _, state := range lockStates {
			if n := count[group{kind, state}]; n > 0 || state == "free" || state == "held" || state == "abandoned" {
				f.names.add(float64(n), "arena", r.Arena.Name, "kind", kind, "state", state)
			}
		}
	}
	f.waiters.add(float64(waiters), arena...)
	f.sessions.add(float64(len(r.Sessions)), arena...)
	certain := 0
	for _, c := range graphOf(r).cycles() {
		certain += one(c.certain())
	}
	f.deadlocks.add(float64(certain), arena...)
	members := make(map[string]int)
	for _, m := range r.Members {
		members[m.state()]++
	}
	for _, state := range []string{"alive", "stopped", "inherited", "dead", "left", "joining", "unknown"} {
		f.members.add(float64(members[state]), "arena", r.Arena.Name, "state", state)
	}
}

var lockStates = []string{"free", "read", "upgradable", "draining", "held", "abandoned", "inherited", "dead", "left"}

func (f *families) ofLock(r *report, l *lock, only *filter) {
	labels := []string{"arena", r.Arena.Name, "lock", l.bytes(), "kind", l.Kind}
	if l.Tickets != nil {
		f.tickets.add(float64(l.Tickets.Size), labels[:4]...)
		f.ticketsUse.add(float64(l.Tickets.InUse), labels[:4]...)
	}
	if l.Kind == "ranges" {
		shared := 0
		for _, h := range l.Ranges {
			shared += one(h.Mode == "shared")
		}
		f.ranges.add(float64(len(l.Ranges)-shared), append(labels[:4:4], "mode", "exclusive")...)
		f.ranges.add(float64(shared), append(labels[:4:4], "mode", "shared")...)
	}
	if c := l.Tally; c != nil {
		f.acquisitions.add(float64(c.Acquisitions), labels...)
		f.contended.add(float64(c.Contended), labels...)
		f.waited.add(time.Duration(c.Waited).Seconds(), labels...)
		f.heldTotal.add(time.Duration(c.Held).Seconds(), labels...)
		f.heldLongest.add(time.Duration(c.Longest).Seconds(), labels...)
		if d, exact := l.heldFor(); exact {
			f.heldFor.add(d.Seconds(), labels...)
		}
	}
	if l.Waiters == 0 && !l.Abandoned && l.Abandonments == 0 && (len(only.globs) == 0 || !only.passes(l)) {
		return
	}
	f.held.add(float64(one(l.held())), labels...)
	f.waiting.add(float64(l.Waiters), labels...)
	f.longest.add(l.longestWait().Seconds(), labels...)
	f.abandoned.add(float64(one(l.Abandoned)), labels...)
	f.abandonments.add(float64(l.Abandonments), labels...)
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (f *families) write(w *bufio.Writer) {
	for _, m := range f.all {
		if len(m.samples) == 0 {
			continue
		}
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", m.name, escapeHelp.Replace(m.help), m.name, m.kind)
		for _, s := range m.samples {
			var labels []string
			for i := 0; i < len(s.labels); i += 2 {
				// Bytes that are not UTF-8, and control characters, are as
				// in a Go string, so that no two names become one.
				labels = append(labels, fmt.Sprintf(`%s="%s"`, s.labels[i], escapeLabel.Replace(quoted(s.labels[i+1]))))
			}
			fmt.Fprintf(w, "%s{%s} %s\n", m.name, strings.Join(labels, ","), strconv.FormatFloat(s.value, 'f', -1, 64))
		}
	}
}
