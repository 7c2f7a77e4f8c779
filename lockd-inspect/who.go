package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// memberRow is a member with what it holds and waits for.
type memberRow struct {
	*member
	report *report
	holds  holdings
	waits  waits
}

// holding is JSON's object for a lock that a member holds.
type holding struct {
	Lock    string    `json:"lock"`
	Kind    string    `json:"kind"`
	Mode    string    `json:"mode"`
	Count   uint32    `json:"count"`
	Tickets []int     `json:"tickets"`
	Ranges  []stretch `json:"ranges"`
}

type wait struct {
	Lock    string   `json:"lock"`
	Kind    string   `json:"kind"`
	Mode    string   `json:"mode"`
	Count   uint32   `json:"count"`
	Tickets int      `json:"tickets"`
	Range   *stretch `json:"range"`
	Waiting any      `json:"waiting"`
}

type (
	holdings []holding
	waits    []wait
	heirs    []heir
)

func (all heirs) String() string {
	return joined(all, func(h heir) string { return strconv.Itoa(h.PID) })
}

func (all holdings) String() string {
	return commas(all, func(h holding) string {
		switch {
		case len(h.Tickets) > 0:
			return fmt.Sprintf("%s:%s", quoted(h.Lock), spans(h.Tickets))
		case len(h.Ranges) > 0 && h.Mode == "shared":
			return fmt.Sprintf("%s:%s (shared)", quoted(h.Lock), stretches(h.Ranges))
		case len(h.Ranges) > 0:
			return fmt.Sprintf("%s:%s", quoted(h.Lock), stretches(h.Ranges))
		case h.Count > 1:
			return fmt.Sprintf("%s (%s ×%d)", quoted(h.Lock), h.Mode, h.Count)
		case h.Mode != "exclusive":
			return fmt.Sprintf("%s (%s)", quoted(h.Lock), h.Mode)
		}
		return quoted(h.Lock)
	})
}

func (all waits) String() string {
	return commas(all, func(w wait) string {
		text := quoted(w.Lock)
		if w.Tickets > 0 {
			text += fmt.Sprintf(":%d", w.Tickets)
		}
		if w.Range != nil {
			text += ":" + w.Range.String()
		}
		if w.Count > 1 {
			text += fmt.Sprintf(" ×%d", w.Count)
		}
		if w.Waiting != nil {
			text += " " + cell(w.Waiting)
		}
		return text
	})
}

func commas[E any](all []E, show func(E) string) string {
	var texts []string
	for _, e := range all {
		texts = append(texts, show(e))
	}
	return strings.Join(texts, ", ")
}

var memberColumns = []column[memberRow]{
	number("pid", "in its own pid namespace", func(m memberRow) any { return m.PID }),
	text("state", memberStateHelp, func(m memberRow) any { return m.state() }).coloured(func(m memberRow) colour { return m.colour() }),
	text("user", "who it runs as", func(m memberRow) any { return m.User }),
	text("label", "that it gave itself", func(m memberRow) any { return m.Label }).yielding(1),
	text("holds", "what it holds, with mode, count, ticket numbers or ranges", func(m memberRow) any { return listed(m.holds) }),
	text("waits", "what it waits for, and for how long", func(m memberRow) any { return listed(m.waits) }),
	number("attached", "since it attached; in JSON in seconds", func(m memberRow) any { return m.report.age(m.Joined) }),
	text("command", "its command line, if it is alive and in this pid namespace", func(m memberRow) any { return orNone(m.Command) }).yielding(2),
	number("uid", "the number of that user", func(m memberRow) any { return m.UID }).onDemand(),
	text("namespace", "its pid namespace: this, or its inode", func(m memberRow) any {
		if m.Foreign {
			return strconv.FormatUint(m.Namespace, 10)
		}
		return "this"
	}).onDemand(),
	number("acts_for", "pid of the run whose command it is a part of", func(m memberRow) any {
		if m.ActsFor == nil {
			return nil
		}
		if outer := m.report.memberByIndex(*m.ActsFor); outer != nil {
			return outer.PID
		}
		return nil
	}).onDemand(),
	number("sessions", "that it has open", func(m memberRow) any {
		return len(m.report.sessionsWith(m.member, func(*session) bool { return true }))
	}).onDemand(),
	text("heirs", "those that keep what an ended run holds, as far as you may see", func(m memberRow) any { return listed(heirs(m.Heirs)) }).onDemand(),
	number("member", "where it is in the member table", func(m memberRow) any { return m.Index }).onDemand(),
	number("generation", "of that entry", func(m memberRow) any { return m.Generation }).onDemand(),
}

