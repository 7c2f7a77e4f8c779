package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lockd/arena"
)

// finding is one thing that somebody should know.
type finding struct {
	Arena    string `json:"arena"`
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Where    string `json:"where"`
	Text     string `json:"text"`
	Next     string `json:"next"` // what to do

	lines []string // the text, if it has several parts
}

func checkVerb() *verb {
	v := newVerb("check", "[ARENA…]", "whether all is well: the file, dead members, abandoned locks, cycles", `Looks at one arena, some, or all that there are, and says what is wrong and what
to do next: a file that is damaged, truncated, of an earlier boot, or removed
under its users; members that died and were not settled; stopped members that
others wait for; abandoned locks; deadlocks, and possible ones, where programs
take part that may still let go.

Exit code: 0 if nothing was found, 1 if something was, 2 if it cannot tell.`+dumpHint)
	asJSON := v.flags.Bool("json", false, "JSON: a list of findings")
	quiet := v.flags.BoolP("quiet", "q", false, "only the exit code")
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		if len(args) == 0 {
			var err error
			if args, err = t.arenaPaths(); err != nil {
				t.complain("%v", err)
				return exitCannotTell
			}
			if len(args) == 0 && !*asJSON && !*quiet {
				t.complain("no arenas in %s that you may read", t.folder)
			}
		}
		findings, sound, blind := []finding{}, []string{}, false
		for _, name := range args {
			found, summary, err := t.examine(name)
			if findings = append(findings, found...); err != nil {
				t.complain("%v", err)
				blind = true
			} else if len(found) == 0 {
				sound = append(sound, summary)
			}
		}
		w := bufio.NewWriter(t.stdout)
		switch {
		case *quiet:
		case *asJSON:
			fmt.Fprint(w, `{"format":1,"findings":[`)
			for i, f := range findings {
				if i > 0 {
					w.WriteByte(',')
				}
				fmt.Fprintf(w, "\n%s", jsonValue(f))
			}
			fmt.Fprintln(w, "]}")
		default:
			for _, f := range findings {
				f.print(w, t.screen)
			}
			for _, s := range sound {
				fmt.Fprintln(w, s)
			}
		}
		switch code := t.written(w); {
		case blind, code != exitFine:
			return exitCannotTell
		case len(findings) > 0:
			return exitFound
		}
		return exitFine
	}
	return v
}

func (f finding) print(w *bufio.Writer, s screen) {
	colour := amber
	if f.Severity == "damage" || f.Severity == "deadlock" {
		colour = red
	}
	line := func(indent int, text string) { fmt.Fprintln(w, s.wrap(text, indent+4)) }
	head := fmt.Sprintf("%s: %s: %s:", quoted(f.Arena), s.paint(colour, f.Severity), printable(f.Where))
	if f.lines == nil {
		head += " " + printable(f.Text)
	}
	line(0, head)
	for _, text := range f.lines {
		line(4, "    "+printable(text))
	}
	if f.Next != "" {
		line(4, "    "+printable(f.Next))
	}
}

// secondLook is how long after a cycle was seen it has to be still there:
// longer than a busy program waits for its turn.
const secondLook = 150 * time.Millisecond

// examine returns all findings about an arena and, for when there are none, a
// summary. With an error some of it could not be looked at.
func (t *tool) examine(name string) (found []finding, summary string, err error) {
	r, err := t.load(name)
	if r == nil {
		found, looked := t.usersOfRemoved(t.path(name), t.nameOf(t.path(name)), true)
		if looked && len(found) > 0 {
			return found, "", nil
		}
		return nil, "", err
	}
	add := func(severity, code, where, next, format string, args ...any) {
		found = append(found, finding{Arena: r.Arena.Name, Severity: severity, Code: code, Where: where, Text: fmt.Sprintf(format, args...), Next: next})
	}
	if err != nil {
		switch {
		case errors.Is(err, arena.ErrTruncated), errors.Is(err, arena.ErrDamaged), r.dumped:
			add("damage", "file", "file", "save a copy with lockd-inspect dump; stop its users, then remove it: "+shellLine([]string{"rm", "--", r.Arena.Path}), "%v", err)
		default:
			return nil, "", err
		}
	} else {
		problems, e := t.problemsOf(name, r)
		if e != nil {
			return nil, "", e
		}
		for _, p := range problems {
			add(p.Severity, p.Code, p.Where, nextFor(p, r), "%s", p.Text)
		}
	}
	if r.Arena.EarlierBoot {
		add("stale", "earlier-boot", "file", "whoever opens it next replaces it", "it was made before the last boot, and means nothing any more")
	}
	found = append(found, r.lockFindings()...)
	found = append(found, t.cycleFindings(name, r)...)
	if !r.dumped {
		removed, _ := t.usersOfRemoved(r.Arena.Path, r.Arena.Name, false)
		found = append(found, removed...)
	}
	c := rowOf(r)
	if c.counts != nil {
		summary = fmt.Sprintf("%s: nothing found: %s, %d in use, %d waiting; %s", quoted(r.Arena.Name), many(c.counts.names, "lock", "locks"),
			c.counts.inUse, c.counts.waiting, many(c.counts.alive+c.counts.unknown, "process", "processes"))
	}
	return found, summary, nil
}

