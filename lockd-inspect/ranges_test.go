package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lockd/arena"
)

// What real processes hold of ranges, and wait for, is shown by each verb.
func TestRanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	one := hold(t, path, "one", "range:x:100:50:table", "range:s:0:10:table")
	two := hold(t, path, "two", "range:s:5:20:table", "range:x:1000:0:table")
	wait := func(p *process, part string, already int) {
		fmt.Fprintln(p.stdin, "range:"+part+":table")
		eventually(t, "it waits", func() bool { return waitersOf(path, "table") == already+1 })
	}
	wait(one, "x:1005:1", 0)
	wait(two, "s:140:20", 1)
	a, b := one.Process.Pid, two.Process.Pid
	expect(t, fmt.Sprintf("table  ranges  4 ranges  -  2  4  %d:0-9/s %d:5-24/s %d:100-149 %d:1000-  %d:1005 %d:140-159/s\n", a, b, a, b, a, b),
		"locks", path, "--no-headers", "-o", "name,kind,state,pid,waiters,ranges,range_holders,queue")
	_, stdout, _ := call(nil, "show", path, "table")
	for _, want := range []string{
		"START  END  MODE       HOLDER\n", fmt.Sprintf("\n      0    9  shared     pid %d (one), alive, ", a), fmt.Sprintf("\n   1000  end  exclusive  pid %d (two), alive, ", b),
		fmt.Sprintf("\n  1           pid %d (one), exclusive 1005, since ", a), fmt.Sprintf("\n  2           pid %d (two), shared 140-159, since ", b),
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("show lacks %q:\n%s", want, stdout)
		}
	}
	expect(t, fmt.Sprintf("%d  table:0-9 (shared), table:100-149\n%d  table:5-24 (shared), table:1000-\n", a, b), "who", path, "--no-headers", "--sort", "label", "-o", "pid,holds")
	if code, stdout, _ := call(nil, "check", path); code != 1 || !strings.Contains(stdout, "possible deadlock: table:") || strings.Contains(stdout, "damage") {
		t.Errorf("check: exit code %d, %s", code, stdout)
	}
	_, stdout, _ = call(nil, "metrics", path)
	if got := parsed(t, stdout); got[fmt.Sprintf(`lockd_ranges_held{arena=%q,lock="table",mode="shared"}`, path)] != 2 ||
		got[fmt.Sprintf(`lockd_arena_locks{arena=%q,kind="ranges",state="held"}`, path)] != 1 {
		t.Error(stdout)
	}
	expect(t, "table\n", "locks", path, "--no-headers", "-o", "name", "--held", "--waiting", "--pid", fmt.Sprint(b), "--kind", "ranges")
	lookAtLive(t, path, "table")

	one.kill()
	eventually(t, "what the dead held is gone", func() bool {
		call(nil, "settle", path)
		_, stdout, _ := call(nil, "locks", path, "--no-headers", "-o", "range_holders")
		return stdout == fmt.Sprintf("%d:5-24/s %d:140-159/s %d:1000-\n", b, b, b)
	})
}

