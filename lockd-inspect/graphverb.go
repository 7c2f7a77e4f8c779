package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
)

var graphFormats = []string{"tree", "dot", "mermaid", "svg"}

func graphVerb() *verb {
	v := newVerb("graph", "ARENA", "who waits for whom, with cycles marked", `Shows who waits for whom. As a tree: who is waited for, below him his locks,
below each those who wait for it. As dot, mermaid or svg an arrow leads from who
waits to who holds.

A cycle is a deadlock if all in it are commands of run, which do nothing else
while they wait. A program with several goroutines may let go in one of them of
what another waits for: a cycle through one is called possible.`+dumpHint)
	format := v.flags.String("format", graphFormats[0], "`one` of "+strings.Join(graphFormats, ", "))
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		if !slices.Contains(graphFormats, *format) {
			return t.misused(v, fmt.Errorf("there is no format %s; there are: %s", quotedAlways(*format), strings.Join(graphFormats, ", ")))
		}
		name, ok := t.one(v, args, "of which arena")
		if !ok {
			return exitCannotTell
		}
		r, err := t.load(name)
		if r == nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		g, w := graphOf(r), bufio.NewWriter(t.stdout)
		switch *format {
		case "tree":
			g.writeTree(w, t.screen)
		case "dot":
			g.writeDot(w)
		case "mermaid":
			g.writeMermaid(w)
		case "svg":
			g.writeSVG(w)
		}
		code := t.written(w)
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		return code
	}
	return v
}
