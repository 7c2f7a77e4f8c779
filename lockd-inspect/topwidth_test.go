package main

import (
	"bufio"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Nothing wraps there, and what is wider than the terminal would overwrite the
// end of its line: texts are made narrower, columns are left out whole.
func TestGoldenTopWidths(t *testing.T) {
	inUTC(t)
	alive := true
	taken := time.Date(2031, 5, 4, 10, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) moment { return moment(taken.Add(-d)) }
	report := &report{Arena: arenaFacts{Name: "billing"}, Taken: moment(taken), whole: true}
	o := &observer{report: report, locks: make(map[[2]uint32]*tracked)}
	for i, name := range []string{"invoice numbers of the north", "tape"} {
		slot := uint32(i + 1)
		m := &member{Index: uint16(slot), Generation: 1, PID: 54321 + slot, Label: "number-invoices-" + name, Phase: "live", Alive: &alive}
		l := &lock{Name: name, Kind: "mutex", State: "held", Slot: slot, Owner: m.party(), Waiters: 12, taken: taken,
			Tally: &counts{Acquisitions: 9000, HeldSince: ago(83 * time.Second)}}
		report.Members, report.Locks = append(report.Members, m), append(report.Locks, l)
		o.locks[[2]uint32{slot, 0}] = &tracked{lock: l, seen: 20, busy: 20, changes: 7, owner: *l.Owner, since: taken.Add(-time.Minute),
			waits: []time.Duration{52 * time.Second, 5*time.Minute + 12*time.Second}, countedFrom: 1000, countedAt: taken.Add(-time.Second)}
	}
	var all strings.Builder
	for _, width := range []int{120, 80, 60, 40, 20} {
		saved := make(map[[2]uint32]tracked)
		for id, l := range o.locks {
			saved[id] = *l
		}
		var frame strings.Builder
		o.frame(bufio.NewWriter(&frame), screen{width: width, height: 24}, true)
		for id, l := range saved { // a frame begins the next one
			o.locks[id] = &l
		}
		for _, line := range strings.Split(frame.String(), "\n") {
			if len([]rune(line)) > width {
				t.Errorf("%d columns: %q has %d", width, line, len([]rune(line)))
			}
		}
		fmt.Fprintf(&all, "%d columns:\n%s\n", width, frame.String())
	}
	golden(t, "top-widths.golden", all.String())
}
