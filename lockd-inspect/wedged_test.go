package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lockd/arena"
	"lockd/robust"
)

// looking is every verb that only reads, in every form.
func looking(name, lock string) [][]string {
	return [][]string{
		{"locks", name}, {"locks", name, "--json"}, {name, "--held", "--sort", "waiters"}, {"show", name, lock}, {"show", name, lock, "--json"},
		{"who", name}, {"who", name, "--json"}, {"graph", name}, {"graph", name, "--format", "dot"}, {"graph", name, "--format", "mermaid"},
		{"graph", name, "--format", "svg"}, {"check", name}, {"check", name, "--json"}, {"dump", name}, {"metrics", name}, {"sem", name},
		{"top", name, "--count", "1", "--interval", "50ms"},
	}
}

// look calls all of them and says what they said. Each has to answer, whoever
// does not go on, and leave the file as it is, which nobody else may change.
func look(t *testing.T, path, lock string) map[string]string { return lookBeside(t, path, lock, 0) }

// lookAtLive is look where somebody waits, and looks after that now and then: so
// the file may change meanwhile, but not each time.
func lookAtLive(t *testing.T, path, lock string) map[string]string {
	return lookBeside(t, path, lock, mustBeDone)
}

func lookBeside(t *testing.T, path, lock string, patience time.Duration) map[string]string {
	t.Helper()
	content := func() []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	answerTo := func(args []string) string {
		answered := make(chan string)
		go func() {
			code, stdout, stderr := call(nil, args...)
			answered <- fmt.Sprintf("%d %s%s", code, stdout, stderr)
		}()
		select {
		case answer := <-answered:
			return answer
		case <-time.After(mustBeDone):
			t.Fatalf("%q does not answer", args)
		}
		return ""
	}
	said := make(map[string]string)
	for _, args := range looking(path, lock) {
		for began := time.Now(); ; {
			before := content()
			answer := answerTo(args)
			if bytes.Equal(before, content()) {
				said[strings.Join(args[:1], " ")] += answer
				break
			}
			if time.Since(began) >= patience {
				t.Fatalf("%q changed the file", args)
			}
		}
	}
	return said
}

func TestWedged(t *testing.T) {
	w := wedge(t)
	said := look(t, w.path, "busy")
	for verb, want := range map[string]string{
		"show":  fmt.Sprintf("owner         pid %d (owner), stopped, ", w.owner),
		"who":   fmt.Sprintf("%d  dead ", w.corpse),
		"graph": fmt.Sprintf("pid %d is stopped  owner", w.owner),
		"check": fmt.Sprintf("stopped: busy: pid %d (owner) holds it and is stopped, by a signal or a debugger; 1 wait\n    kill -CONT %d\n", w.owner, w.owner),
		"dump":  `"state":"inherited"`,
		"top":   "orphan ",
	} {
		if !strings.Contains(said[verb], want) {
			t.Errorf("%s does not say %q:\n%s", verb, want, said[verb])
		}
	}
	if want := fmt.Sprintf("abandoned: left: pid %d (first) died holding it", w.first); !strings.Contains(said["check"], want) {
		t.Errorf("check does not say %q:\n%s", want, said["check"])
	}
}

// Whoever holds a latch is stopped: nobody can insert a name, everybody can
// look.
func TestLatchHolderStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	p := hold(t, path, "latched", "l")
	p.stop()
	s, err := arena.ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	const firstStripe = 4096
	word := uint64(robust.Held(s.Members[0].Member, s.Members[0].PID))
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for stripe := range int64(64) {
		var raw [8]byte
		for i := range raw {
			raw[i] = byte(word >> (8 * i))
		}
		f.WriteAt(raw[:], firstStripe+stripe*64)
	}
	f.Close()
	said := look(t, path, "l")
	if !strings.Contains(said["dump"], `"name":"stripe 63"`) {
		t.Errorf("dump shows no latches: %s", said["dump"])
	}
	if !strings.Contains(said["locks"], fmt.Sprintf("%d  latched", p.Process.Pid)) {
		t.Errorf("locks: %s", said["locks"])
	}
}

