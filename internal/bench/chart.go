package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// chart is a line chart that is written as SVG.
type chart struct {
	title, x, y string
	logX, logY  bool
	xTicks      []tick // instead of those made from the data
	yText       func(float64) string
	series      []series
}

type series struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

type tick struct {
	at   float64
	text string
}

const (
	chartWidth, chartHeight                   = 880, 440
	marginLeft, marginTop, marginRight, below = 80, 40, 250, 55
)

// colours can be told apart with any eyes; the first is ours.
var colours = []string{"#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555", "#9467bd", "#8c564b"}

// scale maps one axis to pixels.
type scale struct {
	from, to   float64
	start, end float64
	log        bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = math.Log10(v)
	}
	return s.start + (v-s.from)/(s.to-s.from)*(s.end-s.start)
}

func newScale(values []float64, log bool, start, end float64) scale {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if log {
			v = math.Log10(v)
		}
		low, high = min(low, v), max(high, v)
	}
	switch {
	case len(values) == 0:
		low, high = 0, 1
	case log:
		low, high = math.Floor(low), math.Ceil(high)
	default:
		low = min(low, 0)
	}
	if high <= low {
		high = low + 1
	}
	return scale{low, high, start, end, log}
}

// ticks are at round numbers: powers of ten, or 1, 2 or 5 times such a one.
func (s scale) ticks(text func(float64) string) []tick {
	var list []tick
	if s.log {
		for e := s.from; e <= s.to; e++ {
			list = append(list, tick{math.Pow(10, e), text(math.Pow(10, e))})
		}
		return list
	}
	step := math.Pow(10, math.Floor(math.Log10((s.to-s.from)/4)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (s.to-s.from)/(step*f) <= 6 {
			step *= f
			break
		}
	}
	for v := math.Ceil(s.from/step) * step; v <= s.to; v += step {
		list = append(list, tick{v, text(v)})
	}
	return list
}

func plain(v float64) string { return fmt.Sprintf("%.0f", v) }

func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text))
	return b.String()
}

func (c *chart) svg() []byte {
	var xs, ys []float64
	for _, s := range c.series {
		for _, p := range s.points {
			xs, ys = append(xs, p.x), append(ys, p.y)
		}
	}
	right, bottom := float64(chartWidth-marginRight), float64(chartHeight-below)
	x := newScale(xs, c.logX, marginLeft, right)
	y := newScale(ys, c.logY, bottom, marginTop)
	xTicks := c.xTicks
	if xTicks == nil {
		xTicks = x.ticks(plain)
	}

	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`,
		chartWidth, chartHeight, chartWidth, chartHeight)
	line(`<rect width="%d" height="%d" fill="white"/>`, chartWidth, chartHeight)
	line(`<text x="%d" y="22" font-size="15">%s</text>`, marginLeft, escaped(c.title))
	for _, t := range xTicks {
		line(`<path d="M%.1f %d V%.1f" stroke="#ddd"/>`, x.at(t.at), marginTop, bottom)
		line(`<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x.at(t.at), bottom+18, escaped(t.text))
	}
	for _, t := range y.ticks(c.yText) {
		line(`<path d="M%d %.1f H%.1f" stroke="#ddd"/>`, marginLeft, y.at(t.at), right)
		line(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`, marginLeft-8, y.at(t.at)+4, escaped(t.text))
	}
	line(`<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (marginLeft+right)/2, bottom+40, escaped(c.x))
	line(`<text transform="translate(16 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, (marginTop+bottom)/2, escaped(c.y))
	for i, s := range c.series {
		colour, width := colours[i%len(colours)], 1.5
		if i == 0 || strings.HasPrefix(s.name, "arena") {
			width = 3
		}
		var path strings.Builder
		for k, p := range s.points {
			fmt.Fprintf(&path, "%c%.1f %.1f ", "ML"[min(k, 1)], x.at(p.x), y.at(p.y))
		}
		line(`<path d="%s" fill="none" stroke="%s" stroke-width="%g"/>`, strings.TrimSpace(path.String()), colour, width)
		if len(s.points) <= 12 {
			for _, p := range s.points {
				line(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`, x.at(p.x), y.at(p.y), colour)
			}
		}
		at := marginTop + 10 + 20*i
		line(`<path d="M%.1f %d h20" stroke="%s" stroke-width="%g"/>`, right+12, at, colour, width)
		line(`<text x="%.1f" y="%d">%s</text>`, right+38, at+4, escaped(s.name))
	}
	line(`</svg>`)
	return []byte(b.String())
}
