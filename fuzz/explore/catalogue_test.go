package explore

import (
	"strings"
	"testing"
)

func TestVariants(t *testing.T) {
	for _, v := range Variants() {
		r := v.Model.Explore(600_000)
		what := r.Violation
		if what == "" {
			what = "NOT FOUND"
		}
		t.Logf("%-10s %-52s %8d states %3d steps %5.1fs  %s", v.Protocol, v.Break, r.States, len(r.Trace), r.Took.Seconds(), what)
		if strings.Contains(what, "can go on") && testing.Verbose() && len(r.Trace) < 1 {
			t.Log(r)
		}
	}
}
