package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockd/arena"
)

// The test binary is the workers, too, and the bench in a process of its own.
func TestMain(m *testing.M) {
	if act() {
		return
	}
	if len(os.Args) > 1 && os.Args[1] == benchRole {
		os.Exit(run(os.Args[2:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

const benchRole = "as the bench"

// TestEveryCase runs each case once, as small as it can be, and looks at all
// that is made of it. The figures mean nothing.
func TestEveryCase(t *testing.T) {
	s := &settings{plan: smokePlan(), wanted: regexp.MustCompile(""), json: true, write: benchmarksFile(t)}
	if testing.Short() {
		s.wanted = regexp.MustCompile("^(mutex-pair|contended-2|goroutines-2|kill-small|names-1000|open)")
	}
	var out bytes.Buffer
	if err := s.run(t.Context(), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for lines := json.NewDecoder(&out); lines.More(); {
		var fields map[string]any
		if err := lines.Decode(&fields); err != nil {
			t.Fatal(err)
		}
		name, _ := fields["case"].(string)
		seen[name] = true
		for _, key := range []string{"ours", "peer", "ours_ns", "peer_ns", "ratio", "rounds", "kind", "better"} {
			if _, ok := fields[key]; !ok {
				t.Errorf("%s has no %q", name, key)
			}
		}
		if why, skipped := fields["skipped"]; skipped {
			t.Logf("%s, %s: %v", name, fields["peer"], why)
			continue
		}
		if ns, _ := fields["ours_ns"].(float64); ns <= 0 && fields["ours_amount"] == nil {
			t.Errorf("%s: ours took %v ns", name, fields["ours_ns"])
		}
		for _, side := range []string{"ours", "peer"} {
			switch kind := fields["kind"]; kind {
			case "throughput":
				if ops, _ := fields[side+"_ops_per_s"].(float64); ops <= 0 {
					t.Errorf("%s has no throughput of %s", name, side)
				}
			case "latency":
				if tail, _ := fields[side+"_latency_ns"].(map[string]any); tail["p99"] == nil {
					t.Errorf("%s has no latency of %s: %v", name, side, tail)
				}
			}
		}
	}
	for _, c := range casesFor(s.plan, s.wanted) {
		if !seen[c.name] {
			t.Errorf("no line about %s", c.name)
		}
	}
	checkWritten(t, s.write)
}

func benchmarksFile(t *testing.T) (dir string) {
	dir = t.TempDir()
	text := "<!-- quiet: written by make bench -->\n<!-- end of quiet -->\n"
	if err := os.WriteFile(filepath.Join(dir, "BENCHMARKS.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestDocument looks at the file that -write renews.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../doc/BENCHMARKS.md")
	if err != nil {
		t.Skip("the sources are not here")
	}
	for _, section := range []string{"quiet", "loaded"} {
		if _, err := between(string(text), section, ""); err != nil {
			t.Error(err)
		}
	}
	for name := range plots(nil) {
		if !strings.Contains(string(text), "("+name+")") {
			t.Errorf("it does not show %s", name)
		}
		if _, err := os.Stat("../../doc/" + name); err != nil {
			t.Error(err)
		}
	}
}

func checkWritten(t *testing.T, dir string) {
	text, err := os.ReadFile(filepath.Join(dir, "BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| mutex-pair | sync.Mutex |", "processors, Linux", "; 1 rounds, "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("BENCHMARKS.md has no %q", want)
		}
	}
	plots, _ := filepath.Glob(filepath.Join(dir, "*.svg"))
	if len(plots) < 3 {
		t.Fatalf("plots: %v", plots)
	}
	for _, path := range plots {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: %v", filepath.Base(path), err)
				break
			}
		}
		if bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Inf")) {
			t.Errorf("%s has a coordinate that is no number", filepath.Base(path))
		}
	}
}

// A broken lock is told from a fast one.
func TestNoExclusion(t *testing.T) {
	e := testEnv(t)
	s, err := e.stage()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	c, err := s.crew(1, func() (*child, error) { return s.worker(workerRole, s.arenaPath(), s.pagePath(), "mutex") })
	if err != nil {
		t.Fatal(err)
	}
	// Whether anybody is inside meanwhile is up to the scheduler, on a busy
	// machine: but not time and again.
	for range 20 {
		done := make(chan error, 1)
		go func() {
			_, err := c.throughput(e.plan.turn, "contend 1 0 1")
			done <- err
		}()
		for {
			select {
			case err = <-done:
			default:
				c.page.counter += 1000
				continue
			}
			break
		}
		if err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "no mutual exclusion") {
		t.Errorf("somebody else was inside, too: %v", err)
	}
}

func testEnv(t *testing.T) *env {
	e, err := newEnv(t.Context(), smokePlan())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestPeersWithoutCompiler(t *testing.T) {
	t.Setenv("CC", "no-such-compiler")
	s := &settings{plan: smokePlan(), wanted: regexp.MustCompile("^rlock-pair$")}
	var out bytes.Buffer
	if err := s.run(t.Context(), &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "skipped: no C compiler") || !strings.Contains(out.String(), "sync.RWMutex") {
		t.Errorf("the table does not say that the peers in C were skipped:\n%s", out.String())
	}
}

// Interrupted, or killed, the bench leaves neither processes nor files.
func TestInterrupted(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, benchRole, "-run", "^contended-8$", "-turn", "1h")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for children(cmd.Process.Pid) < 8 {
		if ctx.Err() != nil {
			t.Fatal("it started no processes")
		}
		runtime.Gosched()
	}
	syscall.Kill(cmd.Process.Pid, syscall.SIGINT)
	io.Copy(io.Discard, progress)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, not %d", code, exitInterrupted)
	}
	// One that it was just starting, or that is being killed, goes a little later.
	for len(groupOf(cmd.Process.Pid)) > 0 {
		if ctx.Err() != nil {
			t.Fatalf("processes are left: %v", groupOf(cmd.Process.Pid))
		}
		runtime.Gosched()
	}
	left, err := filepath.Glob(filepath.Join(arena.Dir, fmt.Sprintf("lockd-bench-%d-*", cmd.Process.Pid)))
	if err != nil || len(left) > 0 {
		t.Errorf("%s is left; %v", left, err)
	}
}

// children counts the processes that a process has started.
func children(pid int) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		n += len(strings.Fields(string(b)))
	}
	return n
}

// groupOf are the processes of a group that have not ended. Who reaps those that
// nobody waits for is not the bench's doing.
func groupOf(group int) (pids []string) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, _ := os.ReadFile(path)
		_, rest, _ := bytes.Cut(b, []byte(") "))
		if f := strings.Fields(string(rest)); len(f) > 2 && f[2] == fmt.Sprint(group) && f[0] != "Z" && f[0] != "X" {
			pids = append(pids, path)
		}
	}
	return pids
}