// Whoever was giving back what a dead member held was killed, too: some of it
// is free already, the settler's latch and the rest name the dead.
func TestHalfSettled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	watcher := hold(t, path, "watcher", "other")
	watcher.stop() // it settles nobody
	corpse := hold(t, path, "corpse", "given back", "still held")
	settler := hold(t, path, "settler")
	settler.stop() // nor may it, who looks after the dead when it has attached
	s, err := arena.ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	corpse.kill()
	settler.kill()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	put := func(at int64, w robust.Word) {
		if _, err := f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(w)), at); err != nil {
			t.Fatal(err)
		}
	}
	const settlerLatch, segments, slots = 384, 4096 + 64*64 + 1024*128, 192
	for _, m := range s.Members {
		if m.Label == "settler" {
			put(settlerLatch, robust.Held(m.Member, m.PID))
		}
	}
	for _, l := range s.Locks {
		if l.Name == "given back" {
			put(segments+int64(l.Slot)*slots, robust.Free(l.Generation)|robust.Abandoned)
		}
	}
	f.Close()
	said := look(t, path, "still held")
	for verb, want := range map[string]string{
		"locks": fmt.Sprintf("%d  corpse ", corpse.Process.Pid),
		"show":  fmt.Sprintf("owner         pid %d (corpse), dead", corpse.Process.Pid),
		"who":   fmt.Sprintf("%d  dead ", settler.Process.Pid),
		"check": "abandoned: given back: ",
		"dump":  `{"name":"settler",`,
	} {
		if !strings.Contains(said[verb], want) {
			t.Errorf("%s does not say %q:\n%s", verb, want, said[verb])
		}
	}
	if want := fmt.Sprintf("latch settler: held by pid %d (\"settler\"), which is dead", settler.Process.Pid); !strings.Contains(said["check"], want) {
		t.Errorf("check does not say %q:\n%s", want, said["check"])
	}
	if code, stdout, stderr := call(nil, "settle", path); code != 0 || strings.Count(stdout, "settled pid ") != 2 {
		t.Errorf("settle: exit code %d, %s%s", code, stdout, stderr)
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "arena")
	a, err := arena.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		a.Mutex(name).Do(t.Context(), func(context.Context) error { return nil })
	}
	a.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const segments, slots = 4096 + 64*64 + 1024*128, 192
	for _, tc := range []struct {
		name   string
		change func([]byte) []byte
		check  string
		code   string
	}{
		{"cut in the segment", func(b []byte) []byte { return b[:segments+1000] }, "damage: file: ", "1"},
		{"cut in the header", func(b []byte) []byte { return b[:100] }, "damage: file: ", "1"},
		{"cut in the magic", func(b []byte) []byte { return b[:4] }, "not an arena", "2"},
		{"empty", func(b []byte) []byte { return nil }, "not an arena", "2"},
		{"no segments", func(b []byte) []byte { b[128] = 0; return b }, "damage: file: ", "1"},
		{"another name", func(b []byte) []byte { copy(b[segments+slots+64:], "ONE"); return b }, "damage: slot 1: ", "1"},
		{"version", func(b []byte) []byte { b[8] = 7; return b }, "version 7, this build reads version 1", "2"},
		{"layout", func(b []byte) []byte { b[16] ^= 1; return b }, "another layout", "2"},
		{"held by nobody", func(b []byte) []byte { copy(b[segments+slots:], "\x01\x00\x00\x00\x99\x00\x01\x00"); return b }, "damage: slot 1: ", "1"},
		{"ones", func(b []byte) []byte {
			for i := segments; i < len(b); i++ {
				b[i] = 0xff
			}
			return b
		}, "damage", "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			broken := filepath.Join(dir, "broken")
			if err := os.WriteFile(broken, tc.change(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			said := look(t, broken, "one")
			if !strings.Contains(said["check"], tc.check) || !strings.HasPrefix(said["check"], tc.code) {
				t.Errorf("check says %q, want %s, %q", said["check"], tc.code, tc.check)
			}
			if tc.check == "damage: file: " {
				obeyed(t, said["check"], broken)
			}
		})
	}
}

// obeyed does what check says is next, after which the file is gone.
func obeyed(t *testing.T, said, path string) {
	t.Helper()
	_, next, _ := strings.Cut(said, "then remove it: ")
	next, _, _ = strings.Cut(next, "\n")
	if next != shellLine([]string{"rm", "--", path}) {
		t.Fatalf("what is next is %q", next)
	}
	if out, err := exec.Command("/bin/sh", "-c", next).CombinedOutput(); err != nil {
		t.Errorf("%s: %v, %s", next, err, out)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", path, err)
	}
}

// An arena that changes all the time is shown as well; what does not fit in one
// look is not called damage.
func TestBusyArena(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	for i := range 2 {
		if line := start(t, asChurner, path, fmt.Sprint("churner", i)).line(); line != "ready" {
			t.Fatalf("churner says %q", line)
		}
	}
	for range 3 {
		for _, args := range looking(path, "l0") {
			code, stdout, stderr := call(nil, args...)
			if stderr != "" && args[0] != "show" || code == 2 || strings.Contains(stdout, "damage") {
				t.Errorf("%q: exit code %d, %s %s", args, code, stdout, stderr)
			}
		}
	}
}
