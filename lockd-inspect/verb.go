package main

import (
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// verb is one thing that the command does. Each has a file, which makes it
// anew for every call. Help, completion and the man page are made of these.
type verb struct {
	name, args string
	says       string // in a line
	about      string // in paragraphs
	flags      *pflag.FlagSet
	columns    []columnHelp
	takes      []argument // what its arguments are, in order
	run        func(t *tool, args []string) int
	misused    int // exit code of a wrong call

	helped bool
}

// argument is what a shell may offer in a place.
type argument string

const (
	anArena    argument = "arena"
	aLock      argument = "lock"
	aPID       argument = "pid"
	aVerb      argument = "verb"
	aShell     argument = "shell"
	aSemAction argument = "semaphore's action"
)

// makers makes each verb by its name.
func makers() []maker {
	return []maker{
		{"arenas", arenasVerb}, {"locks", locksVerb}, {"show", showVerb}, {"who", whoVerb}, {"graph", graphVerb}, {"top", topVerb},
		{"watch", watchVerb}, {"check", checkVerb}, {"dump", dumpVerb}, {"metrics", metricsVerb}, {"run", runVerb}, {"sem", semVerb},
		{"settle", settleVerb}, {"break", breakVerb}, {"rm", rmVerb}, {"demo", demoVerb}, {"completion", completionVerb},
		{"help", helpVerb}, {"version", versionVerb},
	}
}

type maker struct {
	name string
	make func() *verb
}

func verbs() (all []*verb) {
	for _, m := range makers() {
		all = append(all, m.make())
	}
	return all
}

// verbNamed makes just the one.
func verbNamed(name string) *verb {
	for _, m := range makers() {
		if m.name == name {
			return m.make()
		}
	}
	return nil
}

// newVerb gives a verb the flag that all have.
func newVerb(name, args, says, about string) *verb {
	v := &verb{name: name, args: args, says: says, about: about, misused: exitCannotTell}
	v.flags = pflag.NewFlagSet(name, pflag.ContinueOnError)
	v.flags.SortFlags = false
	v.flags.Usage = func() {}
	v.flags.BoolVarP(&v.helped, "help", "h", false, "say what this verb does")
	return v
}

// do calls a verb.
func (t *tool) do(v *verb, args []string) int {
	if err := v.flags.Parse(args); err != nil {
		return t.misused(v, err)
	}
	if v.helped {
		helpOf(t.stdout, v)
		return exitFine
	}
	return v.run(t, v.flags.Args())
}

func (t *tool) misused(v *verb, err error) int {
	more := "help"
	if v != nil && v.name != "" {
		more += " " + v.name
	}
	t.complain("%v; lockd-inspect %s says more", err, more)
	if v == nil {
		return exitCannotTell
	}
	return v.misused
}

// unnamed is for a call whose first word is no verb: that is an arena's name,
// or there is none, or flags stand before the verb.
func (t *tool) unnamed(args []string) int {
	locks := locksVerb()
	err := locks.flags.Parse(args)
	rest := locks.flags.Args()
	switch {
	case err != nil:
		return t.misused(nil, err)
	case locks.helped && len(rest) == 0:
		return t.do(helpVerb(), nil)
	case len(rest) == 0:
		return t.do(arenasVerb(), args)
	}
	if v := verbNamed(rest[0]); v != nil {
		i := slices.Index(args, rest[0])
		return t.do(v, slices.Delete(slices.Clone(args), i, i+1))
	}
	if len(rest) > 1 {
		return t.misused(nil, fmt.Errorf("%s is no verb, and one arena at a time can be shown", quotedAlways(rest[0])))
	}
	return t.do(locksVerb(), args)
}

// one returns the only argument, or says what is missing.
func (t *tool) one(v *verb, args []string, what string) (string, bool) {
	switch {
	case len(args) == 0:
		t.complain("%s %s? %s", v.name, what, t.arenasThere())
		return "", false
	case len(args) > 1:
		t.misused(v, fmt.Errorf("%s takes one arena", v.name))
		return "", false
	}
	return args[0], true
}
