package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lockd/arena"
)

func TestSettle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	alive := hold(t, path, "alive", "mine")
	alive.stopIdle(path)
	dead := hold(t, path, "dead", "a", "r:b")
	dead.kill()
	if code, stdout, stderr := call(nil, "check", path); code != 1 || !strings.Contains(stdout, "lockd-inspect settle "+path+" gives all of it back now") {
		t.Errorf("before: exit code %d, %s%s", code, stdout, stderr)
	}
	code, stdout, stderr := call(nil, "settle", path)
	if want := fmt.Sprintf("settled pid %d (dead), which held a, b (shared)\n", dead.Process.Pid); code != 0 || stdout != want || stderr != "" {
		t.Errorf("exit code %d, %q, %q; want %q", code, stdout, stderr, want)
	}
	if code, stdout, stderr := call(nil, "settle", path); code != 0 || stdout != "nothing to settle\n" || stderr != "" {
		t.Errorf("again: exit code %d, %q, %q", code, stdout, stderr)
	}
	expect(t, "a  abandoned\nb  free\nmine  held\n", "locks", path, "-o", "name,state", "--no-headers")
	if code, stdout, _ := call(nil, "check", path); code != 1 || strings.Contains(stdout, "settle") || !strings.Contains(stdout, "abandoned: a: pid ") {
		t.Errorf("after: exit code %d, %s", code, stdout)
	}
	if code, _, stderr := call(nil, "settle", filepath.Join(path, "none")); code != 2 || !strings.Contains(stderr, "no arena") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "none")); err == nil {
		t.Error("settling made an arena")
	}
}

func TestRemove(t *testing.T) {
	before := folder
	folder = t.TempDir()
	defer func() { folder = before }()
	path := filepath.Join(folder, "billing")
	user := hold(t, path, "user", "l")
	code, stdout, stderr := call(nil, "rm", "billing")
	if code != 1 || stdout != "" || !strings.Contains(stderr, fmt.Sprintf("in use by 1 members (pid %d)", user.Process.Pid)) {
		t.Errorf("in use: exit code %d, %q, %q", code, stdout, stderr)
	}
	user.stdin.Close()
	user.exit()
	if code, stdout, stderr := call(nil, "rm", "billing"); code != 0 || stdout+stderr != "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	os.WriteFile(filepath.Join(folder, "text"), []byte("my only copy"), 0o600)
	for name, says := range map[string]string{"billing": "no arena named billing; there are none in " + folder, "text": "not an arena"} {
		if code, _, stderr := call(nil, "rm", name); code != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d, %q", name, code, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "text")); err != nil {
		t.Error(err)
	}
}

// A file that is removed under its users is noticed, with another one in its
// place and without.
func TestCheckRemoved(t *testing.T) {
	before := folder
	folder = t.TempDir()
	defer func() { folder = before }()
	path := filepath.Join(folder, "billing")
	user := hold(t, path, "user", "l")
	if code, stdout, _ := call(nil, "check", "billing"); code != 0 || !strings.HasPrefix(stdout, "billing: nothing found: 1 lock, 1 in use") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("billing: split: file: the file was removed under processes %d, which go on excluding each other only\n", user.Process.Pid)
	if code, stdout, stderr := call(nil, "check", "billing"); code != 1 || !strings.HasPrefix(stdout, want) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	a, err := arena.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	want = fmt.Sprintf("billing: split: file: processes %d use an older file that was removed from this path", user.Process.Pid)
	if code, stdout, stderr := call(nil, "check"); code != 1 || !strings.HasPrefix(stdout, want) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestSem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	for _, tc := range []struct {
		args   []string
		code   int
		stdout string
		stderr string // part of it
	}{
		{[]string{"make", "gpu", "4"}, 0, "", ""},
		{[]string{"make", "gpu", "4"}, 0, "", ""},
		{[]string{"make", "gpu", "5"}, 1, "", "has 4 tickets; lockd-inspect sem " + path + " resize gpu 5 changes that"},
		{[]string{}, 0, "NAME  TICKETS  IN_USE  WAITERS  HOLDERS  QUEUE\ngpu  4  0  0  -  -\n", ""},
		{[]string{"resize", "gpu", "6"}, 0, "", ""},
		{[]string{"list", "--no-headers", "-o", "name,tickets"}, 0, "gpu  6\n", ""},
		{[]string{"resize", "gpu", "2", "--wait", "--timeout", "5"}, 0, "", ""},
		{[]string{"list", "--json", "-o", "name,tickets,in_use"}, 0, `{"format":1,"semaphores":[` + "\n" + `{"name":"gpu","tickets":2,"in_use":0}` + "\n]}\n", ""},
		{[]string{"destroy", "gpu"}, 0, "", ""},
		{[]string{"list", "--no-headers"}, 0, "", ""},
		{[]string{"destroy", "gpu"}, 2, "", "no semaphore named gpu in " + path + "; lockd-inspect sem " + path + " make gpu TICKETS makes one"},
		{[]string{"resize", "gpu", "3"}, 2, "", "no semaphore named gpu"},
		{[]string{"make", "gpu"}, 2, "", "sem make takes a NAME and a number of TICKETS"},
		{[]string{"make", "gpu", "none"}, 2, "", `"none" is no number of tickets`},
		{[]string{"make", "gpu", "0"}, 2, "", `"0" is no number`},
		{[]string{"make", "gpu", "999999999"}, 2, "", "bad number of tickets"},
		{[]string{"burn", "gpu"}, 2, "", `sem cannot "burn"; it can: list, make, resize, destroy`},
		{[]string{"list", "gpu"}, 2, "", "takes nothing more"},
	} {
		code, stdout, stderr := call(nil, append([]string{"sem", path}, tc.args...)...)
		stdout = strings.Join(strings.FieldsFunc(strings.ReplaceAll(stdout, "  ", "\x00"), func(r rune) bool { return r == 0 }), "  ")
		if code != tc.code || tc.stdout != "" && strings.ReplaceAll(stdout, "   ", "  ") != tc.stdout || !strings.Contains(stderr, tc.stderr) || tc.stderr == "" && stderr != "" {
			t.Errorf("sem %q: exit code %d, %q, %q", tc.args, code, stdout, stderr)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing")
	for _, args := range [][]string{{}, {"resize", "a", "2"}, {"destroy", "a"}} {
		if code, _, stderr := call(nil, append([]string{"sem", missing}, args...)...); code != 2 || !strings.Contains(stderr, "no arena") {
			t.Errorf("%q: exit code %d, %q", args, code, stderr)
		}
	}
}

// Destroying waits for tickets that are held, as long as it is told.
func TestSemWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	call(nil, "sem", path, "make", "gpu", "2")
	end, finish := fifo(t)
	p := start(t, asTool, "run", "--tickets", "2", path, "gpu", "--", self(t), asUntil, end)
	p.pid()
	if code, _, stderr := call(nil, "sem", path, "destroy", "gpu", "--timeout", "50ms"); code != 1 || !strings.Contains(stderr, "timed out") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if code, _, stderr := call(nil, "sem", path, "resize", "gpu", "1", "--wait", "-w", "0.05"); code != 1 || !strings.Contains(stderr, "timed out") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	destroyer := start(t, asTool, "sem", path, "destroy", "gpu")
	eventually(t, "the destroyer waits", func() bool { return waitersOf(path, "gpu") == 1 })
	finish()
	if code := destroyer.exit(); code != 0 {
		t.Errorf("exit code %d, %s", code, destroyer.complaints())
	}
}
