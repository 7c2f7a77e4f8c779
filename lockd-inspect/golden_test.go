package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The arena of these tests is a dump, so that every byte of the output is known.
const billing = "testdata/billing.json"

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func inUTC(t *testing.T) {
	before := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = before })
}

func TestGolden(t *testing.T) {
	inUTC(t)
	for _, tc := range []struct {
		name string
		code int
		args []string
	}{
		{"locks", 0, []string{"locks", billing}},
		{"locks-headless", 0, []string{"--no-headers", billing}},
		{"locks-columns", 0, []string{"locks", billing, "-o", "name,state,pid,user,owner_alive,readers,reading,waiters,queue,tickets,ticket_holders,slot"}},
		{"locks-more", 0, []string{"locks", billing, "-o", "+fence,last_death,last_death_pid,last_death_at", "--held"}},
		{"locks-counted", 0, []string{"locks", billing, "--kind", "mutex", "-o", "name,held,acquisitions,contended,held_total,held_longest,waited_total"}},
		{"show-counted", 0, []string{"show", billing, "accounts/a"}},
		{"locks-json", 0, []string{"locks", billing, "--json"}},
		{"locks-json-columns", 0, []string{"locks", billing, "--json", "-o", "name,name_hex,waiting,queue", "--waiting"}},
		{"locks-held", 0, []string{"locks", billing, "--held", "-o", "name,state"}},
		{"locks-waiting", 0, []string{"locks", billing, "--waiting", "--sort", "-waiting", "-o", "name,waiters,waiting"}},
		{"locks-abandoned", 0, []string{"locks", billing, "--abandoned", "-o", "name,state,abandonments,last_death_label"}},
		{"locks-pid", 0, []string{"locks", billing, "--pid", "4711,5006", "--pid", "5003", "-o", "name"}},
		{"locks-name", 0, []string{"locks", billing, "--name", "*r*", "--name", "[a-c]?[^x]*", "-o", "name"}},
		{"locks-kind", 0, []string{"locks", billing, "--kind", "rwmutex,semaphore", "--sort", "pid", "-o", "name,kind,pid"}},
		{"show-mutex", 0, []string{"show", billing, "busy"}},
		{"show-rwmutex", 0, []string{"show", billing, "catalogue"}},
		{"show-semaphore", 0, []string{"show", billing, "gpu"}},
		{"show-ranges", 0, []string{"show", billing, "table.dat"}},
		{"show-ranges-json", 0, []string{"show", billing, "table.dat", "--json"}},
		{"locks-ranges", 0, []string{"locks", billing, "--kind", "ranges", "-o", "name,state,pid,waiters,ranges,range_holders,queue"}},
		{"show-abandoned", 0, []string{"show", billing, "archive"}},
		{"show-dead", 0, []string{"show", billing, "orphan"}},
		{"show-quoted", 0, []string{"show", billing, `"\x1b[31mred\n"`}},
		{"show-json", 0, []string{"show", billing, "gpu", "--json"}},
		{"who", 0, []string{"who", billing}},
		{"who-pid", 0, []string{"who", billing, "4712", "-o", "pid,holds,waits,namespace,uid,heirs,acts_for"}},
		{"who-all", 0, []string{"who", billing, "--sort", "-attached", "-o", "pid,state,namespace,uid,heirs,acts_for,member,generation,attached"}},
		{"who-json", 0, []string{"who", billing, "--json"}},
		{"who-sessions", 0, []string{"who", billing, "--sessions"}},
		{"who-sessions-json", 0, []string{"who", billing, "--sessions", "4711", "--json"}},
		{"show-session", 0, []string{"show", billing, "accounts/b"}},
		{"graph", 0, []string{"graph", billing}},
		{"graph-dot", 0, []string{"graph", billing, "--format", "dot"}},
		{"graph-mermaid", 0, []string{"graph", billing, "--format", "mermaid"}},
		{"graph-svg", 0, []string{"graph", billing, "--format", "svg"}},
		{"check", 1, []string{"check", billing}},
		{"check-json", 1, []string{"check", billing, "--json"}},
		{"check-quiet", 1, []string{"check", billing, "-q"}},
		{"metrics", 0, []string{"metrics", billing, "--name", "p*"}},
		{"sem-list", 0, []string{"sem", billing}},
		{"sem-list-json", 0, []string{"sem", billing, "list", "--json"}},
		{"help", 0, []string{"help"}},
		{"help-locks", 0, []string{"help", "locks"}},
		{"help-break", 0, []string{"help", "break"}},
		{"help-run", 0, []string{"run", "--help"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := call(nil, tc.args...)
			if code != tc.code || stderr != "" {
				t.Errorf("exit code %d, want %d; %s", code, tc.code, stderr)
			}
			if strings.Contains(stdout, "\x1b") {
				t.Errorf("a name is obeyed: %q", stdout)
			}
			golden(t, tc.name+".golden", stdout)
		})
	}
}

