package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

func helpVerb() *verb {
	v := newVerb("help", "[VERB]", "this, or what a verb does", "Says what a verb does, with its flags and columns.")
	v.takes = []argument{aVerb}
	v.run = func(t *tool, args []string) int {
		if len(args) > 1 {
			return t.misused(v, fmt.Errorf("help takes one verb"))
		}
		if len(args) == 0 {
			helpAll(t.stdout)
			return exitFine
		}
		about := verbNamed(args[0])
		if about == nil {
			return t.misused(nil, fmt.Errorf("there is no verb %s", quotedAlways(args[0])))
		}
		helpOf(t.stdout, about)
		return exitFine
	}
	return v
}

const exitCodes = "0 fine; 1 found something; 2 cannot tell, or called wrongly. Those of run are flock(1)'s."

func helpAll(w io.Writer) {
	fmt.Fprint(w, "lockd-inspect shows who holds what in the arenas of this host.\n\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-34s %s\n", strings.TrimSpace(v.name+" "+v.args), v.says)
	}
	fmt.Fprintf(w, `
Without a verb it lists the arenas; with an arena's name alone, its locks.
When something hangs, check says who waits for whom, and what to do.
Only run, sem, settle, break and rm change anything; all else just reads, also
what is wedged or damaged. lockd-inspect help VERB says more.

Exit codes: %s
`, exitCodes)
}

func helpOf(w io.Writer, v *verb) {
	fmt.Fprintf(w, "%s\n\n%s\n\nFlags:\n%s", v.usage(), v.about, v.flags.FlagUsages())
	if len(v.columns) == 0 {
		return
	}
	fmt.Fprint(w, "\nColumns, in JSON the keys (with * only on demand in a table):\n")
	for _, c := range v.columns {
		mark := " "
		if c.hidden {
			mark = "*"
		}
		fmt.Fprintf(w, "  %s %-16s  %s\n", mark, c.name, strings.ReplaceAll(c.says, "\n\t", "\n"+strings.Repeat(" ", 22)))
	}
}

func (v *verb) usage() string {
	flags := " [flags]"
	if v.name == "run" {
		return "lockd-inspect " + v.name + flags + " " + v.args
	}
	return strings.ReplaceAll("lockd-inspect "+v.name+" "+v.args+flags, "  ", " ")
}

func versionVerb() *verb {
	v := newVerb("version", "", "the version of this build", "Says which version of the command this is.")
	v.run = func(t *tool, args []string) int {
		if len(args) > 0 {
			return t.misused(v, fmt.Errorf("version takes no arguments"))
		}
		fmt.Fprintf(t.stdout, "lockd-inspect %s\n", version())
		return exitFine
	}
	return v
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
