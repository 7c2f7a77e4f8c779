package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// looks is how many times an arena is looked at for one frame: how busy a lock
// is, is in how many of them it was held.
const looks = 20

// tracked is what top has seen of one lock.
type tracked struct {
	*lock
	seen    int // looks in this frame
	busy    int // of those, held
	changes int // of owners in this frame, as far as seen
	owner   party
	since   time.Time // since when the same owner was seen at every look
	waits   []time.Duration

	countedFrom uint64    // acquisitions when the frame began,
	countedAt   time.Time // zero if nobody counts them
}

var topColumns = []column[*tracked]{
	text("name", "of the lock", func(l *tracked) any { return l.bytes() }),
	text("state", "as in locks", func(l *tracked) any { return l.State }).coloured(func(l *tracked) colour { return l.lock.colour() }),
	number("pid", "of the owner", func(l *tracked) any { return ofHolder(func(p *party) any { return p.PID })(l.lock) }),
	text("label", "of the owner", func(l *tracked) any { return ofEntry(func(m *member) any { return m.Label })(l.lock) }).yielding(1),
	number("busy", "in how many of a hundred looks it was held", func(l *tracked) any { return percent(100 * float64(l.busy) / float64(max(1, l.seen))) }),
	number("changes", "of owners seen; there may be more", func(l *tracked) any { return l.changes }),
	number("rate", "how often in a second it was taken, by processes that track what they hold", func(l *tracked) any { return l.rate() }),
	number("held", "by this owner: as it says, or for so long as was seen at least", func(l *tracked) any {
		if d, known := l.heldFor(); known {
			return seconds(d)
		}
		return nil
	}),
	number("waiters", "goroutines and commands that wait", func(l *tracked) any { return l.Waiters }),
	number("p50", "how long half of those seen waiting had waited, at most", func(l *tracked) any { return l.percentile(50) }),
	number("p99", "how long 99 of 100 of them had", func(l *tracked) any { return l.percentile(99) }),
}

// percent is written without a sign and without digits behind the point.
type percent float64

func (p percent) String() string { return fmt.Sprintf("%.0f%%", float64(p)) }

// perSecond has a digit behind the point where there is little in front of it.
type perSecond float64

func (r perSecond) String() string {
	if r < 10 {
		return fmt.Sprintf("%.1f", float64(r))
	}
	return fmt.Sprintf("%.0f", float64(r))
}

// rate is between the last look of the frame before and the last of this one.
func (l *tracked) rate() any {
	span := l.taken.Sub(l.countedAt)
	if l.Tally == nil || l.countedAt.IsZero() || span <= 0 || l.Tally.Acquisitions < l.countedFrom {
		return nil
	}
	return perSecond(float64(l.Tally.Acquisitions-l.countedFrom) / span.Seconds())
}

// count begins to count, if somebody else does.
func (l *tracked) count() {
	if l.countedAt = (time.Time{}); l.Tally != nil {
		l.countedFrom, l.countedAt = l.Tally.Acquisitions, l.taken
	}
}

// percentile is over all waits in all looks of the frame.
func (l *tracked) percentile(p int) any {
	if len(l.waits) == 0 {
		return nil
	}
	slices.Sort(l.waits)
	return precise(l.waits[min(len(l.waits)-1, len(l.waits)*p/100)])
}

// precise shows short times, too.
type precise time.Duration

func (p precise) MarshalJSON() ([]byte, error) { return seconds(p).MarshalJSON() }

func (p precise) String() string {
	if d := time.Duration(p); d < time.Second {
		return fmt.Sprintf("%.3gms", float64(d)/1e6)
	}
	return seconds(p).String()
}

// orders are what the keys sort by.
var orders = []struct {
	key  byte
	name string
	less func(a, b *tracked) int
}{
	{'b', "busiest", func(a, b *tracked) int { return cmp.Or(cmp.Compare(b.busy, a.busy), cmp.Compare(b.changes, a.changes)) }},
	{'h', "held", func(a, b *tracked) int {
		x, _ := a.heldFor()
		y, _ := b.heldFor()
		return cmp.Compare(y, x)
	}},
	{'w', "waited", func(a, b *tracked) int {
		return cmp.Or(cmp.Compare(b.Waiters, a.Waiters), cmp.Compare(b.longestWait(), a.longestWait()))
	}},
	{'n', "name", func(a, b *tracked) int { return 0 }},
}

// heldFor is for how long its holder has it, as far as that is known.
func (l *tracked) heldFor() (time.Duration, bool) {
	if d, exact := l.lock.heldFor(); exact {
		return d, true
	}
	if l.holder() == nil || l.since.IsZero() {
		return 0, false
	}
	return l.taken.Sub(l.since), true
}

// observer looks at one arena.
type observer struct {
	t      *tool
	name   string
	order  int
	locks  map[[2]uint32]*tracked
	first  bool
	report *report
}

