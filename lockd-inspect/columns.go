package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// column is one property of the things that a verb lists. Its name is the key
// in JSON, what -o and --sort take, and, in capitals, the header.
type column[R any] struct {
	name, says string
	hidden     bool // only with -o, and in JSON
	number     bool // aligned to the right, and never cut
	yields     int  // where a terminal is too narrow, those that yield more are cut first
	value      func(R) any
	colour     func(R) colour // nil: none
}

func text[R any](name, says string, value func(R) any) column[R] {
	return column[R]{name: name, says: says, value: value}
}

func number[R any](name, says string, value func(R) any) column[R] {
	return column[R]{name: name, says: says, value: value, number: true}
}

func (c column[R]) onDemand() column[R] {
	c.hidden = true
	return c
}

func (c column[R]) yielding(rank int) column[R] {
	c.yields = rank
	return c
}

func (c column[R]) coloured(by func(R) colour) column[R] {
	c.colour = by
	return c
}

func (c column[R]) header() string { return strings.ToUpper(c.name) }

// columnHelp is what help says about a column.
type columnHelp struct {
	name, says string
	hidden     bool
}

func helpOn[R any](table []column[R]) (all []columnHelp) {
	for _, c := range table {
		all = append(all, columnHelp{c.name, c.says, c.hidden})
	}
	return all
}

// layout is how a list is to be shown.
type layout struct {
	json      bool
	noHeaders bool
	columns   string
	sort      string
}

func (l *layout) flags(f *pflag.FlagSet) {
	f.StringVarP(&l.columns, "columns", "o", "", "`list` of columns to show; +list adds to the usual ones")
	f.StringVar(&l.sort, "sort", "", "sort by this `column`; -column for the largest first")
	f.BoolVar(&l.noHeaders, "no-headers", false, "only the lines below the headers")
	f.BoolVar(&l.json, "json", false, "JSON, with numbers as numbers and null for none")
}

// choose returns the columns that -o asks for: a list instead of the usual
// ones, or with "+" in front after them. In JSON the usual ones are all.
func choose[R any](table []column[R], list string, all bool) ([]column[R], error) {
	var usual []column[R]
	for _, c := range table {
		if !c.hidden || all {
			usual = append(usual, c)
		}
	}
	if list == "" {
		return usual, nil
	}
	var chosen []column[R]
	if rest, more := strings.CutPrefix(list, "+"); more {
		list, chosen = rest, usual
	}
	for _, name := range strings.Split(list, ",") {
		c, err := find(table, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(chosen, func(d column[R]) bool { return d.name == c.name }) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

func find[R any](table []column[R], name string) (column[R], error) {
	i := slices.IndexFunc(table, func(c column[R]) bool { return strings.EqualFold(c.name, name) })
	if i < 0 {
		return column[R]{}, fmt.Errorf("no column %s; there are: %s", quotedAlways(name), names(table))
	}
	return table[i], nil
}

func names[R any](table []column[R]) string {
	var all []string
	for _, c := range table {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

func compare(x, y any) int {
	switch x := x.(type) {
	case moment:
		if y, ok := y.(moment); ok {
			return time.Time(x).Compare(time.Time(y))
		}
	case string:
		if y, ok := y.(string); ok {
			return cmp.Compare(x, y)
		}
	}
	if a, ok := size(x); ok {
		if b, ok := size(y); ok {
			return cmp.Compare(a, b)
		}
	}
	return cmp.Compare(cell(x), cell(y))
}

func size(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		return float64(one(v)), true
	case int:
		return float64(v), true
	case uint32:
		return float64(v), true
	case uint16:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	case octets:
		return float64(v), true
	case seconds:
		return float64(v), true
	}
	return 0, false
}

// write shows rows as a table or, under a key, as JSON; behind them in the
// object comes what behind says.
func write[R any](t *tool, l layout, columns []column[R], rows iter.Seq[R], key string, behind func() string) int {
	w := bufio.NewWriterSize(t.stdout, 1<<16)
	if l.json {
		fmt.Fprintf(w, `{"format":1,%q:`, key)
		writeJSON(w, columns, rows)
		if behind != nil {
			w.WriteString(behind())
		}
		fmt.Fprintln(w, "}")
	} else {
		writeTable(w, t.screen, columns, rows, !l.noHeaders)
	}
	return t.written(w)
}

func (t *tool) written(w *bufio.Writer) int {
	if err := w.Flush(); err != nil {
		t.complain("%v", err)
		return exitCannotTell
	}
	return exitFine
}

// writeJSON writes an array, one row a line.
func writeJSON[R any](w *bufio.Writer, columns []column[R], rows iter.Seq[R]) {
	keys, separator := keysOf(columns), "\n"
	var line []byte
	w.WriteByte('[')
	for r := range rows {
		w.WriteString(separator)
		line = appendRow(line[:0], keys, columns, r)
		w.Write(line)
		separator = ",\n"
	}
	if separator != "\n" {
		w.WriteByte('\n')
	}
	w.WriteByte(']')
}

func keysOf[R any](columns []column[R]) (all []string) {
	for _, c := range columns {
		all = append(all, string(jsonValue(c.name))+":")
	}
	return all
}

// appendRow appends an object with the columns as keys, in their order.
func appendRow[R any](b []byte, keys []string, columns []column[R], r R) []byte {
	b = append(b, '{')
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, keys[i]...)
		b = appendJSON(b, c.value(r))
	}
	return append(b, '}')
}

// appendJSON is encoding/json's, but quicker for what most columns have.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case uint16:
		return strconv.AppendUint(b, uint64(v), 10)
	case uint32:
		return strconv.AppendUint(b, uint64(v), 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case string:
		if isSimple(v) && strings.IndexByte(v, '"') < 0 && strings.IndexByte(v, '\\') < 0 {
			return append(append(append(b, '"'), v...), '"')
		}
	}
	return append(b, jsonValue(v)...)
}

func jsonValue(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // of no type that a column has
	}
	return inert(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// inert is JSON in which what a terminal might obey is escaped: encoding/json
// leaves DEL and the control characters beyond it as they are.
func inert(text []byte) []byte {
	if bytes.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	var b []byte
	for _, r := range string(text) {
		if unicode.IsControl(r) {
			b = fmt.Appendf(b, `\u%04x`, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