// Sessions in which ranges are held are named, and their deadlock is one.
func TestRangesOfSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	a, err := arena.Open(path, &arena.Options{Label: "bank"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := a.Ranges("rows")
	open := func(label string) *arena.Session {
		return a.OpenSession(arena.SessionOptions{Label: label, DeadlockAfter: -1})
	}
	one, two := open("one"), open("two")
	for _, err := range []error{one.LockRange(ctx, r, arena.Exclusive, 0, 10), two.LockRange(ctx, r, arena.Exclusive, 10, 10), two.LockRange(ctx, r, arena.Shared, 50, 5)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 2)
	go func() { ended <- one.LockRange(ctx, r, arena.Shared, 15, 1) }()
	go func() { ended <- two.LockRange(ctx, r, arena.Exclusive, 0, 1) }()
	eventually(t, "both wait", func() bool { return waitersOf(path, "rows") == 2 && sessionsWaiting(t, path) == 2 })
	pid := os.Getpid()
	code, stdout, _ := call(nil, "check", path)
	if want := fmt.Sprintf("deadlock: rows:\n    one, bank: pid %d session 1 holds rows and waits for rows, held by pid %d session 2\n", pid, pid); code != 1 || !strings.Contains(stdout, want) || strings.Contains(stdout, "possible") {
		t.Errorf("check: exit code %d, %s; want %s", code, stdout, want)
	}
	expect(t, "one  rows (1 range)\ntwo  rows (1 range), rows (1 range, shared)\n", "who", path, "--sessions", "--no-headers", "-o", "label,holds")
	_, stdout, _ = call(nil, "show", path, "rows")
	if want := fmt.Sprintf("     10   19  exclusive  pid %d (bank), session 2 (two), alive", pid); !strings.Contains(stdout, want) {
		t.Errorf("show: %s; want %s", stdout, want)
	}
	_, dump, _ := call(nil, "dump", path)
	if _, again, _ := call(strings.NewReader(dump), "dump", "-"); again != dump {
		t.Error("a dump of the dump is another one")
	}
	cancel()
	for range 2 {
		<-ended
	}
	one.Close()
	two.Close()
}

// Who waits in a queue, by the rule of the library: behind whom it overlaps,
// unless it has what that one waits for.
func TestObstacles(t *testing.T) {
	alive := true
	by := func(i uint16) party {
		m := &member{Index: i, Generation: 1, PID: uint32(i), Phase: "live", Alive: &alive}
		return *m.party()
	}
	end := uint64(lastOffset)
	held := func(i uint16, first, last uint64, mode string) rangeHold {
		return rangeHold{by(i), stretchOf(first, last), mode, uint32(i), nil}
	}
	wants := func(i uint16, first, last uint64, mode string) waiter {
		return waiter{party: by(i), Count: 1, Mode: mode, Range: &rangeRequest{stretchOf(first, last), uint32(i), nil}}
	}
	for _, tc := range []struct {
		name  string
		held  []rangeHold
		queue []waiter // the last one's are asked for
		want  string
	}{
		{"nobody", nil, []waiter{wants(1, 0, end, "exclusive")}, ""},
		{"its own", []rangeHold{held(1, 0, 9, "shared")}, []waiter{wants(1, 0, 9, "exclusive")}, ""},
		{"beside", []rangeHold{held(2, 0, 9, "exclusive"), held(3, 11, end, "exclusive")}, []waiter{wants(1, 10, 10, "exclusive")}, ""},
		{"held", []rangeHold{held(2, 0, 10, "exclusive"), held(3, 10, end, "shared")}, []waiter{wants(1, 10, 10, "exclusive")}, "2 3"},
		{"both shared", []rangeHold{held(2, 0, 10, "shared")}, []waiter{wants(1, 0, 0, "shared")}, ""},
		{"behind", []rangeHold{held(2, 0, 9, "exclusive")}, []waiter{wants(3, 5, 20, "exclusive"), wants(1, 15, 30, "shared")}, "3 ahead"},
		{"behind, apart", nil, []waiter{wants(3, 5, 20, "exclusive"), wants(1, 21, 30, "shared")}, ""},
		{"behind, shared", nil, []waiter{wants(3, 5, 20, "shared"), wants(1, 15, 30, "shared")}, ""},
		{"has what the first wants", []rangeHold{held(1, 5, 9, "exclusive")}, []waiter{wants(3, 5, 20, "exclusive"), wants(1, 15, 30, "exclusive")}, ""},
		{"converts", []rangeHold{held(1, 0, 9, "shared"), held(2, 0, 9, "shared")}, []waiter{wants(3, 5, 5, "exclusive"), wants(1, 5, 9, "exclusive")}, "2"},
	} {
		l := &lock{Kind: "ranges", Ranges: tc.held, Waiting: tc.queue}
		var got []string
		for _, o := range l.obstaclesOf(&l.Waiting[len(l.Waiting)-1]) {
			text := fmt.Sprint(o.PID)
			if o.ahead {
				text += " ahead"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestStretches(t *testing.T) {
	for _, tc := range []struct {
		of     stretch
		others []stretch
		left   string
	}{
		{stretchOf(0, lastOffset), nil, "0-"},
		{stretchOf(0, lastOffset), []stretch{stretchOf(0, lastOffset)}, ""},
		{stretchOf(10, 20), []stretch{stretchOf(0, 9), stretchOf(21, 30)}, "10-20"},
		{stretchOf(10, 20), []stretch{stretchOf(12, 14), stretchOf(16, 16)}, "10-11,15,17-20"},
		{stretchOf(5, lastOffset), []stretch{stretchOf(7, 8)}, "5-6,9-"},
		{stretchOf(0, 9), []stretch{stretchOf(0, 4), stretchOf(5, 9)}, ""},
	} {
		if got := stretches(tc.of.without(tc.others)); got != tc.left {
			t.Errorf("%v without %v is %q, want %q", tc.of, tc.others, got, tc.left)
		}
	}
}

func TestRangesChange(t *testing.T) {
	alive := true
	m := &member{Index: 1, Generation: 1, PID: 11, Label: "one", Phase: "live", Alive: &alive}
	with := func(all ...rangeHold) *report {
		return &report{Members: []*member{m}, Locks: []*lock{{Name: "t", Kind: "ranges", Slot: 1, Ranges: all}}}
	}
	held := func(first, last uint64, mode string) rangeHold {
		return rangeHold{*m.party(), stretchOf(first, last), mode, 1, nil}
	}
	var got []string
	for _, e := range changes(with(held(0, 99, "exclusive"), held(200, 299, "shared")), with(held(0, 49, "exclusive"), held(60, 99, "exclusive"), held(200, lastOffset, "shared"))) {
		got = append(got, e.Event+" "+e.Text)
	}
	if want := "released pid 11 (one), exclusive 50-59; taken pid 11 (one), shared 300-"; strings.Join(got, "; ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRunRange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	first := start(t, asTool, "run", "--range", "100:50", path, "t", "--", self(t), asUntil, end)
	first.pid()
	expect(t, fmt.Sprintf("1 range  %d:100-149\n", first.Process.Pid), "locks", path, "--no-headers", "-o", "state,range_holders")
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-n", "--range", "0:100"}, 0, ""},
		{[]string{"-n", "--range", "150"}, 0, ""},
		{[]string{"-n", "--range", "150:0", "-x"}, 0, ""},
		{[]string{"-n", "--range", "149:1"}, 1, ""},
		{[]string{"-n", "--range", "0"}, 1, ""},
		{[]string{"-n", "--range", "0:", "--shared"}, 1, ""},
		{[]string{"-w", "0.1", "--verbose", "--range", "120:1"}, 1, fmt.Sprintf("waiting for t, held by pid %d", first.Process.Pid)},
		{[]string{"--range", "0:9223372036854775807"}, 1, ""},
		{[]string{"--range", "1:9223372036854775807", "-n"}, 1, ""},
		{[]string{"--range", "2:9223372036854775807"}, 64, "give START:LENGTH"},
		{[]string{"--range", "-1:5"}, 64, "give START:LENGTH"},
		{[]string{"--range", "1:-5"}, 64, "give START:LENGTH"},
		{[]string{"--range", ""}, 64, "give START:LENGTH"},
		{[]string{"--range", "a:b"}, 64, "give START:LENGTH"},
		{[]string{"--range", "9223372036854775808"}, 64, "give START:LENGTH"},
		{[]string{"--range", "1:2:3"}, 64, "give START:LENGTH"},
		{[]string{"--range", "1:2", "--tickets", "1"}, 64, "only one can be"},
		{[]string{"--range", "1:2", "--mark-consistent"}, 64, "nothing to mark"},
		{[]string{"--range", "1:2", "-s", "-x"}, 64, "only one can be"},
		{[]string{}, 65, "--range 0 holds all of it"},
		{[]string{"-s"}, 65, "--range 0 holds all of it"},
	} {
		args := append([]string{"run", "-w", "0.05"}, tc.args...)
		code, _, stderr := call(nil, append(args, path, "t", "--", "true")...)
		if code != tc.code || !strings.Contains(stderr, tc.says) || tc.says == "" && stderr != "" {
			t.Errorf("%q: exit code %d, %q", tc.args, code, stderr)
		}
	}
	call(nil, "run", path, "m", "--", "true")
	if code, _, stderr := call(nil, "run", "--range", "1", path, "m", "--", "true"); code != 65 || !strings.Contains(stderr, "run without --range and --tickets holds it") {
		t.Errorf("a range of a mutex: exit code %d, %q", code, stderr)
	}
	other, finishOther := fifo(t)
	second := start(t, asTool, "run", "-s", "--range", "300:10", path, "t", "--", self(t), asUntil, other)
	second.pid()
	if code, _, stderr := call(nil, "run", "-n", "-s", "--range", "305", path, "t", "--", "true"); code != 0 {
		t.Errorf("both shared: exit code %d, %s", code, stderr)
	}
	if code, _, _ := call(nil, "run", "-n", "--range", "305", path, "t", "--", "true"); code != 1 {
		t.Errorf("a writer beside a reader: exit code %d", code)
	}
	waiting := start(t, asTool, "run", "--range", "0", path, "t", "--", "echo", "served")
	eventually(t, "somebody waits", func() bool { return waitersOf(path, "t") == 1 })
	first.kill()
	waiting.silent()
	finishOther()
	if line := waiting.line(); line != "served" {
		t.Errorf("after the holders ended: %q", line)
	}
	finish()
}

// What the command leaves in the background keeps the range.
func TestRunRangeInherited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	end, finish := fifo(t)
	p := start(t, asTool, "run", "--range", "0:10", path, "t", "--", "sh", "-c", `"$0" `+asUntil+` "$1" & exit 0`, self(t), end)
	p.pid()
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if code, _, _ := call(nil, "run", "-n", "--range", "5:1", path, "t", "--", "true"); code != 1 {
		t.Errorf("exit code %d", code)
	}
	finish()
	eventually(t, "it is free", func() bool {
		code, _, _ := call(nil, "run", "-n", "--range", "5:1", path, "t", "--", "true")
		return code == 0
	})
}

// Of stopped holders check names those that somebody waits for.
func TestRangesHolderStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	one := hold(t, path, "one", "range:x:0:10:t", "range:s:20:10:t")
	two := hold(t, path, "two", "range:s:20:10:t")
	for _, p := range []*process{one, two} {
		p.stop()
	}
	start(t, asTool, "run", "--range", "5:1", path, "t", "--", "true")
	eventually(t, "somebody waits", func() bool { return waitersOf(path, "t") == 1 })
	code, stdout, _ := call(nil, "check", path)
	if want := fmt.Sprintf("stopped: t: pid %d (one) holds it and is stopped", one.Process.Pid); code != 1 || strings.Count(stdout, "stopped: t: ") != 1 || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d, %s; want %s", code, stdout, want)
	}
}

// Two scripts that want each other's part are a deadlock, and no merely
// possible one.
func TestRangesDeadlockedScripts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	both, meet := fifo(t)
	script := func(first, second string) *process {
		return start(t, asTool, "run", "--range", first, path, "t", "--", "sh", "-c",
			`"$0" `+asUntil+` "$1"; "$0" `+asTool+` run --range "$3" "$2" t -- true; exit $?`, self(t), both, path, second)
	}
	one, two := script("0:1", "1:1"), script("1:1", "0:1")
	one.pid()
	two.pid()
	meet()
	eventually(t, "both wait", func() bool { return waitersOf(path, "t") == 2 })
	code, stdout, _ := call(nil, "check", path)
	if want := fmt.Sprintf("pid %d holds t while its pid ", one.Process.Pid); code != 1 || !strings.Contains(stdout, ": deadlock: t:") || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d, %s; want %s", code, stdout, want)
	}
	_, stdout, _ = call(nil, "check", path, "--json")
	var victim int
	if _, after, found := strings.Cut(stdout, "kill "); found {
		fmt.Sscan(after, &victim)
	}
	if victim == 0 {
		t.Fatal(stdout)
	}
	syscall.Kill(victim, syscall.SIGTERM)
	one.exit()
	two.exit()
}
