package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

var columns = []string{"case", "peer", "ours", "spread", "peer's", "spread", "ratio", "spread", "cpu", "bar", ""}

func (r *row) cells() []string {
	if r.Skipped != "" {
		return []string{r.Case, r.Peer, "", "", "", "", "", "", "", "", "skipped: " + firstLine(r.Skipped)}
	}
	mark := ""
	if r.lost() {
		mark = "LOST"
	}
	var bars []string
	for _, v := range r.Bars {
		number := v.number
		if v.Of == "amount" {
			number = r.amountText
		}
		text := fmt.Sprintf("%s %s %s", v.Of, v.Want, number(v.Limit))
		if v.Of != "ratio" {
			text += " (" + number(v.Got) + ")"
		}
		bars = append(bars, strings.NewReplacer("<=", "≤", ">=", "≥").Replace(text))
	}
	if r.OursAmount != nil {
		return r.amountCells(strings.Join(bars, ", "), mark)
	}
	return []string{
		r.Case, r.Peer, r.figure(r.OursNS, r.OursOps, r.OursTail), r.spread(r.OursLow, r.OursHigh, r.OursTail),
		r.figure(r.PeerNS, r.PeerOps, r.PeerTail), r.spread(r.PeerLow, r.PeerHigh, r.PeerTail),
		ratioText(r.Ratio), ratioText(r.RatioLow) + " … " + ratioText(r.RatioHigh), r.cpu(), strings.Join(bars, ", "), mark,
	}
}

// amountCells are those of a row that is about no time.
func (r *row) amountCells(bars, mark string) []string {
	peer, theirs, ratio, spread := "", "", "", ""
	if r.PeerAmount != nil {
		peer, theirs = r.amountText(*r.PeerAmount), r.amountText(r.PeerLow)+" … "+r.amountText(r.PeerHigh)
		ratio, spread = ratioText(r.Ratio), ratioText(r.RatioLow)+" … "+ratioText(r.RatioHigh)
	}
	return []string{
		r.Case, r.Peer, r.amountText(*r.OursAmount), r.amountText(r.OursLow) + " … " + r.amountText(r.OursHigh),
		peer, theirs, ratio, spread, "", bars, mark,
	}
}

func (r *row) amountText(v float64) string {
	switch {
	case r.AmountOf == "bytes" && v >= 1e6:
		return fmt.Sprintf("%.1f MB", v/1e6)
	case r.AmountOf == "bytes":
		return fmt.Sprintf("%.0f bytes", v)
	case strings.HasPrefix(r.AmountOf, "%"):
		return fmt.Sprintf("%.3f %s", v, r.AmountOf)
	}
	return fmt.Sprintf("%.0f %s", v, r.AmountOf)
}

// cpu is the ratio of the processor times of one operation.
func (r *row) cpu() string {
	if r.OursCPU == 0 || r.PeerCPU == 0 {
		return ""
	}
	return ratioText(r.OursCPU / r.PeerCPU)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (v verdict) number(n float64) string {
	switch v.Of {
	case "ns", "p50", "p99", "p99.99", "max":
		return nanoseconds(n)
	}
	return fmt.Sprintf("%.2f", n)
}

func (r *row) figure(ns, ops float64, t *tail) string {
	switch {
	case t != nil && t.Count == 0:
		return "never came"
	case ops > 0:
		return perSecondText(ops)
	}
	return nanoseconds(ns)
}

func (r *row) spread(low, high float64, t *tail) string {
	switch {
	case t != nil:
		text := fmt.Sprintf("p99 %s, max %s", nanoseconds(t.P99), nanoseconds(t.Max))
		if t.Count >= 10000 {
			text = fmt.Sprintf("p99.99 %s, max %s", nanoseconds(t.P9999), nanoseconds(t.Max))
		}
		if t.Lost > 0 {
			text += fmt.Sprintf(", %d of %d never", t.Lost, uint64(t.Lost)+t.Count)
		}
		return text
	case r.Kind == perSecond.String():
		return perSecondText(low) + " … " + perSecondText(high)
	}
	return nanoseconds(low) + " … " + nanoseconds(high)
}

func nanoseconds(ns float64) string {
	switch {
	case ns < 100:
		return fmt.Sprintf("%.1f ns", ns)
	case ns < 1e3:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e5:
		return fmt.Sprintf("%.2f µs", ns/1e3)
	case ns < 1e6:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	}
	return fmt.Sprintf("%.2f s", ns/1e9)
}

func perSecondText(ops float64) string {
	switch {
	case ops >= 1e6:
		return fmt.Sprintf("%.2f M/s", ops/1e6)
	case ops >= 1e3:
		return fmt.Sprintf("%.1f k/s", ops/1e3)
	}
	return fmt.Sprintf("%.0f /s", ops)
}

func writeTable(w io.Writer, rows []row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(columns, "\t")))
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r.cells(), "\t"))
	}
	t.Flush()
}

// writeMarkdown writes the table, each case with what it is about.
func writeMarkdown(w io.Writer, rows []row) {
	fmt.Fprintln(w, "| "+strings.Join(columns, " | ")+" |")
	fmt.Fprintln(w, strings.Repeat("|---", len(columns))+"|")
	for _, r := range rows {
		cells := r.cells()
		if r.lost() {
			cells[len(cells)-1] = "**lost**"
		}
		for i := range cells {
			cells[i] = strings.ReplaceAll(cells[i], "|", "\\|")
		}
		fmt.Fprintln(w, "| "+strings.Join(cells, " | ")+" |")
	}
}

func ratioText(v float64) string {
	if v < 0.1 {
		return fmt.Sprintf("%.4f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
