package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Golden files of the verbs that no dump will do for. What they say of real
// processes is masked.

// transcript is of some calls: what was called, what came of it.
type transcript struct {
	t *testing.T
	*mask
	strings.Builder
}

func transcribe(t *testing.T) *transcript {
	inUTC(t)
	before := folder
	folder = t.TempDir()
	t.Cleanup(func() { folder = before })
	s := &transcript{t: t, mask: newMask()}
	s.text(folder, "FOLDER")
	return s
}

// call adds a call, with its exit code unless that is 0.
func (s *transcript) call(args ...string) {
	s.t.Helper()
	code, stdout, stderr := call(nil, args...)
	fmt.Fprintf(s, "$ lockd-inspect %s\n%s%s", shellLine(args), stdout, once(stderr))
	if code != 0 {
		fmt.Fprintf(s, "exit code %d\n", code)
	}
	s.WriteString("\n")
}

func (s *transcript) golden(name string) {
	s.t.Helper()
	golden(s.t, name+".golden", s.over(s.String()))
}

func (s *transcript) hold(called, path string, locks ...string) *process {
	s.t.Helper()
	p := hold(s.t, path, called, locks...)
	s.pid(p.Process.Pid, strings.ToUpper(called))
	return p
}

func TestGoldenArenas(t *testing.T) {
	s := transcribe(t)
	// Whoever lives is stopped, so that nobody settles the dead.
	s.hold("alive", filepath.Join(folder, "billing"), "busy", "r:book").stop()
	s.hold("dead", filepath.Join(folder, "billing"), "orphan").kill()
	call(nil, "sem", "pool", "make", "gpu", "4")
	info, err := os.Stat(filepath.Join(folder, "pool"))
	if err != nil {
		t.Fatal(err)
	}
	s.text(fmt.Sprint(info.Size()), "BYTES")
	s.text("  "+octets(info.Size()).String()+"  ", "  SIZE  ")
	s.call()
	s.call("arenas", "--sort", "-name", "-o", "name,path,capacity,unknown,held,names,segments,version,created")
	s.call("--no-headers", "-o", "name")
	s.call("--json")
	s.call("arenas", "billing")
	s.golden("arenas")
}

func TestGoldenTop(t *testing.T) {
	w := wedge(t)
	s := transcribe(t)
	s.text(w.folder, "FOLDER")
	folder = w.folder
	for pid, called := range map[int]string{w.first: "FIRST", w.owner: "OWNER", w.corpse: "CORPSE"} {
		s.pid(pid, called)
	}
	s.call("top", "billing", "--count", "2", "--interval", "20ms")
	s.call("top", "billing", "--count", "1", "--interval", "20ms", "--sort", "name")
	s.golden("top")
}

func TestGoldenSettle(t *testing.T) {
	s := transcribe(t)
	path := filepath.Join(folder, "billing")
	s.hold("alive", path, "mine").stopIdle(path)
	s.hold("dead", path, "a", "r:b", "range:x:7000000000:5:c").kill()
	s.call("settle", "billing")
	s.call("settle", "billing")
	s.call("settle", "none")
	s.call("settle")
	s.golden("settle")
}

func TestGoldenBreak(t *testing.T) {
	s := transcribe(t)
	path := filepath.Join(folder, "billing")
	s.text("  user        "+userName(uint32(os.Getuid())), "  user  USER")
	s.hold("alive", path, "busy", "kept", "pass:free", "r:book").stop()
	s.call("break", "billing", "busy")
	s.call("break", "billing", "busy", "--yes")
	s.call("break", "billing", "busy", "--yes")
	s.hold("dead", path, "orphan").kill() // only now: who attaches settles the dead
	for _, lock := range []string{"free", "orphan", "book", "none"} {
		s.call("break", "billing", lock, "--yes")
	}
	s.call("break", "billing")
	s.golden("break")
}

