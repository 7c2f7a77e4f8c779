package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// totals are what the workers have counted.
type totals struct {
	operations map[string]uint64
	sum        uint64
	refused    uint64
	recoveries uint64
	victims    uint64
	robberies  uint64
	worst      time.Duration
}

func (d *director) totals() totals {
	t := totals{operations: make(map[string]uint64)}
	for i := range d.board.seats {
		s := &d.board.seats[i]
		for k := range kinds {
			n := s.operations[k].Load()
			t.operations[kinds[k].name] += n
			t.sum += n
		}
		t.refused += s.refused.Load()
		t.recoveries += s.recoveries.Load()
		t.victims += s.victims.Load()
		t.robberies += s.robberies.Load()
		t.worst = max(t.worst, time.Duration(s.worst.Load()))
	}
	return t
}

func (d *director) clean() bool {
	c := d.count()
	return c.Stranded == 0 && c.Violations == 0
}

// progress shows a line a second, on a terminal.
func (d *director) progress(w io.Writer) {
	f, ok := w.(*os.File)
	if !ok || d.plan.json {
		return
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return
	}
	d.show = func() {
		t, c := d.totals(), d.count()
		fmt.Fprintf(w, "%6.0fs  %10d operations  %6d kills  %6d recoveries, worst %v  stranded %d  violations %d\n",
			time.Since(d.began).Seconds(), t.sum, c.Kills, t.recoveries, t.worst.Round(time.Millisecond/10), c.Stranded, c.Violations)
	}
}

// summary is the report in JSON.
type summary struct {
	Format     int               `json:"format"`
	Seconds    float64           `json:"seconds"`
	Processes  int               `json:"processes"`
	Seed       uint64            `json:"seed"`
	Operations map[string]uint64 `json:"operations"`
	Refused    uint64            `json:"refused"`
	Started    int               `json:"started"`
	Kills      int               `json:"kills"`
	Stops      int               `json:"stops"`
	Execs      int               `json:"execs"`
	Exits      int               `json:"exits"`
	Leaves     int               `json:"leaves"`
	Removals   int               `json:"removals"`
	Recoveries uint64            `json:"recoveries"`
	WorstNS    int64             `json:"worst_recovery_ns"`
	Deadlocks  uint64            `json:"deadlocks"`
	Robberies  uint64            `json:"robberies"`
	Stranded   int               `json:"stranded"`
	Violations int               `json:"violations"`
	Findings   []string          `json:"findings"`
}

func (d *director) report(w io.Writer) {
	t, c := d.totals(), d.count()
	took := time.Since(d.began)
	if d.plan.json {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		out.Encode(summary{
			1, took.Seconds(), d.plan.processes, d.plan.seed, t.operations, t.refused,
			c.Started, c.Kills, c.Stops, c.Execs, c.Exits, c.Leaves, c.Removals,
			t.recoveries, int64(t.worst), t.victims, t.robberies, c.Stranded, c.Violations, append([]string{}, d.findings...),
		})
		return
	}
	var each []string
	for _, k := range kinds {
		each = append(each, fmt.Sprintf("%s %d", k.name, t.operations[k.name]))
	}
	fmt.Fprintf(w, "%v, %d processes at a time, %d in all\n", took.Round(time.Second/10), d.plan.processes, c.Started)
	for _, line := range []struct {
		what  string
		value any
	}{
		{"operations", fmt.Sprintf("%d (%s); %d given up as meant", t.sum, strings.Join(each, ", "), t.refused)},
		{"kills", c.Kills},
		{"others", fmt.Sprintf("%d stopped, %d called exec, %d exited, %d left; the arena's file removed %d times", c.Stops, c.Execs, c.Exits, c.Leaves, c.Removals)},
		{"recoveries", t.recoveries},
		{"worst recovery", t.worst.Round(time.Microsecond)},
		{"deadlocks", fmt.Sprintf("%d broken", t.victims)},
		{"robberies", t.robberies},
		{"stranded", c.Stranded},
		{"violations", c.Violations},
	} {
		fmt.Fprintf(w, "  %-15s %v\n", line.what, line.value)
	}
}
