package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

func (t *tool) help(args []string) int {
	if len(args) > 1 {
		return t.misused(fmt.Errorf("help takes one verb"))
	}
	if len(args) == 0 {
		helpAll(t.stdout)
		return exitFine
	}
	for _, v := range verbs {
		if v.name == args[0] && v.help != nil {
			fmt.Fprintf(t.stdout, "lockd-inspect %s %s\n\n", v.name, v.args)
			v.help(t.stdout)
			return exitFine
		}
	}
	return t.misused(fmt.Errorf("there is nothing more to say about %q", args[0]))
}

func helpAll(w io.Writer) {
	fmt.Fprint(w, "lockd-inspect shows who holds what in the arenas of this host.\n\n")
	for _, v := range verbs {
		call := strings.TrimSpace(strings.ReplaceAll("lockd-inspect "+v.name+" "+v.args, "  ", " "))
		fmt.Fprintf(w, "  %s\n        %s\n", call, v.says)
	}
	fmt.Fprint(w, "\nOnly run changes anything; all else just reads, also what is wedged or damaged.\n\n")
	helpArenas(w)
	fmt.Fprint(w, `
Exit codes: 0 fine, 2 cannot tell; those of run are flock(1)'s.
`)
}

// helpView tells flags and columns of a view.
func helpView[R any](w io.Writer, table []column[R]) {
	var l layout
	var help bool
	fmt.Fprintf(w, "Flags:\n%s\nColumns, in JSON the keys (with * only on demand in a table):\n", viewFlags(&l, &help).FlagUsages())
	for _, c := range table {
		mark := " "
		if c.hidden {
			mark = "*"
		}
		fmt.Fprintf(w, "  %s %-16s  %s\n", mark, c.name, strings.ReplaceAll(c.says, "\n\t", "\n"+strings.Repeat(" ", 20)))
	}
}

func (t *tool) version(args []string) int {
	if len(args) > 0 {
		return t.misused(fmt.Errorf("version takes no arguments"))
	}
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	fmt.Fprintf(t.stdout, "lockd-inspect %s\n", version)
	return exitFine
}
