package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// The broken variants are lines of JSON, each of which was found out.
func TestVariantsAsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-json", "-only", "rwmutex"}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 2 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		var v variantLine
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if v.Protocol != "rwmutex" || v.Variant == "" || v.CaughtBy == "" || v.Steps == 0 || v.States < v.Steps {
			t.Errorf("%s", line)
		}
	}
}

// What is not found out in so many states is an error.
func TestMissedVariantFails(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-json", "-only", "rwmutex", "-search", "50"}, &out); err == nil {
		t.Error("no error")
	}
}

// Each protocol has a line with its sum.
func TestSumsOfProtocols(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"-variants=false", "-only", "s: 2 processes, 2", "-states", "2000"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"names ", "members ", "ranges ", "all of them "} {
		if !strings.Contains(out.String(), "\n"+protocol) {
			t.Errorf("no line of %q in\n%s", protocol, &out)
		}
	}
}
