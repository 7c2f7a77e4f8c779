package variants

import (
	"os"
	"slices"
	"strings"
	"testing"

	"lockd/fuzz/explore"
)

const root = "../.."

// Each variant in the sources has a test that must catch it, and a test that
// must catch something has a variant.
func TestEachVariantHasACatch(t *testing.T) {
	sources, err := Sources(root)
	if err != nil {
		t.Skip("needs the sources: ", err)
	}
	var names []string
	for _, s := range sources {
		if slices.Contains(names, s.Name) {
			t.Errorf("two variants are called %s", s.Name)
		}
		names = append(names, s.Name)
		if !slices.ContainsFunc(Catches, func(c Catch) bool { return c.Variant == s.Name }) {
			t.Errorf("no test is known that catches %s", s.Name)
		}
	}
	for _, c := range Catches {
		if !slices.Contains(names, c.Variant) {
			t.Errorf("%s catches %s, which is in no source", c.Test, c.Variant)
		}
	}
}

// doc/VARIANTS.md, which make variants writes, has every variant that there is.
func TestDocHasEachVariant(t *testing.T) {
	sources, err := Sources(root)
	if err != nil {
		t.Skip("needs the sources: ", err)
	}
	doc, err := os.ReadFile(root + "/doc/VARIANTS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(doc)
	for _, s := range sources {
		if !strings.Contains(text, "| `"+s.Name+"` | "+s.Broken+" |") {
			t.Errorf("%s is not there, or not so: make variants", s.Name)
		}
	}
	for _, c := range Catches {
		if !strings.Contains(text, c.Package+" `"+c.Test+"`") {
			t.Errorf("%s of %s is not there: make variants", c.Test, c.Package)
		}
	}
	for _, v := range explore.Variants() {
		if !strings.Contains(text, "| "+v.Protocol+" | "+v.Break+" |") {
			t.Errorf("%s: %q is not there: make variants", v.Protocol, v.Break)
		}
	}
}

// What a failing test said is told from what it and others logged.
func TestRed(t *testing.T) {
	output := `=== RUN   TestX
=== RUN   TestX/one
    x_test.go:1: logged by one that passes
--- PASS: TestX/one (0.00s)
=== RUN   TestX/two
    x_test.go:2: what was wrong
    x_test.go:3: a summary
=== NAME  TestX
    x_test.go:4: of the outer one
--- FAIL: TestX (0.00s)
    --- PASS: TestX/one (0.00s)
    --- FAIL: TestX/two (0.00s)
FAIL
`
	if got := firstComplaint(output); got != "what was wrong" {
		t.Errorf("got %q", got)
	}
	if got := firstComplaint("=== RUN   TestX\npanic: out of bounds [recovered]\n--- FAIL: TestX (0.00s)\n"); got != "out of bounds [recovered]" {
		t.Errorf("got %q", got)
	}
	if _, red, err := Red("TestX", output, nil); red || err != nil {
		t.Error("one that passed is red")
	}
	if _, red, err := Red("TestX", output, os.ErrNotExist); red || err == nil {
		t.Error("one that could not be run is red")
	}
}