func nextFor(p problem, r *report) string {
	switch {
	case p.Code == "member-dead":
		return "the next who wants what it held takes over; lockd-inspect settle " + shellLine([]string{r.Arena.Name}) + " gives all of it back now"
	case p.Severity == "unsettled":
		return "if it stays: whoever works on it is stopped or slow; lockd-inspect who " + shellLine([]string{r.Arena.Name})
	}
	return "save a copy with lockd-inspect dump, for the report"
}

// problemsOf is what the library finds in the file; of a dump, what it found then.
func (t *tool) problemsOf(name string, r *report) ([]problem, error) {
	if r.dumped {
		return r.Problems, nil
	}
	all := []problem{}
	found, err := arena.Check(t.path(name))
	if err != nil {
		return all, explained{err}
	}
	for _, p := range found {
		all = append(all, problem{p.Severity.String(), p.Code, p.Where, p.Text})
	}
	return all, nil
}

func (t *tool) cycleFindings(name string, r *report) (found []finding) {
	first := graphOf(r)
	cycles := first.cycles()
	if len(cycles) > 0 && !r.dumped {
		time.Sleep(secondLook)
		again, err := t.load(name)
		if again == nil || err != nil {
			return nil
		}
		cycles = confirmed(cycles, graphOf(again))
	}
	for _, c := range cycles {
		f := finding{
			Arena: r.Arena.Name, Severity: c.name(), Code: "cycle", Where: quoted(c[0].lock), lines: c.explain(),
			Next: fmt.Sprintf("end one of those that wait: kill %d", c[0].waiting.PID),
		}
		f.Text = strings.Join(f.lines, "; ")
		if c[0].from.session != nil {
			f.Next = fmt.Sprintf("one of them gets ErrDeadlock soon, unless it was told not to look; or end one: kill %d", c[0].waiting.PID)
		}
		if !c.certain() {
			f.Next = "one of them may still let go in another goroutine; if these waits stay, that is a deadlock: lockd-inspect graph " + shellLine([]string{r.Arena.Name})
		}
		found = append(found, f)
	}
	return found
}

// lockFindings is about locks that need somebody.
func (r *report) lockFindings() (found []finding) {
	name := shellLine([]string{r.Arena.Name})
	for _, l := range r.busy() {
		lock := shellLine([]string{l.bytes()})
		if l.State == "abandoned" {
			found = append(found, finding{
				Arena: r.Arena.Name, Severity: "abandoned", Code: "abandoned", Where: quoted(l.bytes()), Text: l.abandonment(r),
				Next: "repair it under the lock: lockd-inspect run --mark-consistent " + name + " " + lock + " -- COMMAND",
			})
		}
		if l.Waiters == 0 {
			continue
		}
		told := make(map[*member]bool)
		l.concerns(func(p *party) bool {
			if p.entry != nil && p.entry.Stopped && l.isHeldBy(p) && l.isInTheWay(p) && !told[p.entry] {
				told[p.entry] = true
				found = append(found, finding{
					Arena: r.Arena.Name, Severity: "stopped", Code: "holder-stopped", Where: quoted(l.bytes()),
					Text: fmt.Sprintf("%s holds it and is stopped, by a signal or a debugger; %d wait", p.entry.title(), l.Waiters),
					Next: fmt.Sprintf("kill -CONT %d", p.PID),
				})
			}
			return false
		})
	}
	return found
}

func (l *lock) isHeldBy(p *party) bool {
	for i := range l.Waiting {
		if p == &l.Waiting[i].party {
			return false
		}
	}
	return true
}

// isInTheWay is about a holder: of ranges, whether somebody waits for his.
func (l *lock) isInTheWay(p *party) bool {
	if l.Kind != "ranges" || p == l.Owner {
		return true
	}
	for i := range l.Waiting {
		if slices.ContainsFunc(l.blockersOf(&l.Waiting[i]), p.same) {
			return true
		}
	}
	return false
}

// ended says how a holding did, after who held.
func ended(cause string) string {
	if cause == arena.Robbed.String() {
		return "was robbed"
	}
	return cause
}

func (l *lock) abandonment(r *report) string {
	if d := l.LastDeath; d != nil {
		return fmt.Sprintf("pid %d (%s) %s holding it, %s ago; what it protects may be half-changed", d.PID, quoted(d.Label), ended(d.Cause), cell(r.age(d.When)))
	}
	return "its last owner ended holding it; what it protects may be half-changed"
}
