package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The diagrams are opened by what they are for, as far as that is here.
func TestDiagramsInTheirTools(t *testing.T) {
	path := filepath.Join(t.TempDir(), "quo\"ted \\ & <name>")
	holder := hold(t, path, "hol\"der\\", "a \"lock\"\n")
	waiter := start(t, asHolder, path, "<waiter>", "a \"lock\"\n")
	defer waiter.kill()
	eventually(t, "it waits", func() bool { return waitersOf(path, "a \"lock\"\n") == 1 })
	for _, tc := range []struct {
		format string
		tool   []string
		begins string
	}{
		{"dot", []string{"dot", "-Tsvg"}, "<?xml"},
		{"svg", []string{"rsvg-convert"}, "\x89PNG"},
	} {
		t.Run(tc.format, func(t *testing.T) {
			tool, err := exec.LookPath(tc.tool[0])
			if err != nil {
				t.Skipf("there is no %s here to open it", tc.tool[0])
			}
			for _, name := range []string{billing, path} {
				_, drawing, _ := call(nil, "graph", name, "--format", tc.format)
				var out, complaints bytes.Buffer // complaints may also be about fonts
				c := exec.CommandContext(t.Context(), tool, tc.tool[1:]...)
				c.Stdin, c.Stdout, c.Stderr = strings.NewReader(drawing), &out, &complaints
				if err := c.Run(); err != nil || strings.Contains(complaints.String(), "<stdin>") || !strings.HasPrefix(out.String(), tc.begins) {
					t.Errorf("%v: %s\n%s", err, complaints.String(), drawing)
				}
			}
		})
	}
	for _, name := range []string{billing, path} {
		_, drawing, _ := call(nil, "graph", name, "--format", "svg")
		wellFormed(t, drawing)
	}
	holder.kill()
}
