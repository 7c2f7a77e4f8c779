package main

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// filter says which locks are asked for.
type filter struct {
	held, waiting, abandoned bool
	pids                     []int
	names, kinds             []string

	globs []glob
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
		g, err := globOf(pattern)
		if err != nil {
			return err
		}
		f.globs = append(f.globs, g)
	}
	return nil
}

// glob is a shell's pattern, in which, unlike for paths, * also matches a slash:
// a lock's name has no parts.
type glob []globStep

// globStep matches one character, or with star any number of them.
type globStep struct {
	star    bool
	matches func(rune) bool
}

func globOf(pattern string) (g glob, err error) {
	for rest := []rune(pattern); len(rest) > 0; {
		c := rest[0]
		rest = rest[1:]
		switch c {
		case '*':
			g = append(g, globStep{star: true})
			continue
		case '?':
			g = append(g, globStep{matches: func(rune) bool { return true }})
			continue
		case '[':
			end := slices.Index(rest[min(1, len(rest)):], ']') + 1
			if end <= 0 {
				return nil, fmt.Errorf("pattern %s: there is no ] for a [", quotedAlways(pattern))
			}
			class, err := classOf(rest[:end])
			if err != nil {
				return nil, fmt.Errorf("pattern %s: %w", quotedAlways(pattern), err)
			}
			g, rest = append(g, globStep{matches: class}), rest[end+1:]
			continue
		case '\\':
			if len(rest) == 0 {
				return nil, fmt.Errorf("pattern %s ends with \\", quotedAlways(pattern))
			}
			c, rest = rest[0], rest[1:]
		}
		g = append(g, globStep{matches: func(r rune) bool { return r == c }})
	}
	return g, nil
}

// classOf is what stands between brackets: characters and spans of them, after
// ! or ^ all others.
func classOf(class []rune) (func(rune) bool, error) {
	not := class[0] == '!' || class[0] == '^'
	if not {
		class = class[1:]
	}
	if len(class) == 0 {
		return nil, errors.New("there is nothing between [ and ]")
	}
	var spans [][2]rune
	for len(class) > 0 {
		span := [2]rune{class[0], class[0]}
		class = class[1:]
		if len(class) > 1 && class[0] == '-' {
			span[1], class = class[1], class[2:]
		}
		if span[0] > span[1] {
			return nil, fmt.Errorf("%c-%c is no span", span[0], span[1])
		}
		spans = append(spans, span)
	}
	return func(r rune) bool {
		return not != slices.ContainsFunc(spans, func(s [2]rune) bool { return s[0] <= r && r <= s[1] })
	}, nil
}

// match tries the rest behind a star at one place after the other; what an
// earlier star could have taken need not be tried again.
func (g glob) match(text string) bool {
	runes := []rune(text)
	at, step, star, from := 0, 0, -1, 0
	for at < len(runes) {
		switch {
		case step < len(g) && g[step].star:
			star, from = step, at
			step++
		case step < len(g) && g[step].matches(runes[at]):
			at++
			step++
		case star >= 0:
			from++
			at, step = from, star+1
		default:
			return false
		}
	}
	for step < len(g) && g[step].star {
		step++
	}
	return step == len(g)
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
		(len(f.globs) == 0 || slices.ContainsFunc(f.globs, func(g glob) bool { return g.match(l.bytes()) })) &&
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