func TestGoldenRemove(t *testing.T) {
	s := transcribe(t)
	user := s.hold("user", filepath.Join(folder, "billing"), "l")
	if err := os.WriteFile(filepath.Join(folder, "text"), []byte("my only copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.call("rm", "billing")
	user.kill()
	s.call("rm", "text", "billing", "none")
	s.call("rm")
	s.golden("rm")
}

func TestGoldenSem(t *testing.T) {
	s := transcribe(t)
	s.call("sem", "pool")
	s.call("sem", "pool", "make", "gpu", "4")
	s.call("sem", "pool", "make", "gpu", "5")
	s.call("sem", "pool", "resize", "gpu", "6", "--wait")
	s.call("sem", "pool", "make", "tape", "2")
	s.call("sem", "pool")
	s.call("sem", "pool", "list", "--json", "--sort", "-name")
	s.call("sem", "pool", "destroy", "gpu")
	s.call("sem", "pool", "resize", "gpu", "1")
	s.call("sem", "pool", "list", "--no-headers", "-o", "+ending")
	s.call("sem", "pool", "burn")
	s.golden("sem")
}

// first calls then when something has been written to it for the first time.
type first struct {
	strings.Builder
	then func()
	once sync.Once
}

func (f *first) Write(b []byte) (int, error) {
	defer f.once.Do(f.then)
	return f.Builder.Write(b)
}

func TestGoldenRun(t *testing.T) {
	s := transcribe(t)
	path := filepath.Join(folder, "billing")
	owner := s.hold("owner", path, "l", "mine")
	s.call("run", "billing", "free", "--", "echo", "under the lock")
	s.call("run", "--nonblock", "billing", "l", "--", "true")
	s.call("run", "billing", "l")
	s.call("run", "billing", "free", "--", "no-such-command-anywhere")

	args := []string{"run", "--verbose", "billing", "l", "--", "echo", "under the lock"}
	var stdout strings.Builder
	stderr := &first{then: func() { fmt.Fprintln(owner.stdin, "release:l") }}
	code := run(args, nil, &stdout, stderr)
	fmt.Fprintf(s, "$ lockd-inspect %s\n%s%sexit code %d\n\n", shellLine(args), stdout.String(), once(stderr.String()), code)

	args = []string{"run", "--verbose", "--timeout", "0.2", "billing", "mine", "--", "true"}
	code, out, said := call(nil, args...)
	lines := strings.SplitAfter(said, "\n")
	fmt.Fprintf(s, "$ lockd-inspect %s\n%s%sexit code %d\n\n", shellLine(args), out, lines[len(lines)-2], code)

	owner.kill()
	s.call("run", "billing", "mine", "--", "true")
	s.call("run", "--mark-consistent", "billing", "mine", "--", "sh", "-c", "exit 3")
	s.call("run", "--mark-consistent", "--", "billing", "mine", "sh", "-c", "echo repaired")
	s.call("run", "billing", "mine", "--", "true")
	s.golden("run")
}

// What the show itself says; what comes of the calls in it is in the files of
// their verbs.
func TestGoldenDemo(t *testing.T) {
	p, _ := demoOf(t)
	m := newMask()
	m.text(fmt.Sprintf("lockd-demo-%d", p.Process.Pid), "lockd-demo-PID")
	var said strings.Builder
	for _, line := range p.until("All of it is gone again.") {
		if strings.HasPrefix(line, "$ ") || strings.HasSuffix(line, ":") && strings.Contains(line, ", ") || strings.HasPrefix(line, "All of it") {
			fmt.Fprintln(&said, strings.Join(strings.Fields(regexp.MustCompile(`\d+`).ReplaceAllString(m.over(line), "PID")), " "))
		}
	}
	golden(t, "demo.golden", said.String())
}

func TestGoldenVersion(t *testing.T) {
	code, stdout, stderr := call(nil, "version")
	if code != 0 || stdout != "lockd-inspect "+version()+"\n" || stderr != "" || version() == "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}
