package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched collects events until it has seen one.
type watched struct {
	*process
	seen []event
}

func watching(t *testing.T, path string) *watched {
	w := &watched{process: start(t, asTool, "watch", path, "--json", "--interval", "5ms")}
	w.until("watching", "")
	return w
}

// until returns the next event of that name about the lock, or about none.
func (w *watched) until(name, lock string) event {
	w.t.Helper()
	for {
		var e event
		line := w.line()
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			w.t.Fatalf("%v in %s", err, line)
		}
		w.seen = append(w.seen, e)
		if e.Event == name && (lock == "" && e.Lock == nil || e.Lock != nil && *e.Lock == lock) {
			return e
		}
	}
}

func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	// Nobody who looks after the dead is there while it is stopped.
	first := hold(t, path, "first", "base")
	w := watching(t, path)
	expectPID := func(e event, p *process) {
		t.Helper()
		if int(e.PID) != p.Process.Pid {
			t.Errorf("%s names pid %d, want %d: %s", e.Event, e.PID, p.Process.Pid, e.Text)
		}
	}
	second := start(t, asHolder, path, "second", "l", "pass:base")
	expectPID(w.until("waiting", "base"), second)
	third := start(t, asHolder, path, "third", "l")
	expectPID(w.until("waiting", "l"), third)
	second.kill()
	expectPID(w.until("abandoned", "l"), second)
	reader := hold(t, path, "reader", "r:catalogue")
	expectPID(w.until("taken", "catalogue"), reader)
	reader.stdin.Close()
	expectPID(w.until("left", ""), reader)
	call(nil, "sem", path, "make", "gpu", "2")
	call(nil, "sem", path, "resize", "gpu", "3")
	first.stdin.Close()
	expectPID(w.until("abandoned", "base"), first) // closed while holding it

	p := start(t, asTool, "watch", path, "--count", "1", "--interval", "5ms")
	if line := p.line(); !strings.Contains(line, "  watching     -  ") {
		t.Errorf("it begins with %q", line)
	}
	call(nil, "sem", path, "resize", "gpu", "4")
	if fields := strings.Fields(p.line()); p.exit() != 0 || len(fields) < 3 || len(fields[0]) != len("15:04:05.000") {
		t.Errorf("it says %q", fields)
	}
	os.Remove(path)
	if code := w.exit(); code != 2 || !strings.Contains(w.complaints(), "no arena at") {
		t.Errorf("after the arena's end: exit code %d", code)
	}
}