// look takes one report. What was not seen before starts anew.
func (o *observer) look() error {
	r, err := o.t.settled(o.name)
	if err != nil {
		return err
	}
	o.report = r
	now := make(map[[2]uint32]*tracked)
	for _, l := range r.busy() {
		id := [2]uint32{l.Slot, l.Generation}
		k := o.locks[id]
		if k == nil {
			if !l.inUse() {
				continue // idle until seen otherwise
			}
			k = new(tracked)
			if o.first {
				k.begin(l, time.Time(r.Taken))
			}
		}
		k.lock = l
		k.see(time.Time(r.Taken))
		now[id] = k
	}
	o.locks, o.first = now, false
	return nil
}

// begin takes over an owner whose coming was not seen.
func (l *tracked) begin(seen *lock, at time.Time) {
	if h := seen.holder(); h != nil {
		l.owner, l.since = *h, at
	}
}

func (l *tracked) see(at time.Time) {
	if l.countedAt.IsZero() {
		l.count()
	}
	l.seen++
	l.busy += one(l.held())
	if h := l.holder(); h == nil {
		l.owner, l.since = party{}, time.Time{}
	} else if !l.owner.same(h) {
		l.changes++
		l.owner, l.since = *h, at
	}
	for i := range l.Waiting {
		if w := &l.Waiting[i]; w.known() && !w.dead() && w.Since.isSet() {
			l.waits = append(l.waits, at.Sub(time.Time(w.Since)))
		}
	}
}

// frame writes what was seen since the last one.
func (o *observer) frame(w *bufio.Writer, s screen, headers bool) {
	rows := make([]*tracked, 0, len(o.locks))
	for _, l := range o.locks {
		rows = append(rows, l)
	}
	slices.SortFunc(rows, func(a, b *tracked) int { return cmp.Or(orders[o.order].less(a, b), byName(a.lock, b.lock)) })
	title := o.title()
	if s.isTerminal() {
		title = s.wrap(title, 4)
		rows = rows[:min(len(rows), max(1, s.height-4-strings.Count(title, "\n")))]
		s.unwrapped = true
	}
	fmt.Fprintln(w, s.paint(bold, title))
	if s.isTerminal() {
		fmt.Fprintln(w, s.paint(faint, cut(o.keys(), s.width)))
	}
	writeTable(w, s, topColumns, slices.Values(rows), headers)
	for _, l := range o.locks {
		l.seen, l.busy, l.changes, l.waits = 0, 0, 0, nil
		l.count()
	}
}

// title leaves out what is rare and is not.
func (o *observer) title() string {
	c := rowOf(o.report).counts
	text := fmt.Sprintf("%s  %s  %s, %d in use, %d waiting", quoted(o.report.Arena.Name), time.Time(o.report.Taken).Local().Format(time.TimeOnly),
		many(c.names, "lock", "locks"), c.inUse, c.waiting)
	if c.abandoned > 0 {
		text += fmt.Sprintf(", %d abandoned", c.abandoned)
	}
	text += "; " + many(c.alive+c.unknown, "process", "processes")
	if c.dead > 0 {
		text += fmt.Sprintf(", %d dead", c.dead)
	}
	return text
}

func (o *observer) keys() string {
	var all []string
	for i, order := range orders {
		text := fmt.Sprintf("%c %s", order.key, order.name)
		if i == o.order {
			text = "[" + text + "]"
		}
		all = append(all, text)
	}
	return "keys: " + strings.Join(all, "  ") + "  q quit"
}

func topVerb() *verb {
	v := newVerb("top", "ARENA", "live: what is busiest, held longest, waited for most", `Shows again and again the locks that are in use, or were while it looked. For
each frame it looks at the arena 20 times: how busy a lock is, is in how many of
them it was held, and changes of owners between two looks are not seen. On a
terminal keys choose the order: b busiest, h held longest, w waited for most,
n name; q ends it. Elsewhere it writes plain frames with an empty line between
them.`)
	interval := v.flags.Duration("interval", time.Second, "how long a frame lasts")
	count := v.flags.Int("count", 0, "end after so many frames; 0 goes on")
	by := v.flags.String("sort", orders[0].name, "`order` to begin with: busiest, held, waited, name")
	v.columns = helpOn(topColumns)
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		order := slices.IndexFunc(orders, func(o struct {
			key  byte
			name string
			less func(a, b *tracked) int
		}) bool {
			return o.name == *by
		})
		switch {
		case order < 0:
			return t.misused(v, fmt.Errorf("there is no order %s; there are: busiest, held, waited, name", quotedAlways(*by)))
		case *interval < time.Millisecond || *count < 0:
			return t.misused(v, errors.New("--interval must be 1ms or more, and --count not less than 0"))
		}
		name, ok := t.one(v, args, "of which arena")
		if !ok {
			return exitCannotTell
		}
		o := &observer{t: t, name: name, order: order, first: true}
		if err := o.look(); err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		ctx, stop := interruptible()
		defer stop()
		return o.show(ctx, *interval, *count)
	}
	return v
}