func TestWrongArguments(t *testing.T) {
	for _, args := range [][]string{{"-no-such"}, {"-run", "("}, {"-rounds", "-1"}, {"extra"}, {"-write", "x", "-run", "y"}} {
		if code := run(args, io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%v: exit code %d, not %d", args, code, exitUsage)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for v := range int64(100_000) {
		h.add(v)
	}
	for _, part := range []float64{0, 0.01, 0.5, 0.99, 0.9999} {
		if got, want := h.quantile(part), part*100_000; got > want || got < want*0.98-1 {
			t.Errorf("the quantile %v is %v, not about %v", part, got, want)
		}
	}
	if h.largest != 99_999 || h.quantile(1) != 99_999 {
		t.Errorf("largest %d, quantile 1 %v", h.largest, h.quantile(1))
	}
	for i := range len(h.count) - 64 {
		if bucketOf(bucketStart(i)) != i {
			t.Fatalf("bucket %d starts at %d, which is in %d", i, bucketStart(i), bucketOf(bucketStart(i)))
		}
	}
	var sent histogram
	sent.addPairs(h.pairs(), h.largest)
	if sent != h {
		t.Error("a histogram that was sent is another")
	}
}

func TestVerdicts(t *testing.T) {
	c := benchCase{name: "c", unit: perSecond, bars: []bar{atLeast("them", "ratio", 1.2), atLeast("", "share", 0.8)}}
	rows := rowsOf(c, []measured{
		{name: "us", samples: []sample{{ops: 100, counts: []uint64{50, 50}}, {ops: 130, counts: []uint64{90, 30}}, {ops: 120, counts: []uint64{60, 60}}}},
		{name: "them", samples: []sample{{ops: 100}, {ops: 110}, {ops: 90}}},
		{name: "nobody", skipped: "not here"},
	})
	r := rows[0]
	if r.Ratio != 1.2 || r.OursOps != 120 || !r.Bars[0].Passed {
		t.Errorf("ratio %v of %v and %v, %+v", r.Ratio, r.OursOps, r.PeerOps, r.Bars)
	}
	if share := 2 * 140.0 / 340; r.OursShare != share || !r.Bars[1].Passed {
		t.Errorf("smallest share %v, not %v", r.OursShare, share)
	}
	if r.lost() || rows[1].lost() || rows[1].Skipped != "not here" {
		t.Errorf("rows %+v", rows)
	}
	c.bars[0].limit = 1.3
	if r := rowsOf(c, []measured{{samples: []sample{{ops: 120}}}, {name: "them", samples: []sample{{ops: 100}}}})[0]; !r.lost() {
		t.Errorf("a bar of 1.3 is reached by %v", r.Ratio)
	}
}

func TestBetween(t *testing.T) {
	text := "a\n<!-- quiet: written by make bench -->\nold\n<!-- end of quiet -->\nb\n"
	got, err := between(text, "quiet", "new\n")
	if want := strings.Replace(text, "old", "new", 1); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := between(text, "loaded", ""); err == nil {
		t.Error("no error without marks")
	}
}
