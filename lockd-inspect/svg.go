package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Sizes in pixels. Texts are monospaced, so that their width is known.
const (
	glyph      = 7.3
	lineHeight = 16
	padding    = 10
	rowGap     = 44
	columnGap  = 60
	margin     = 24
)

type box struct {
	lines               []string
	x, y, width, height float64
}

// writeSVG draws columns: left who waits for nobody, to the right of each who
// waits for him.
func (g *graph) writeSVG(w *bufio.Writer) {
	boxes, width, height := g.place()
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="monospace" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(w, "<title>who waits for whom in %s</title>\n", escaped(g.arena))
	fmt.Fprintln(w, `<defs><marker id="end" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 10 5 0 10z" fill="#555"/></marker><marker id="cycle" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 10 5 0 10z" fill="#c00"/></marker></defs>`)
	fmt.Fprintf(w, `<rect width="%.0f" height="%.0f" fill="#fff"/>`+"\n", width, height)
	if len(g.edges) == 0 {
		fmt.Fprintf(w, `<text x="%d" y="%d">nobody waits in %s</text>`+"\n", margin, margin+lineHeight, escaped(quoted(g.arena)))
	}
	marked := g.marked()
	var labels strings.Builder // above all lines
	for i, e := range g.edges {
		g.draw(w, &labels, e, boxes, marked[e], i)
	}
	w.WriteString(labels.String())
	for _, a := range g.actors {
		b := boxes[a]
		fmt.Fprintf(w, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="6" fill="#f6f6f6" stroke="#333"/>`+"\n", b.x, b.y, b.width, b.height)
		for i, text := range b.lines {
			fmt.Fprintf(w, `<text x="%.0f" y="%.0f">%s</text>`+"\n", b.x+padding, b.y+padding+float64(i)*lineHeight+11, escaped(text))
		}
	}
	fmt.Fprintln(w, "</svg>")
}

// place gives each actor a column, one to the right of the furthest that it
// waits for; ways round a cycle end where they began.
func (g *graph) place() (boxes map[*actor]*box, width, height float64) {
	column := make(map[*actor]int)
	back := make(map[*edge]bool)
	for _, c := range g.cycles() {
		back[c[len(c)-1]] = true
	}
	for range g.actors {
		for _, e := range g.edges {
			if !back[e] && e.from != e.to {
				column[e.from] = min(max(column[e.from], column[e.to]+1), len(g.actors)-1)
			}
		}
	}
	columns := make([][]*actor, len(g.actors)+1)
	for _, a := range g.actors {
		columns[column[a]] = append(columns[column[a]], a)
	}
	boxes = make(map[*actor]*box)
	x := float64(margin)
	height, width = 2*margin+2*lineHeight, 320
	for _, actors := range columns {
		if len(actors) == 0 {
			continue
		}
		y, widest, label := float64(margin+lineHeight), 0.0, 0.0
		for _, a := range actors {
			b := &box{lines: a.caption(), x: x, y: y}
			for _, text := range b.lines {
				b.width = max(b.width, float64(len([]rune(text)))*glyph+2*padding)
			}
			b.height = max(float64(len(b.lines))*lineHeight+2*padding-4, float64(g.waitingFor(a)+1)*lineHeight*1.3)
			boxes[a] = b
			y += b.height + rowGap
			widest = max(widest, b.width)
			for _, e := range g.edges {
				if e.to == a {
					label = max(label, float64(len([]rune(g.caption(e))))*glyph)
				}
			}
		}
		x += widest + columnGap + label
		width, height = max(width, x), max(height, y)
	}
	return boxes, width + margin, height + margin + 3*lineHeight
}

func (g *graph) waitingFor(a *actor) (n int) {
	for _, e := range g.edges {
		n += one(e.to == a)
	}
	return n
}

// draw leads from the left of who waits to the right of who holds; back round
// below what is between if the holder stands to the right.
func (g *graph) draw(w, labels io.Writer, e *edge, boxes map[*actor]*box, marked bool, number int) {
	from, to := boxes[e.from], boxes[e.to]
	colour, end := "#555", "end"
	if marked {
		colour, end = "#c00", "cycle"
	}
	// Several arrows into one box end beside each other.
	siblings, place := 0, 0
	for i, f := range g.edges {
		if f.to == e.to {
			if i < number {
				place++
			}
			siblings++
		}
	}
	endY := to.y + to.height*float64(place+1)/float64(siblings+1)
	x1, y1, x2, y2 := from.x, from.y+from.height/2, to.x+to.width, endY
	var path string
	var labelX, labelY float64
	if from.x > to.x {
		middle := (x1 + x2) / 2
		path = fmt.Sprintf("M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f", x1, y1, middle, y1, middle, y2, x2, y2)
		labelX, labelY = x2+14, y2-4
	} else {
		x1, x2 = from.x+from.width/2, to.x+to.width/2
		y1, y2 = from.y+from.height, to.y+to.height
		low := max(y1, y2) + rowGap + float64(number%4)*lineHeight
		path = fmt.Sprintf("M%.0f %.0f C%.0f %.0f %.0f %.0f %.0f %.0f", x1, y1, x1, low, x2, low, x2, y2)
		labelX, labelY = (x1+x2)/2-float64(len([]rune(g.caption(e))))*glyph/2, y1+(low-y1)*3/4+4
	}
	fmt.Fprintf(w, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5" marker-end="url(#%s)"/>`+"\n", path, colour, end)
	fmt.Fprintf(labels, `<text x="%.0f" y="%.0f" fill="%s" stroke="#fff" stroke-width="3" paint-order="stroke">%s</text>`+"\n", labelX, labelY, colour, escaped(g.caption(e)))
}

var inXML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

func escaped(text string) string { return inXML.Replace(printable(text)) }
