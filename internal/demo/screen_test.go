package main

import (
	"strings"
	"testing"
)

func TestProgressOffTerminal(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	for range 2 {
		p.show("%d of 9 processes started", 9)
		for done := range 12 {
			p.work(done, 8, 1, 2)
		}
		p.reset()
	}
	var round strings.Builder
	for _, done := range []string{"2", "4", "6", "8"} {
		round.WriteString(indent + done + " of 8 operations, 1 of 2 killed and repaired\n")
	}
	if want := strings.Repeat(round.String(), 2); out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

func TestProgressOnTerminal(t *testing.T) {
	var out strings.Builder
	p := &progress{w: &out, terminal: true}
	p.show("%s", strings.Repeat("x", 200))
	p.work(1, 8, 0, 0)
	p.clear()
	line := indent + strings.Repeat("x", lineLength-len(indent))
	// The second comes too soon after the first to be shown.
	if want := "\r" + line + "\r" + strings.Repeat(" ", lineLength) + "\r"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}

func TestWrap(t *testing.T) {
	text := strings.Repeat("four fives  ", 40)
	for line := range strings.Lines(wrap(text)) {
		if n := len(strings.TrimSuffix(line, "\n")); n > lineLength {
			t.Errorf("line of %d: %q", n, line)
		}
	}
	if got := strings.Join(strings.Fields(wrap(text)), " "); got != strings.Join(strings.Fields(text), " ") {
		t.Errorf("wrapped to other words: %q", got)
	}
}
