package main

import (
	"bufio"
	"fmt"
	"iter"
	"slices"
)

func dumpVerb() *verb {
	v := newVerb("dump", "ARENA", "everything that can be read, as JSON, for a bug report", `Writes all that can be read of the arena and what this host knows about its
processes, as one JSON object with a format number; doc/DUMP.md describes it.
The verbs locks, show, who, graph, check and metrics read a dump as well, from a
file or with - from the standard input, on any machine.`)
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		name, ok := t.one(v, args, "of which arena")
		if !ok {
			return exitCannotTell
		}
		r, err := t.load(name)
		if r == nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		if problems, e := t.problemsOf(name, r); e == nil {
			r.Problems = problems
		}
		code := t.writeDump(r)
		if err == nil {
			err = r.missed()
		}
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		return code
	}
	return v
}

// writeDump writes one member, latch, problem and lock a line, the locks last
// and one after the other.
func (t *tool) writeDump(r *report) int {
	w := bufio.NewWriterSize(t.stdout, 1<<16)
	fmt.Fprintf(w, "%s%d,\n\"taken\":%s,\n\"host\":%s,\n\"arena\":%s,\n\"trouble\":%s",
		dumpBegins, r.Format, jsonValue(r.Taken), jsonValue(r.Host), jsonValue(r.Arena), jsonValue(r.Trouble))
	writeLines(w, "members", slices.Values(r.Members))
	writeLines(w, "sessions", slices.Values(r.Sessions))
	writeLines(w, "deadlocks", slices.Values(r.Deadlocks))
	writeLines(w, "latches", slices.Values(r.Latches))
	writeLines(w, "problems", slices.Values(r.Problems))
	writeLines(w, "locks", r.locks())
	fmt.Fprintln(w, "}")
	return t.written(w)
}

func writeLines[T any](w *bufio.Writer, key string, all iter.Seq[T]) {
	fmt.Fprintf(w, ",\n%q:[", key)
	separator := "\n"
	for one := range all {
		w.WriteString(separator)
		w.Write(jsonValue(one))
		separator = ",\n"
	}
	w.WriteByte(']')
}
