package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
)

func showVerb() *verb {
	v := newVerb("show", "ARENA LOCK", "one lock whole: owner, waiters in order, readers, tickets, ranges, last death", `Shows all that is known about one lock. A name that the lists show quoted may
be given as it is shown there. When an owner took a lock is recorded if its process
tracks what it holds, as do those of lockd-inspect run; of another, what is said is
how long that can be at most, for it attached then.`+dumpHint)
	asJSON := v.flags.Bool("json", false, "JSON: the lock as a dump has it")
	v.takes = []argument{anArena, aLock}
	v.run = func(t *tool, args []string) int {
		if len(args) != 2 {
			return t.misused(v, fmt.Errorf("show needs an ARENA and a LOCK"))
		}
		r, err := t.load(args[0])
		if r == nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		if err != nil {
			t.complain("%v", err)
		}
		l := r.lockNamed(args[1])
		if l == nil {
			t.complain("no lock named %s in %s; %s", quoted(args[1]), quoted(r.Arena.Name), r.locksThere())
			if err != nil {
				return exitCannotTell
			}
			return exitFound
		}
		w := bufio.NewWriter(t.stdout)
		if *asJSON {
			fmt.Fprintf(w, "{\"format\":1,\"arena\":%s,\"lock\":%s}\n", jsonRow(arenaColumns, rowOf(r)), jsonValue(l))
		} else {
			s := &sheet{w: w, t: t, r: r}
			s.show(l)
		}
		if code := t.written(w); err == nil {
			return code
		}
		return exitCannotTell
	}
	return v
}

// lockNamed also understands names as the lists show them.
func (r *report) lockNamed(name string) *lock {
	find := func(name string) *lock {
		for l := range r.locks() {
			if l.bytes() == name {
				return l
			}
		}
		return nil
	}
	if l := find(name); l != nil {
		return l
	}
	if plain, err := strconv.Unquote(name); err == nil && strings.HasPrefix(name, `"`) {
		return find(plain)
	}
	return nil
}

// mostNamed is how many names an error lists.
const mostNamed = 10

func (r *report) locksThere() string {
	var all []string
	n := 0
	for l := range r.locks() {
		if n++; n <= mostNamed {
			all = append(all, quoted(l.bytes()))
		}
	}
	switch {
	case n == 0:
		return "it has none"
	case n > mostNamed:
		return fmt.Sprintf("there are %d, such as: %s", n, strings.Join(all, ", "))
	}
	return "there are: " + strings.Join(all, ", ")
}

// sheet writes one lock for people.
type sheet struct {
	w *bufio.Writer
	t *tool
	r *report
}

func (s *sheet) line(key, format string, args ...any) {
	text := fmt.Sprintf("%-13s %s", key, fmt.Sprintf(format, args...))
	fmt.Fprintln(s.w, strings.TrimRight(text, " "))
}

func (s *sheet) show(l *lock) {
	s.line("lock", "%s", quoted(l.bytes()))
	s.line("arena", "%s", quoted(s.r.Arena.Path))
	s.line("kind", "%s", l.Kind)
	s.line("state", "%s", s.t.screen.paint(l.colour(), l.State)+meaning(l.State))
	if l.Owner != nil && !l.isLatched() {
		s.party("owner", l.Owner, s.inSessions(s.r.holding(l.Owner.entry, l.Slot)))
		if d, exact := l.heldFor(); exact {
			s.line("held", "%s, since %s", cell(precise(d)), cell(l.Tally.HeldSince))
		} else if m := l.Owner.entry; m != nil && s.r.age(m.Joined) != nil {
			s.line("held", "%s at most: it attached then", s.r.age(m.Joined))
		}
	} else if l.Owner != nil {
		s.party("latch", l.Owner, "")
	}
	for i, o := range l.Reading {
		s.party("reads", &l.Reading[i].party, fmt.Sprintf(" ×%d", o.Count)+s.inSessions(s.r.holding(o.entry, l.Slot)))
	}
	if l.Tickets != nil {
		s.line("tickets", "%d, of which %d are held", l.Tickets.Size, l.Tickets.InUse)
		for i, h := range l.Tickets.Holders {
			s.party("holds "+spans(h.Numbers), &l.Tickets.Holders[i].party, s.inSessions(s.r.holding(h.entry, l.Slot)))
		}
	}
	if l.Kind == "ranges" {
		s.rangeTable(l)
	}
	s.line("waiters", "%d", l.Waiters)
	for i := range l.Waiting {
		w := &l.Waiting[i]
		extra := ", " + w.Mode
		if w.Tickets > 0 {
			extra = fmt.Sprintf(", %d %s", w.Tickets, w.Mode)
		}
		if w.Range != nil {
			extra += " " + w.Range.String()
		}
		if w.Count > 1 {
			extra += fmt.Sprintf(" ×%d", w.Count)
		}
		if age := s.r.age(w.Since); age != nil {
			extra += fmt.Sprintf(", since %s", age)
		}
		if w.Range != nil {
			extra += s.inSession(w.entry, w.Range.Session)
		} else {
			extra += s.inSessions(s.r.waitingIn(w.entry, l.Slot))
		}
		s.party(fmt.Sprintf("  %d", i+1), &w.party, extra)
	}
	if c := l.Tally; c != nil {
		s.line("taken", "%d times, %d of them after waiting, %s in all", c.Acquisitions, c.Contended, cell(precise(c.Waited)))
		s.line("  held", "%s in all, %s the longest", cell(precise(c.Held)), cell(precise(c.Longest)))
	}
	s.line("fence", "%d", l.Fence)
	s.line("abandoned", "%d times", l.Abandonments)
	if d := l.LastDeath; d != nil {
		s.line("  last", "pid %d (%s) %s, %s ago (%s)", d.PID, quoted(d.Label), ended(d.Cause), cell(s.r.age(d.When)), cell(d.When))
	}
	s.line("in the table", "slot %d, generation %d, word %s, since %s after boot", l.Slot, l.Generation, l.Word, cell(l.Named))
}

// inSessions names the sessions that hold or wait, of the process before them.
func (s *sheet) inSessions(all []*session) string {
	text := ""
	for _, x := range all {
		text += ", " + x.title()
	}
	return text
}

// party is one process in a line.
func (s *sheet) party(key string, p *party, extra string) {
	s.line(key, "%s", s.described(p, extra))
	if p.entry == nil {
		return
	}
	for _, h := range p.entry.Heirs {
		s.line("  kept by", "pid %d: %s", h.PID, printable(h.Command))
	}
}

func (s *sheet) described(p *party, extra string) string {
	text := fmt.Sprintf("pid %d (%s)%s", p.PID, quoted(p.Label), extra)
	m := p.entry
	switch {
	case m == nil:
		text += s.t.screen.paint(red, ", not in the member table")
	default:
		text += ", " + s.t.screen.paint(m.colour(), m.state()) + ", " + m.User
		if m.Foreign {
			text += fmt.Sprintf(", in pid namespace %d", m.Namespace)
		}
		if m.Command != nil {
			text += ": " + printable(*m.Command)
		}
	}
	return text
}

// meaning is what help says about a state.
func meaning(state string) string {
	for line := range strings.Lines(stateHelp) {
		if word, says, found := strings.Cut(strings.TrimSpace(line), " "); found && word == state {
			return ": " + strings.TrimSpace(says)
		}
	}
	return ""
}
