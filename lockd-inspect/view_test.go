package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/arena"
	"lockd/robust"
)

// wedged is an arena with a lock in every state that a mutex can have, whose
// processes do nothing any more.
type wedged struct {
	folder, path         string
	first, owner, corpse int // pids
}

func wedge(t *testing.T) wedged {
	t.Helper()
	w := wedged{folder: t.TempDir()}
	w.path = filepath.Join(w.folder, "billing")
	first := hold(t, w.path, "first", "invoice numbers", "taken over", "left")
	// The dead and their successor meet here.
	first.kill()
	owner := hold(t, w.path, "owner", "invoice numbers", "pass:left", "taken over", "busy", "pass:free", "pass:\x1b[31mred\n", "pass:\xff")
	eventually(t, "the first is settled", func() bool {
		s, err := arena.ReadSnapshot(w.path)
		return err == nil && len(s.Members) == 1
	})
	corpse := hold(t, w.path, "corpse", "orphan")
	waiter := start(t, asHolder, w.path, "waiter", "busy")
	eventually(t, "somebody waits", func() bool { return waitersOf(w.path, "busy") == 1 })
	for _, p := range []*process{owner, waiter} {
		p.Process.Signal(syscall.SIGSTOP)
		eventually(t, "it is stopped", func() bool { return processState(p.Process.Pid) == 'T' })
	}
	corpse.kill()
	w.first, w.owner, w.corpse = first.Process.Pid, owner.Process.Pid, corpse.Process.Pid

	before := folder
	folder = w.folder
	t.Cleanup(func() { folder = before })
	return w
}

func (w wedged) replaced(golden string) string {
	return strings.NewReplacer("FIRST", fmt.Sprint(w.first), "OWNER", fmt.Sprint(w.owner), "CORPSE", fmt.Sprint(w.corpse)).Replace(golden)
}

func expect(t *testing.T, want string, args ...string) {
	t.Helper()
	code, stdout, stderr := call(nil, args...)
	if code != 0 || stderr != "" {
		t.Errorf("%q: exit code %d, %s", args, code, stderr)
	}
	// How many digits a pid has decides how many blanks are before it.
	blanks := regexp.MustCompile(` {2,}`)
	squeeze := func(s string) string { return blanks.ReplaceAllString(s, "  ") }
	if got, want := squeeze(stdout), squeeze(want); got != want {
		t.Errorf("%q shows\n%swant\n%s", args, got, want)
	}
}

func TestLocks(t *testing.T) {
	w := wedge(t)
	before, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}

	table := w.replaced(`NAME            KIND   STATE        PID  LABEL   WAITERS  ABANDONMENTS
"\x1b[31mred\n"  mutex  free           -  -             0             0
busy             mutex  held       OWNER  owner         1             0
free             mutex  free           -  -             0             0
invoice numbers  mutex  inherited  OWNER  owner         0             1
left             mutex  abandoned      -  -             0             1
orphan           mutex  dead      CORPSE  corpse        0             0
taken over       mutex  inherited  OWNER  owner         0             1
"\xff"           mutex  free           -  -             0             0
`)
	const columns = "name,kind,state,pid,label,waiters,abandonments"
	expect(t, table, "locks", "billing", "-o", columns)
	expect(t, table, "billing", "-o", columns)
	expect(t, table, "-o", strings.ToUpper(columns), w.path)
	_, usual, _ := call(nil, "billing")
	if header, _, _ := strings.Cut(usual, "\n"); strings.Join(strings.Fields(header), " ") != "NAME KIND STATE PID LABEL WAITERS WAITING COMMAND" {
		t.Errorf("the usual columns are %s", header)
	}
	_, below, _ := strings.Cut(table, "\n")
	expect(t, below, "locks", w.path, "--no-headers", "--columns", columns)

	if after, err := os.ReadFile(w.path); err != nil || string(after) != string(before) {
		t.Error("looking at the arena changed it")
	}
}

