package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
)

// What the diagrams have in common: nodes and arrows with texts, those of a
// cycle marked.

func (a *actor) caption() []string {
	m := a.members[0]
	lines := []string{a.who(), cut(a.described(), 48)}
	if is := m.plight(); is != "" {
		lines = append(lines, is)
	}
	return lines
}

func (g *graph) caption(e *edge) string { return quoted(e.lock) + ": " + e.waits(g.taken) }

// marked returns which edges are part of a cycle.
func (g *graph) marked() map[*edge]bool {
	all := make(map[*edge]bool)
	for _, c := range g.cycles() {
		for _, e := range c {
			all[e] = true
		}
	}
	return all
}

func (g *graph) writeDot(w *bufio.Writer) {
	text := func(lines ...string) string {
		for i, l := range lines {
			lines[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(l)
		}
		return `"` + strings.Join(lines, `\n`) + `"`
	}
	fmt.Fprintf(w, "digraph %s {\n\trankdir=RL;\n\tnode [shape=box, style=rounded, fontname=monospace];\n\tedge [fontname=monospace];\n", text(printable(g.arena)))
	for _, a := range g.actors {
		fmt.Fprintf(w, "\ta%d [label=%s];\n", a.number, text(a.caption()...))
	}
	marked := g.marked()
	for _, e := range g.edges {
		colour := ""
		if marked[e] {
			colour = ", color=red, penwidth=2"
		}
		fmt.Fprintf(w, "\ta%d -> a%d [label=%s%s];\n", e.from.number, e.to.number, text(g.caption(e)), colour)
	}
	fmt.Fprintln(w, "}")
}

func (g *graph) writeMermaid(w *bufio.Writer) {
	text := func(lines ...string) string {
		escape := strings.NewReplacer("&", "#amp;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "#", "#35;", "`", "#96;", `\`, "#92;", "|", "#124;")
		for i, l := range lines {
			lines[i] = escape.Replace(l)
		}
		return `"` + strings.Join(lines, "<br/>") + `"`
	}
	fmt.Fprintln(w, "flowchart RL")
	for _, a := range g.actors {
		fmt.Fprintf(w, "    a%d[%s]\n", a.number, text(a.caption()...))
	}
	marked := g.marked()
	var red []string
	for i, e := range g.edges {
		fmt.Fprintf(w, "    a%d -->|%s| a%d\n", e.from.number, text(g.caption(e)), e.to.number)
		if marked[e] {
			red = append(red, fmt.Sprint(i))
		}
	}
	if slices.Sort(red); len(red) > 0 {
		fmt.Fprintf(w, "    linkStyle %s stroke:red,stroke-width:2px\n", strings.Join(red, ","))
	}
}
