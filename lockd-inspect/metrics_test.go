package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"lockd/arena"
)

// parsed reads metrics as Prometheus does: series as name{label="value",…}.
func parsed(t *testing.T, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	series := make(map[string]float64)
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		if counts := strings.HasSuffix(name, "_total"); counts != (f.GetType() == dto.MetricType_COUNTER) {
			t.Errorf("%s is a %v", name, f.GetType())
		}
		for _, m := range f.Metric {
			id := name + "{"
			for i, l := range m.Label {
				if i > 0 {
					id += ","
				}
				id += fmt.Sprintf("%s=%q", l.GetName(), l.GetValue())
			}
			value := m.GetGauge().GetValue()
			if m.Counter != nil {
				value = m.GetCounter().GetValue()
			}
			id += "}"
			if _, twice := series[id]; twice {
				t.Errorf("%s is there twice", id)
			}
			series[id] = value
		}
	}
	return series
}

func TestMetrics(t *testing.T) {
	w := wedge(t)
	if err := os.WriteFile(filepath.Join(w.folder, "text"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := arena.Open(filepath.Join(w.folder, "pool\n\"x\"\\"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	held, err := a.Semaphore("gpu", 4).Acquire(context.Background(), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	for _, name := range []string{"\xff", "\xfe", "\ufffd", "a\nb", `q"\`} {
		a.Mutex(name).Do(t.Context(), func(context.Context) error { return nil })
	}
	code, stdout, stderr := call(nil, "metrics", "--name", "*")
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	got := parsed(t, stdout)
	pool := fmt.Sprintf("arena=%q", `"pool\n\"x\"\\"`)
	for series, want := range map[string]float64{
		`lockd_arena_readable{arena="billing"}`:                                   1,
		`lockd_arena_locks{arena="billing",kind="mutex",state="held"}`:            1,
		`lockd_arena_locks{arena="billing",kind="mutex",state="abandoned"}`:       1,
		`lockd_arena_locks{arena="billing",kind="mutex",state="dead"}`:            1,
		`lockd_arena_members{arena="billing",state="stopped"}`:                    2,
		`lockd_arena_members{arena="billing",state="dead"}`:                       1,
		`lockd_arena_waiters{arena="billing"}`:                                    1,
		`lockd_lock_waiters{arena="billing",lock="busy",kind="mutex"}`:            1,
		`lockd_lock_abandonments_total{arena="billing",lock="left",kind="mutex"}`: 1,
		`lockd_semaphore_tickets{` + pool + `,lock="gpu"}`:                        4,
		`lockd_semaphore_tickets_in_use{` + pool + `,lock="gpu"}`:                 3,
		`lockd_lock_held{` + pool + `,lock="\"a\\nb\"",kind="mutex"}`:             0,
		`lockd_lock_held{` + pool + `,lock="\"\\xff\"",kind="mutex"}`:             0,
	} {
		if v, there := got[series]; !there || v != want {
			t.Errorf("%s is %v, %v; want %v", series, v, there, want)
		}
	}
	if t.Failed() {
		t.Log(stdout)
	}
	_, stdout, _ = call(nil, "metrics", billing)
	if parsed(t, stdout)[`lockd_lock_longest_wait_seconds{arena="billing",lock="busy",kind="mutex"}`] != 65.5 {
		t.Error(stdout)
	}
	if code, stdout, stderr := call(nil, "metrics", filepath.Join(w.folder, "text")); code != 2 || stdout != "" || !strings.Contains(stderr, "not an arena") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}
