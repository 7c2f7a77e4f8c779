package main

import (
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// filter says which locks are asked for.
type filter struct {
	held, waiting, abandoned bool
	pids                     []int
	names, kinds             []string

	globs []*regexp.Regexp
}

var kinds = []string{"mutex", "rwmutex", "semaphore", "ranges"}

func (f *filter) flags(s *pflag.FlagSet) {
	s.BoolVar(&f.held, "held", false, "only locks that somebody holds, dead or alive")
	s.BoolVar(&f.waiting, "waiting", false, "only locks that somebody waits for")
	s.BoolVar(&f.abandoned, "abandoned", false, "only locks whose owner died and that nobody has marked consistent")
	s.IntSliceVar(&f.pids, "pid", nil, "only locks that this `process` holds or waits for")
	s.StringArrayVar(&f.names, "name", nil, "only locks whose name matches this `pattern` of *, ? and [a-z]")
	s.StringSliceVar(&f.kinds, "kind", nil, "only locks of this `kind`: "+strings.Join(kinds, ", "))
}

func (f *filter) check() error {
	for _, k := range f.kinds {
		if !slices.Contains(kinds, k) {
			return fmt.Errorf("there is no kind %s; there are: %s", quotedAlways(k), strings.Join(kinds, ", "))
		}
	}
	for _, pattern := range f.names {
		g, err := glob(pattern)
		if err != nil {
			return err
		}
		f.globs = append(f.globs, g)
	}
	return nil
}

// glob makes an expression of a shell's pattern, in which, unlike for paths, *
// also matches a slash: a lock's name has no parts.
func glob(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '[':
			end := strings.IndexByte(pattern[min(i+2, len(pattern)):], ']')
			if end < 0 {
				return nil, fmt.Errorf("pattern %s: there is no ] for a [", quotedAlways(pattern))
			}
			class := pattern[i+1 : i+2+end]
			not := ""
			if class[0] == '!' || class[0] == '^' {
				not, class = "^", class[1:]
			}
			b.WriteString("[" + not + strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "^", `\^`).Replace(class) + "]")
			i += 2 + end
		case '\\':
			if i++; i == len(pattern) {
				return nil, fmt.Errorf("pattern %s ends with \\", quotedAlways(pattern))
			}
			fallthrough
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	g, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %s: bad class", quotedAlways(pattern))
	}
	return g, nil
}

func (f *filter) of(all iter.Seq[*lock]) iter.Seq[*lock] {
	return func(yield func(*lock) bool) {
		for l := range all {
			if f.passes(l) && !yield(l) {
				return
			}
		}
	}
}

func (f *filter) passes(l *lock) bool {
	return (!f.held || l.held()) && (!f.waiting || l.Waiters > 0) && (!f.abandoned || l.Abandoned) &&
		(len(f.kinds) == 0 || slices.Contains(f.kinds, l.Kind)) &&
		(len(f.globs) == 0 || slices.ContainsFunc(f.globs, func(g *regexp.Regexp) bool { return g.MatchString(l.bytes()) })) &&
		(len(f.pids) == 0 || slices.ContainsFunc(f.pids, func(pid int) bool {
			return l.concerns(func(p *party) bool { return int(p.PID) == pid })
		}))
}

// concerns tells whether one of those who hold the lock or wait for it is meant.
func (l *lock) concerns(meant func(*party) bool) bool {
	if l.Owner != nil && meant(l.Owner) {
		return true
	}
	for i := range l.Reading {
		if meant(&l.Reading[i].party) {
			return true
		}
	}
	for i := range l.Waiting {
		if meant(&l.Waiting[i].party) {
			return true
		}
	}
	for i := range l.Ranges {
		if meant(&l.Ranges[i].party) {
			return true
		}
	}
	if l.Tickets != nil {
		for i := range l.Tickets.Holders {
			if meant(&l.Tickets.Holders[i].party) {
				return true
			}
		}
	}
	return false
}
