package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// column is one property of the things that a verb lists. Its name is the key
// in JSON, what -o takes, and, in capitals, the header.
type column[R any] struct {
	name   string
	says   string
	hidden bool // only with -o, and in JSON
	number bool // aligned to the right
	value  func(R) any
}

func (c column[R]) header() string { return strings.ToUpper(c.name) }

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
		i := slices.IndexFunc(table, func(c column[R]) bool { return strings.EqualFold(c.name, name) })
		if i < 0 {
			return nil, fmt.Errorf("no column %q; there are: %s", name, names(table))
		}
		chosen = append(chosen, table[i])
	}
	return chosen, nil
}

func names[R any](table []column[R]) string {
	var all []string
	for _, c := range table {
		all = append(all, c.name)
	}
	return strings.Join(all, ", ")
}

// writeTable writes aligned columns for people, without blanks at line ends.
func writeTable[R any](w io.Writer, columns []column[R], rows []R, headers bool) {
	var lines [][]string
	if headers {
		var line []string
		for _, c := range columns {
			line = append(line, c.header())
		}
		lines = append(lines, line)
	}
	for _, r := range rows {
		var line []string
		for _, c := range columns {
			line = append(line, cell(c.value(r)))
		}
		lines = append(lines, line)
	}
	widths := make([]int, len(columns))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, text := range line {
			if i > 0 {
				b.WriteString("  ")
			}
			blanks := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if columns[i].number {
				b.WriteString(blanks + text)
			} else {
				b.WriteString(text + blanks)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// jsonRow is an object with the columns as keys, in their order.
func jsonRow[R any](columns []column[R], r R) []byte {
	b := []byte{'{'}
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, jsonValue(c.name)...), ':')
		b = append(b, jsonValue(c.value(r))...)
	}
	return append(b, '}')
}

// jsonRows is an array, one row a line.
func jsonRows[R any](columns []column[R], rows []R) []byte {
	b := []byte{'['}
	for i, r := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '\n'), jsonRow(columns, r)...)
	}
	if len(rows) > 0 {
		b = append(b, '\n')
	}
	return append(b, ']')
}

func jsonValue(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // of no type that a column has
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