func TestLocksRW(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	one := hold(t, path, "one", "r:both", "r:both", "r:drained", "u:both")
	two := hold(t, path, "two", "r:both", "r:read", "x:written")
	three := start(t, asHolder, path, "three", "x:drained")
	four := start(t, asHolder, path, "four", "r:written")
	dead := hold(t, path, "dead", "x:left", "r:read")
	var gate robust.Word
	eventually(t, "somebody drains, somebody waits", func() bool {
		s, err := arena.ReadSnapshot(path)
		if err != nil {
			return false
		}
		for _, l := range s.Locks {
			if l.Name == "drained" {
				gate = l.Gate
			}
		}
		return gate.Has(robust.Waiters) && waitersOf(path, "written") == 1
	})
	for _, p := range []*process{one, two, three, four} { // nobody settles the dead
		p.Process.Signal(syscall.SIGSTOP)
		eventually(t, "it is stopped", func() bool { return processState(p.Process.Pid) == 'T' })
	}
	dead.kill()
	pids := strings.NewReplacer("ONE", fmt.Sprint(one.Process.Pid), "TWO", fmt.Sprint(two.Process.Pid),
		"THREE", fmt.Sprint(three.Process.Pid), "DEAD", fmt.Sprint(dead.Process.Pid))
	expect(t, pids.Replace(`NAME     KIND     STATE       PID    LABEL  READERS  READING      WAITERS
both     rwmutex  upgradable  ONE    one    3        ONE×2 TWO×1  0
drained  rwmutex  draining    THREE  three  1        ONE×1        0
left     rwmutex  dead        DEAD   dead   0        -            0
read     rwmutex  read        -      -      1        TWO×1 DEAD×1  0
written  rwmutex  held        TWO    two    0        -            1
`), path, "-o", "name,kind,state,pid,label,readers,reading,waiters")
	code, stdout, _ := call(nil, "--json", path)
	if want := fmt.Sprintf(`"pid":%d,"label":"one","alive":true,"count":2},`, one.Process.Pid); code != 0 || !strings.Contains(stdout, want) {
		t.Errorf("no %s in %s", want, stdout)
	}
}

