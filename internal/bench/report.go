package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// renew writes what was measured into BENCHMARKS.md of this folder, between
// the marks of the quiet or the loaded machine; what stands around them is
// written by hand. The plots are of the quiet one.
func (s *settings) renew(where string, rows []row, results []result) error {
	section := "quiet"
	if s.load > 0 {
		section = "loaded"
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "\n%s; %d rounds, %s", where, s.plan.rounds, time.Now().UTC().Format(time.DateOnly))
	if s.load > 0 {
		fmt.Fprintf(&text, "; beside %d other busy processes", s.load)
	}
	text.WriteString("\n\n")
	writeMarkdown(&text, rows)
	fmt.Fprintf(&text, "\n%s\n\n", tally(rows))

	path := filepath.Join(s.write, "BENCHMARKS.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	renewed, err := between(string(old), section, text.String())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(renewed), 0o644); err != nil {
		return err
	}
	if s.load > 0 {
		return nil
	}
	for name, c := range plots(results) {
		if err := os.WriteFile(filepath.Join(s.write, name), c.svg(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// between replaces what stands between a section's marks.
func between(text, section, renewed string) (string, error) {
	begin, end := "<!-- "+section+": written by make bench -->\n", "<!-- end of "+section+" -->"
	before, rest, found := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("there is no %q … %q", strings.TrimSpace(begin), end)
	}
	return before + begin + renewed + end + after, nil
}

// tally counts bars.
func tally(rows []row) string {
	reached, missed, skipped := 0, 0, 0
	var names []string
	for _, r := range rows {
		if r.Skipped != "" {
			skipped++
		}
		for _, v := range r.Bars {
			if v.Passed {
				reached++
				continue
			}
			missed++
			name := r.Case + " (" + v.Of + ")"
			if v.Of == "ratio" {
				name = r.Case + " / " + r.Peer
			}
			names = append(names, name)
		}
	}
	text := fmt.Sprintf("Of %d bars %d are reached.", reached+missed, reached)
	if missed > 0 {
		text += " Not reached: " + strings.Join(names, ", ") + "."
	}
	if skipped > 0 {
		text += fmt.Sprintf(" %d rows were skipped.", skipped)
	}
	return text
}