// What changed between two reports, event by event.
func TestChanges(t *testing.T) {
	at := func(s string) moment { x, _ := time.Parse(time.RFC3339, s); return moment(x) }
	alive, dead := true, false
	one := &member{Index: 1, Generation: 1, PID: 11, Label: "one", Phase: "live", Alive: &alive}
	two := &member{Index: 2, Generation: 1, PID: 22, Label: "two", Phase: "live", Alive: &alive}
	corpse := &member{Index: 1, Generation: 1, PID: 11, Label: "one", Phase: "live", Alive: &dead}
	by := func(m *member) *party { return m.party() }
	free := lock{Name: "l", Kind: "mutex"}
	held := func(m *member) lock { l := free; l.Owner = by(m); return l }
	waited := func(l lock, m *member) lock {
		l.Waiters, l.Waiting = 1, []waiter{{*by(m), 1, "exclusive", 0, at("2031-01-01T00:00:00Z"), nil}}
		return l
	}
	abandoned := func(l lock) lock {
		l.Abandoned, l.Abandonments = true, l.Abandonments+1
		l.LastDeath = &death{PID: 11, Label: "one", Cause: "died"}
		return l
	}
	whole := func(l lock) lock { l.Abandoned = false; return l }
	reading := func(m *member) lock {
		return lock{Name: "r", Kind: "rwmutex", Readers: 1, Reading: []reader{{*by(m), 1}}}
	}
	sem := func(size int, holders ...ticketHolder) lock {
		n := 0
		for _, h := range holders {
			n += len(h.Numbers)
		}
		return lock{Name: "s", Kind: "semaphore", Tickets: &ticketry{size, n, false, holders}}
	}
	has := func(m *member, numbers ...int) ticketHolder { return ticketHolder{*by(m), numbers} }
	with := func(members []*member, locks ...lock) *report {
		r := &report{Members: members, Taken: at("2031-01-01T00:00:05Z")}
		for i := range locks {
			r.Locks = append(r.Locks, &locks[i])
		}
		r.link()
		return r
	}
	all := []*member{one, two}
	for _, tc := range []struct {
		name          string
		before, after *report
		want          string
	}{
		{"nothing", with(all, held(one)), with(all, held(one)), ""},
		{"taken", with(all, free), with(all, held(one)), "taken l: pid 11 (one)"},
		{"released", with(all, held(one)), with(all, free), "released l: pid 11 (one)"},
		{"a new name", with(all), with(all, held(two)), "taken l: pid 22 (two)"},
		{"a name gone", with(all, held(two)), with(all), "released l: pid 22 (two)"},
		{"passed on", with(all, held(one)), with(all, held(two)), "released l: pid 11 (one); taken l: pid 22 (two)"},
		{"waiting", with(all, held(one)), with(all, waited(held(one), two)), "waiting l: pid 22 (two) waits for pid 11 (one)"},
		{"handed over", with(all, waited(held(one), two)), with(all, held(two)), "handed-over l: pid 11 (one) to pid 22 (two)"},
		{"died", with(all, held(one)), with([]*member{corpse, two}, held(corpse)), "died: pid 11 (one)"},
		{"settled", with([]*member{corpse, two}, held(corpse)), with([]*member{two}, abandoned(free)), "abandoned l: pid 11 (one) died holding it; settled: pid 11 (one)"},
		{"inherited", with([]*member{corpse, two}, held(corpse)), with([]*member{corpse, two}, abandoned(held(two))), "abandoned l: pid 11 (one) died holding it; inherited l: pid 22 (two) from pid 11 (one)"},
		{"repaired", with(all, abandoned(held(two))), with(all, whole(abandoned(held(two)))), "repaired l: what it protects is whole again"},
		{"attached", with([]*member{one}), with(all), "attached: pid 22 (two)"},
		{"left", with(all), with([]*member{one}), "left: pid 22 (two)"},
		{"reading", with(all, lock{Name: "r", Kind: "rwmutex"}), with(all, reading(one)), "taken r: pid 11 (one), shared"},
		{"read", with(all, reading(one)), with(all, reading(two)), "taken r: pid 22 (two), shared; released r: pid 11 (one), shared"},
		{"resized", with(all, sem(2)), with(all, sem(3)), "resized s: from 2 to 3 tickets"},
		{"tickets", with(all, sem(3, has(one, 0, 1))), with(all, sem(3, has(one, 1), has(two, 0, 2))), "taken s: pid 22 (two), tickets 0,2; released s: pid 11 (one), tickets 0"},
	} {
		var got []string
		for _, e := range changes(tc.before, tc.after) {
			text := e.Event
			if e.Lock != nil {
				text += " " + *e.Lock
			}
			got = append(got, text+": "+e.Text)
		}
		if strings.Join(got, "; ") != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestTopFrames(t *testing.T) {
	w := wedge(t)
	code, stdout, stderr := call(nil, "top", w.path, "--count", "2", "--interval", "60ms", "--sort", "waited")
	if code != 0 || stderr != "" || strings.Contains(stdout, "\x1b") {
		t.Fatalf("exit code %d, %q, %q", code, stdout, stderr)
	}
	frames := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n\n")
	if len(frames) != 2 {
		t.Fatalf("%d frames: %s", len(frames), stdout)
	}
	for _, frame := range frames {
		lines := strings.Split(frame, "\n")
		if len(lines) != 7 || !strings.HasPrefix(lines[0], "billing  ") || !strings.HasPrefix(lines[1], "NAME ") || !strings.HasPrefix(lines[2], "busy ") || !strings.Contains(lines[2], " 100% ") {
			t.Errorf("frame: %s", frame)
		}
	}
	for _, args := range [][]string{{"--interval", "0"}, {"--count", "-1"}, {"--sort", "size"}, {"a", "b"}, {}} {
		if code, _, stderr := call(nil, append([]string{"top"}, args...)...); code != 2 || stderr == "" {
			t.Errorf("top %q: exit code %d, %q", args, code, stderr)
		}
	}
	if code, _, stderr := call(nil, "top", filepath.Join(w.folder, "none")); code != 2 || !strings.Contains(stderr, "there are: billing") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// On a terminal keys choose the order and end it, and the terminal is left as
// it was found.
func TestTopOnTerminal(t *testing.T) {
	w := wedge(t)
	keyboard, terminal := openTerminal(t)
	unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 10, Col: 70})
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	shown := make(chan string, 1000)
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := keyboard.Read(buffer)
			if err != nil {
				close(shown)
				return
			}
			shown <- string(buffer[:n])
		}
	}()
	var screen strings.Builder
	until := func(text string) {
		t.Helper()
		for late := time.After(mustBeDone); !strings.Contains(screen.String(), text); {
			select {
			case more := <-shown:
				screen.WriteString(more)
			case <-late:
				t.Fatalf("never shows %q: %q", text, screen.String())
			}
		}
		screen.Reset()
	}
	for _, end := range []string{"q", "\x03"} {
		c := exec.Command(self(t), asTool, "top", w.path, "--interval", "50ms")
		c.Stdin, c.Stdout, c.Stderr = terminal, terminal, terminal
		c.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		until("[b busiest]")
		keyboard.WriteString("w")
		until("[w waited]")
		keyboard.WriteString(end)
		until("\x1b[?25h\x1b[?1049l")
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
		after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if *after != *before {
			t.Errorf("the terminal was %+v, is %+v", before, after)
		}
	}
}

func TestTopSees(t *testing.T) {
	alive := true
	m := &member{Index: 1, Generation: 1, PID: 11, Alive: &alive, Phase: "live"}
	start := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	k := new(tracked)
	for i, held := range []bool{false, true, true, false, true} {
		l := &lock{Name: "l", Kind: "mutex", taken: start.Add(time.Duration(i) * time.Second)}
		if held {
			l.Owner = m.party()
			l.Waiting = []waiter{{*m.party(), 1, "exclusive", 0, moment(start), nil}}
		}
		k.lock = l
		k.see(l.taken)
	}
	if k.seen != 5 || k.busy != 3 || k.changes != 2 || fmt.Sprint(k.waits) != "[1s 2s 4s]" {
		t.Errorf("%+v", k)
	}
	if d, _ := k.heldFor(); d != 0 {
		t.Errorf("held for %v", d)
	}
	if got := fmt.Sprint(k.percentile(50), k.percentile(99)); got != "2s 4s" {
		t.Errorf("percentiles %s", got)
	}
	if got := precise(1234567 * time.Nanosecond).String(); got != "1.23ms" {
		t.Error(got)
	}
}
