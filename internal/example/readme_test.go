package main

import (
	"os"
	"strings"
	"testing"
)

// The README shows this very program, and in its other block what is compiled
// with these tests.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if os.IsNotExist(err) {
		t.Skip("the source tree is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	sources := []string{source(t, "main.go"), fragment(t, source(t, "kinds_test.go"))}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) != len(sources) {
		t.Fatalf("README.md has %d blocks of Go, %d are compiled", len(blocks), len(sources))
	}
	for i, want := range sources {
		if block, _, _ := strings.Cut(blocks[i], "```"); block != want {
			t.Errorf("block %d of README.md is\n%s\nbut what is compiled is\n%s", i+1, block, want)
		}
	}
}

func source(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fragment is what stands between the markers of a function, as it stands
// outside of one.
func fragment(t *testing.T, text string) string {
	t.Helper()
	_, text, begins := strings.Cut(text, "\t// begin\n")
	text, _, ends := strings.Cut(text, "\t// end\n")
	if !begins || !ends {
		t.Fatal("there are no markers")
	}
	return strings.ReplaceAll("\n"+text, "\n\t", "\n")[1:]
}