func TestLocksJSON(t *testing.T) {
	w := wedge(t)
	code, stdout, stderr := call(nil, "--json", "locks", "billing")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	var got struct {
		Format int
		Arena  map[string]any
		Locks  []map[string]any
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if got.Format != 1 || len(got.Arena) != len(arenaColumns) || len(got.Locks) != 8 || len(got.Locks[0]) != len(lockColumns) {
		t.Fatalf("%s", stdout)
	}
	for key, want := range map[string]any{
		"name": "billing", "path": w.path, "in_use": 5.0, "names": 8.0, "held": 4.0, "alive": 2.0, "dead": 1.0, "unknown": 0.0,
		"waiting": 1.0, "abandoned": 3.0, "segments": 1.0, "version": 1.0,
	} {
		if got.Arena[key] != want {
			t.Errorf("arena: %s is %v, want %v", key, got.Arena[key], want)
		}
	}
	byName := make(map[any]map[string]any)
	for _, l := range got.Locks {
		byName[l["name"]] = l
	}
	for name, want := range map[string]map[string]any{
		"\x1b[31mred\n": {"kind": "mutex", "state": "free", "pid": nil, "command": nil, "label": nil, "user": nil, "name_hex": nil},
		"\ufffd":        {"name_hex": "ff"},
		"busy":          {"pid": float64(w.owner), "waiters": 1.0, "label": "owner", "owner_alive": true, "last_death": nil},
		"invoice numbers": {"state": "inherited", "abandonments": 1.0, "last_death": "died",
			"last_death_pid": float64(w.first), "last_death_label": "first"},
		"orphan": {"state": "dead", "pid": float64(w.corpse), "owner_alive": false, "command": nil, "label": "corpse"},
	} {
		for key, v := range want {
			if byName[name][key] != v {
				t.Errorf("%q: %s is %v, want %v", name, key, byName[name][key], v)
			}
		}
	}
	me, err := robust.Self()
	if err != nil {
		t.Fatal(err)
	}
	command, _ := byName["busy"]["command"].(string)
	if canTell := robust.JudgePID(me) == robust.Alive; canTell && !strings.Contains(command, asHolder+" "+w.path+" owner 'invoice numbers' ") {
		t.Errorf("command of the owner: %q", command)
	}
	if waiting, _ := byName["busy"]["waiting"].(float64); waiting <= 0 || waiting > mustBeDone.Seconds()*10 {
		t.Errorf("waiting %v seconds", byName["busy"]["waiting"])
	}
}

func TestArenas(t *testing.T) {
	w := wedge(t)
	for name, content := range map[string]string{"other": "not an arena", "empty": "", ".x.new-1": "", "sem.x": strings.Repeat("\x00", 32)} {
		if err := os.WriteFile(filepath.Join(w.folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := arena.Open(filepath.Join(w.folder, "empty arena"), &arena.Options{MaxLocks: 2000})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()

	expect(t, `NAME         SIZE  IN_USE  CAPACITY  ALIVE  DEAD  WAITING  ABANDONED
billing      376K       5   1048575      2     1        1          3
empty arena  376K       0      2047      0     0        0          0
`, "-o", "name,size,in_use,capacity,alive,dead,waiting,abandoned")
	expect(t, "billing  4  8\nempty arena  0  0\n", "--no-headers", "-o", "name,held,names")
	expect(t, `{"format":1,"arenas":[
{"name":"billing","capacity":1048575,"size":385024},
{"name":"empty arena","capacity":2047,"size":385024}
]}
`, "--json", "-o", "name,capacity,size")
}

func TestArenasNone(t *testing.T) {
	before := folder
	folder = t.TempDir()
	defer func() { folder = before }()
	code, stdout, stderr := call(nil)
	if code != 0 || !strings.HasPrefix(stdout, "NAME ") || !strings.Contains(stderr, "no arenas in "+folder) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := call(nil, "--json"); code != 0 || stdout != `{"format":1,"arenas":[]}`+"\n" || stderr != "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	folder = filepath.Join(folder, "missing")
	if code, _, stderr := call(nil); code != 2 || !strings.Contains(stderr, "there is no "+folder) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// What cannot be shown is explained, with what to do next.
func TestViewComplains(t *testing.T) {
	before := folder
	folder = t.TempDir()
	defer func() { folder = before }()
	there := func(name string) string { return filepath.Join(folder, name) }
	if code, _, stderr := call(nil, "billing"); code != 2 || stderr != "lockd-inspect: no arena named billing; there are none in "+folder+"\n" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	for _, name := range []string{"catalogue", "new\nline", "other version", "cut"} {
		a, err := arena.Open(there(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		if name == "cut" {
			a.Mutex("seen").Do(t.Context(), func(context.Context) error { return nil })
		}
		a.Close()
	}
	if f, err := os.OpenFile(there("other version"), os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	} else {
		f.WriteAt([]byte{9}, 8)
		f.Close()
	}
	if err := os.Truncate(there("cut"), 200000); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(there("text"), []byte("hello"), 0o600)
	const arenas = `there are: catalogue, cut, "new\nline", other version`
	for _, tc := range []struct {
		args   []string
		stdout string // part of it
		stderr string
	}{
		{[]string{"billing"}, "", "no arena named billing; " + arenas},
		{[]string{"locks", "\x1b[2J"}, "", `no arena named "\x1b[2J"; ` + strings.ReplaceAll(arenas, `"new\nline"`, `"new\nline"`)},
		{[]string{there("billing")}, "", "no arena at " + there("billing") + "; " + arenas},
		{[]string{"text"}, "", "not an arena"},
		{[]string{"other version"}, "", "version 9, this build reads version 1"},
		{[]string{"other version", "--json"}, `"version":9`, "version 9, this build reads version 1"},
		{[]string{"cut"}, "seen", "arena is truncated"},
		{[]string{"locks"}, "", "locks of which arena? " + arenas},
		{[]string{"frobnicate", "billing"}, "", `"frobnicate" is no verb`},
		{[]string{"--frobnicate"}, "", "unknown flag: --frobnicate; lockd-inspect help says more"},
		{[]string{"-o", "nam"}, "", `no column "nam"; there are: name, path, size`},
		{[]string{"-o", "nam", "catalogue"}, "", `no column "nam"; there are: name, name_hex, kind`},
		{[]string{""}, "", "is empty"},
		{nil, "catalogue", "arena is truncated"},
		{[]string{"help", "me"}, "", `there is no verb "me"`},
		{[]string{"version", "2"}, "", "no arguments"},
	} {
		code, stdout, stderr := call(nil, tc.args...)
		if code != 2 || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) || !strings.HasPrefix(stderr, "lockd-inspect: ") {
			t.Errorf("%q: exit code %d, %q, %q; want %q", tc.args, code, stdout, stderr, tc.stderr)
		}
		if strings.ContainsAny(stdout+stderr, "\x1b") {
			t.Errorf("%q obeys a name: %q %q", tc.args, stdout, stderr)
		}
	}
}

func TestViewWithoutPermission(t *testing.T) {
	dir := t.TempDir()
	// Others have to get at the file to be refused by it.
	for d := dir; len(d) >= len(os.TempDir())+2; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "private")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mode := os.FileMode(0o600)
	if os.Geteuid() != 0 {
		mode = 0o040
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	want := map[os.FileMode]string{0o600: "; root may (mode 0600)", 0o040: "; root, group " + groupName(uint32(os.Getegid())) + " may (mode 040)"}[mode]
	said := make(chan string)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			unix.Setfsuid(65534)
		}
		_, _, stderr := call(nil, path)
		said <- stderr
	}()
	if stderr := <-said; !strings.Contains(stderr, "no permission to read "+path+want) {
		t.Errorf("says %q, want %q", stderr, want)
	}
}
