package main

import (
	"bufio"
	"fmt"
	"slices"
)

// tree writes the graph for a terminal: who is waited for first, below each
// lock of his those who wait for it.
type tree struct {
	*graph
	w       *bufio.Writer
	screen  screen
	path    []*actor
	written map[*actor]bool
	cycles  []cycle
}

func (g *graph) writeTree(w *bufio.Writer, s screen) {
	t := &tree{graph: g, w: w, screen: s, written: make(map[*actor]bool), cycles: g.cycles()}
	if len(g.edges) == 0 {
		fmt.Fprintf(w, "nobody waits in %s\n", quoted(g.arena))
		return
	}
	for _, c := range t.cycles {
		fmt.Fprintln(w, s.paint(red, c.name()+":"))
		for _, text := range c.explain() {
			fmt.Fprintln(w, s.wrap("  "+printable(text), 6))
		}
		fmt.Fprintln(w)
	}
	for _, a := range g.actors { // who waits for nobody
		if !slices.ContainsFunc(g.edges, func(e *edge) bool { return e.from == a }) {
			t.root(a)
		}
	}
	for _, a := range g.actors { // the rest is in cycles, or behind them
		if !t.written[a] && slices.ContainsFunc(t.cycles, func(c cycle) bool { return c[0].from == a }) {
			t.root(a)
		}
	}
}

func (t *tree) line(indent, text string) {
	text = indent + text
	if t.screen.isTerminal() {
		text = cut(text, t.screen.width)
	}
	fmt.Fprintln(t.w, text)
}

func (t *tree) root(a *actor) {
	m := a.members[0]
	text := a.who()
	if is := m.plight(); is != "" {
		text += " " + is
	}
	t.line("", text+"  "+a.described())
	t.below(a, "")
}

// below writes the locks of an actor that others wait for.
func (t *tree) below(a *actor, indent string) {
	t.written[a] = true
	t.path = append(t.path, a)
	defer func() { t.path = t.path[:len(t.path)-1] }()
	var locks []string
	waits := make(map[string][]*edge)
	for _, e := range t.edges {
		if e.to != a {
			continue
		}
		if waits[e.lock] == nil {
			locks = append(locks, e.lock)
		}
		waits[e.lock] = append(waits[e.lock], e)
	}
	for i, name := range locks {
		branch, next := branches(i == len(locks)-1)
		has := "holds "
		if !slices.ContainsFunc(waits[name], func(e *edge) bool { return !e.ahead }) {
			has = "is ahead in the queue of "
		}
		t.line(indent+branch, has+quoted(name))
		for k, e := range waits[name] {
			branch, deeper := branches(k == len(waits[name])-1)
			text, label := e.from.who()+" "+e.waits(t.taken), "  "+e.from.called()
			switch {
			case slices.Contains(t.path, e.from):
				t.line(indent+next+branch, text+"  ↺ "+t.cycleName(e)+label)
			case t.written[e.from] && t.isWaitedFor(e.from):
				t.line(indent+next+branch, text+"  (see above)"+label)
			default:
				t.line(indent+next+branch, text+label)
				t.below(e.from, indent+next+deeper)
			}
		}
	}
}

func (t *tree) isWaitedFor(a *actor) bool {
	return slices.ContainsFunc(t.edges, func(e *edge) bool { return e.to == a })
}

func (t *tree) cycleName(e *edge) string {
	for _, c := range t.cycles {
		if slices.Contains(c, e) {
			return c.name()
		}
	}
	return "cycle"
}

func branches(last bool) (branch, next string) {
	if last {
		return "└─ ", "   "
	}
	return "├─ ", "│  "
}
