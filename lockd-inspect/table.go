package main

import (
	"bufio"
	"bytes"
	"cmp"
	"iter"
)

// sampled is how many rows decide how wide the columns are. Those below are
// written as they come, so that a list of a million takes no memory; where one
// is wider, its line is.
const sampled = 1000

// writeTable writes aligned columns for people, without blanks at line ends.
func writeTable[R any](w *bufio.Writer, s screen, columns []column[R], rows iter.Seq[R], headers bool) {
	p := printer{w: w, screen: s, numbers: make([]bool, len(columns)), yields: make([]int, len(columns)), widths: make([]int, len(columns))}
	var head []string
	for i, c := range columns {
		p.numbers[i], p.yields[i] = c.number, c.yields
		head = append(head, c.header())
	}
	if headers {
		p.add(head, nil)
	}
	var cells []string
	var colours []colour
	for r := range rows {
		if !p.fixed {
			cells, colours = make([]string, len(columns)), make([]colour, len(columns))
		}
		for i, c := range columns {
			cells[i] = cell(c.value(r))
			if colours[i] = plain; c.colour != nil {
				colours[i] = c.colour(r)
			}
		}
		p.add(cells, colours)
	}
	p.flush()
}

// printer gathers the first lines to see how wide they are.
type printer struct {
	w       *bufio.Writer
	screen  screen
	numbers []bool
	yields  []int
	widths  []int
	waiting []line
	fixed   bool
	line    []byte
}

type line struct {
	cells   []string
	colours []colour
}

func (p *printer) add(cells []string, colours []colour) {
	if p.fixed {
		p.print(line{cells, colours})
		return
	}
	p.waiting = append(p.waiting, line{cells, colours})
	for i, text := range cells {
		p.widths[i] = max(p.widths[i], width(text))
	}
	if len(p.waiting) > sampled {
		p.flush()
	}
}

func (p *printer) flush() {
	if !p.fixed {
		if p.screen.unwrapped {
			p.drop()
		}
		p.shrink()
	}
	p.fixed = true
	for _, l := range p.waiting {
		p.print(l)
	}
	p.waiting = nil
	p.w.Flush()
}

const (
	gap       = "  "
	leastWide = 8 // a column is not made narrower
)

// drop leaves out the last columns, whole, that have no place however narrow
// the others are made.
func (p *printer) drop() {
	for ; len(p.widths) > 1; p.widths = p.widths[:len(p.widths)-1] {
		least := -len(gap)
		for i, w := range p.widths {
			if !p.numbers[i] {
				w = min(w, leastWide)
			}
			least += w + len(gap)
		}
		if least <= p.screen.width {
			return
		}
	}
}

// shrink takes from columns of text what a terminal is too narrow for: from
// those that yield most first, of these from the widest. Numbers are not cut.
func (p *printer) shrink() {
	if p.screen.width == 0 {
		return
	}
	over := -p.screen.width - len(gap)
	for _, w := range p.widths {
		over += w + len(gap)
	}
	for ; over > 0; over-- {
		chosen := -1
		for i, w := range p.widths {
			if p.numbers[i] || w <= leastWide {
				continue
			}
			if chosen < 0 || cmp.Or(cmp.Compare(p.yields[i], p.yields[chosen]), cmp.Compare(w, p.widths[chosen])) > 0 {
				chosen = i
			}
		}
		if chosen < 0 {
			return
		}
		p.widths[chosen]--
	}
}

func (p *printer) print(l line) {
	b := p.line[:0]
	for i, text := range l.cells[:len(p.widths)] {
		if p.screen.width > 0 && !p.numbers[i] {
			text = cut(text, p.widths[i])
		}
		blanks := max(0, p.widths[i]-width(text))
		if l.colours != nil {
			text = p.screen.paint(l.colours[i], text)
		}
		if i > 0 {
			b = append(b, gap...)
		}
		if p.numbers[i] {
			b = appendBlanks(b, blanks)
			b = append(b, text...)
		} else {
			b = append(b, text...)
			b = appendBlanks(b, blanks)
		}
	}
	b = append(bytes.TrimRight(b, " "), '\n')
	p.w.Write(b)
	p.line = b
}

func appendBlanks(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}
