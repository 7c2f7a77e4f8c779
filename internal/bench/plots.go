package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// plots are what is drawn of a run, by file name.
func plots(results []result) map[string]*chart {
	return map[string]*chart{
		"bench-waits.svg": distributions(results, "How long 8 processes wait for one lock, 55 ns inside", map[string]string{"longest-wait-8": ""}),
		"bench-kills.svg": distributions(results, "From kill -9 of the owner to the heir", map[string]string{"kill-small": "", "kill-large": ", large victim"}),
		"bench-processes.svg": {
			title: "Throughput of one lock over processes, 55 ns inside", x: "processes", y: "sections a second",
			yText: perSecondText, series: overSize(results, regexp.MustCompile(`^contended-(\d+)$`), ""),
		},
		"bench-goroutines.svg": {
			title: "Throughput of one lock over goroutines of one process", x: "goroutines", y: "sections a second", logX: false,
			yText: perSecondText, series: append(overSize(results, regexp.MustCompile(`^goroutines-(\d+)-55ns$`), ", 55 ns"),
				overSize(results, regexp.MustCompile(`^goroutines-(\d+)-550ns$`), ", 550 ns")...),
		},
		"bench-scale.svg": {
			title: "What a pair costs over scale", x: "locks that others hold, or names in use", y: "time", logX: true, logY: true,
			yText: nanoseconds, series: append(overSize(results, regexp.MustCompile(`^held-(\d+)$`), ", held by others"),
				overSize(results, regexp.MustCompile(`^names-(\d+)$`), ", look-up and pair")...),
		},
	}
}

// overSize makes a line for each contender of the cases whose name has a number.
func overSize(results []result, cases *regexp.Regexp, suffix string) []series {
	var list []series
	index := make(map[string]int)
	for _, r := range results {
		match := cases.FindStringSubmatch(r.name)
		if match == nil {
			continue
		}
		size, _ := strconv.ParseFloat(match[1], 64)
		for i := range r.list {
			m := &r.list[i]
			if m.skipped != "" || len(m.samples) == 0 {
				continue
			}
			if _, known := index[m.name]; !known {
				index[m.name] = len(list)
				list = append(list, series{name: m.name + suffix})
			}
			f := m.figures(r.unit)
			v := f.ns
			if r.unit == perSecond {
				v = f.ops
			}
			line := &list[index[m.name]]
			line.points = append(line.points, point{size, v})
		}
	}
	return list
}

// distributions draws latencies over the part of all that is below them, on a
// scale that gives each nine the same room.
func distributions(results []result, title string, suffixes map[string]string) *chart {
	c := &chart{
		title: title, x: "part of all that took less", y: "time", logY: true, yText: nanoseconds,
		xTicks: []tick{{0, "0"}},
	}
	most := 0.0
	for _, r := range results {
		suffix, wanted := suffixes[r.name]
		if !wanted {
			continue
		}
		for i := range r.list {
			m := &r.list[i]
			if m.skipped != "" || len(m.samples) == 0 {
				continue
			}
			h := m.figures(r.unit).waits
			line := series{name: m.name + suffix}
			for nines := 0.0; nines <= math.Log10(float64(h.total))+0.01; nines += 0.05 {
				line.points = append(line.points, point{nines, max(h.quantile(1-math.Pow(10, -nines)), 1)})
				most = max(most, nines)
			}
			c.series = append(c.series, line)
		}
	}
	for nines := 1; float64(nines) <= most+0.1; nines++ {
		c.xTicks = append(c.xTicks, tick{float64(nines), fmt.Sprintf("%.*f %%", max(nines-2, 0), 100*(1-math.Pow(10, -float64(nines))))})
	}
	return c
}