// Each verb that reads a dump says the same of it wherever it comes from.
func TestDumpFromStdin(t *testing.T) {
	inUTC(t)
	dump, err := os.ReadFile(billing)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"locks"}, {"locks", "--json"}, {"who"}, {"graph"}, {"check"}, {"metrics"}, {"dump"}, {"sem"}} {
		code, stdout, stderr := call(nil, append(args, billing)...)
		again, out, complaints := call(bytes.NewReader(dump), append(args, "-")...)
		if code != again || stdout != out || stderr != complaints {
			t.Errorf("%q: %d, %d; %q, %q", args, code, again, stderr, complaints)
		}
	}
	if _, stdout, _ := call(nil, "dump", billing); stdout != string(dump) {
		t.Error("a dump of a dump is another one")
	}
	if code, stdout, stderr := call(bytes.NewReader(dump), "show", "-", "busy"); code != 0 || !strings.Contains(stdout, "invoice-worker") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	t.Chdir("testdata")
	if code, _, stderr := call(nil, "show", "billing.json", "busy"); code != 0 {
		t.Errorf("in the working directory: exit code %d, %q", code, stderr)
	}
}

func TestBadDumps(t *testing.T) {
	whole, err := os.ReadFile(billing)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(old, new string) string {
		text := strings.Replace(string(whole), old, new, 1)
		if text == string(whole) {
			t.Fatalf("no %s", old)
		}
		return text
	}
	for _, tc := range []struct{ dump, says string }{
		{"", "no dump"},
		{"hello", "no dump"},
		{"{}", "no dump"},
		{`{"format":1}`, "lacks its arena"},
		{`{"format":`, "no whole dump"},
		{string(whole[:len(whole)/2]), "no whole dump"},
		{changed(`{"format":1`, `{"format":2`), "format 2, this build reads format 1"},
		{changed(`{"member":2,`, `{"member":1,`), "not in order"},
		{changed(`"members":[`, `"members":[null,`), "not in order"},
		{changed(`"locks":[`, `"locks":[null,`), "null"},
		{changed(`"latches":[`, `"latches":[null,`), "null"},
		{changed(`"sessions":[`, `"sessions":[null,`), "null"},
		{changed(`"pid":4711`, `"pid":"4711"`), "no whole dump"},
		{changed(`"taken":"`, `"taken":"x`), "no whole dump"},
	} {
		for _, verb := range []string{"locks", "who", "graph", "check", "metrics", "dump"} {
			code, stdout, stderr := call(strings.NewReader(tc.dump), verb, "-")
			if code != 2 || !strings.Contains(stderr, tc.says) || verb != "metrics" && stdout != "" && !strings.Contains(stdout, "findings") {
				t.Errorf("%s of %.30q…: exit code %d, %q, %q; want %q", verb, tc.dump, code, stdout, stderr, tc.says)
			}
		}
	}
	// What names members and locks that are not there is shown, not believed.
	odd := changed(`"acts_for":7`, `"acts_for":999`)
	odd = strings.Replace(odd, `{"member":1,"generation":1,"session":42}`, `{"member":9,"generation":9,"session":9}`, 1)
	odd = strings.Replace(odd, `"owner":{"member":1,`, `"owner":{"member":77,`, 1)
	for _, args := range [][]string{{"locks", "-"}, {"who", "-"}, {"graph", "-"}, {"show", "-", "busy"}, {"graph", "-", "--format", "svg"}} {
		if code, _, stderr := call(strings.NewReader(odd), args...); code != 0 {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}

// SVG is XML with everything inside of its borders; the golden file shows how
// it looks.
func TestSVG(t *testing.T) {
	_, stdout, _ := call(nil, "graph", billing, "--format", "svg")
	elements := 0
	for d := xml.NewDecoder(strings.NewReader(stdout)); ; elements++ {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if elements < 50 {
		t.Errorf("%d elements", elements)
	}
}

func TestJSONIsJSON(t *testing.T) {
	for _, args := range [][]string{
		{"locks", billing, "--json"}, {"who", billing, "--json"}, {"show", billing, "gpu", "--json"}, {"check", billing, "--json"},
		{"sem", billing, "--json"}, {"dump", billing},
	} {
		_, stdout, _ := call(nil, args...)
		var got struct{ Format int }
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Format != 1 {
			t.Errorf("%q: %v, format %d", args, err, got.Format)
		}
	}
}