const memberStateHelp = `alive
	stopped    by a signal or a debugger; it keeps what it holds
	inherited  a run that has ended, and whose command left others that keep what it holds
	dead       and not settled yet: it still has what it had
	left       the same, in good order
	joining    about to attach; it holds nothing yet
	unknown    that cannot be told from here`

func (m *member) colour() colour {
	switch m.state() {
	case "dead":
		return red
	case "stopped", "unknown", "inherited":
		return amber
	}
	return plain
}

func memberRows(r *report) []memberRow {
	rows := make([]memberRow, len(r.Members))
	byEntry := make(map[*member]*memberRow, len(rows))
	for i, m := range r.Members {
		rows[i] = memberRow{member: m, report: r}
		byEntry[m] = &rows[i]
	}
	hold := func(p *party, h holding) {
		if row := byEntry[p.entry]; row != nil {
			row.holds = append(row.holds, h)
		}
	}
	for _, l := range r.busy() {
		if l.Owner != nil && !l.isLatched() {
			hold(l.Owner, holding{l.bytes(), l.Kind, l.ownersMode(), 1, nil, nil})
		}
		for i, o := range l.Reading {
			hold(&l.Reading[i].party, holding{l.bytes(), l.Kind, "shared", o.Count, nil, nil})
		}
		if l.Tickets != nil {
			for i, h := range l.Tickets.Holders {
				hold(&l.Tickets.Holders[i].party, holding{l.bytes(), l.Kind, "tickets", uint32(len(h.Numbers)), h.Numbers, nil})
			}
		}
		l.eachRangeHolder(func(p *party, mode string, held []stretch) {
			hold(p, holding{l.bytes(), l.Kind, mode, uint32(len(held)), nil, held})
		})
		for i, w := range l.Waiting {
			if row := byEntry[l.Waiting[i].entry]; row != nil {
				x := wait{l.bytes(), l.Kind, w.Mode, w.Count, w.Tickets, nil, r.age(w.Since)}
				if w.Range != nil {
					x.Range = &w.Range.stretch
				}
				row.waits = append(row.waits, x)
			}
		}
	}
	return rows
}

// ownersMode is what who has the owner word may do.
func (l *lock) ownersMode() string {
	if l.Gate != nil {
		switch *l.Gate {
		case "open":
			return "upgradable"
		case "draining":
			return "draining"
		}
	}
	return "exclusive"
}

func whoVerb() *verb {
	var l layout
	v := newVerb("who", "ARENA [PID]", "the processes attached to an arena, and what each holds and waits for",
		`Lists the processes that are attached, and those that died attached and have
not been settled. With a PID only that one; the exit code is 1 if it is not
attached. With --sessions it lists sessions instead, as they describe themselves:
PID, SESSION, LABEL, HOLDS, WAITS, WAITING, PROCESS are their columns.`+dumpHint)
	bySession := v.flags.Bool("sessions", false, "list the sessions of the processes instead")
	l.flags(v.flags)
	v.columns = helpOn(memberColumns)
	v.takes = []argument{anArena, aPID}
	v.run = func(t *tool, args []string) int {
		columns, err := choose(memberColumns, l.columns, l.json)
		ofSessions, wrong := choose(sessionColumns, l.columns, l.json)
		if *bySession {
			err = wrong
		}
		pid := 0
		if err == nil && len(args) == 2 {
			if pid, err = strconv.Atoi(args[1]); err != nil || pid <= 0 {
				err = fmt.Errorf("%s is no pid", quotedAlways(args[1]))
			}
			args = args[:1]
		}
		if err != nil {
			return t.misused(v, err)
		}
		name, ok := t.one(v, args, "is attached to which arena")
		if !ok {
			return exitCannotTell
		}
		r, err := t.load(name)
		if r == nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		rows, sessions := memberRows(r), r.sessionRows()
		if pid > 0 {
			rows = slices.DeleteFunc(rows, func(m memberRow) bool { return int(m.PID) != pid })
			sessions = slices.DeleteFunc(sessions, func(s sessionRow) bool { return int(s.PID) != pid })
		}
		wrong = ordered(memberColumns, l.sort, rows)
		if *bySession {
			wrong = ordered(sessionColumns, l.sort, sessions)
		}
		if wrong != nil {
			return t.misused(v, wrong)
		}
		var code int
		if *bySession {
			code = write(t, l, ofSessions, slices.Values(sessions), "sessions", r.behind)
		} else {
			code = write(t, l, columns, slices.Values(rows), "members", r.behind)
		}
		switch {
		case err != nil:
			t.complain("%v", err)
			return exitCannotTell
		case pid > 0 && len(rows) == 0:
			t.complain("no process with pid %d is attached to %s", pid, quoted(r.Arena.Name))
			return exitFound
		}
		return code
	}
	return v
}
