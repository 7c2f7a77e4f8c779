package arena

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
	"lockd/robust"
)

// stepLane plays the cases of one operation, one after the other, with two
// processes that are there for all of them.
type stepLane struct {
	t    *testing.T
	m    *stepMatrix
	o    *operation
	crew [2]*proc.Proc
	path string // of this case's arena
	turn int
}

// fallen is a process that was, or was to be, killed.
type fallen struct {
	*proc.Proc
	gone   bool   // it has ended
	at     string // "window", where it waits for what happens then, or "done"
	killed bool
	state  map[string]string // how it held which lock, as it said last
	came   map[string]int    // the points that it came to, and how often
}

func newLane(t *testing.T, m *stepMatrix, o *operation) *stepLane {
	l := &stepLane{t: t, m: m, o: o}
	for i := range l.crew {
		l.crew[i] = proc.Start(t, "step-crew", nil)
	}
	return l
}

// tell has one of the crew do something.
func (l *stepLane) tell(i int, what string, n int, about string) {
	l.t.Helper()
	l.crew[i].Send("%s %d %s", what, n, about)
	if answer := l.crew[i].Next(); answer != "ok" {
		l.t.Fatalf("%s %s: %s", what, about, answer)
	}
}

func (l *stepLane) slots() int { return max(l.o.slots, segmentSlots) }

// play is one case: others were killed at points before, then one is killed at
// the last point, or with none is not, and says where it came.
func (l *stepLane) play(s company, before []string, point string) (came map[string]int, killed bool) {
	l.turn++
	dir, err := os.MkdirTemp(Dir, testPrefix)
	if err != nil {
		l.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l.path = filepath.Join(dir, "arena")
	if raw := imageOf(l.t, l.o.image, l.slots()); raw != nil {
		if err := os.WriteFile(l.path, raw, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	var dead []*fallen
	for _, first := range l.o.first {
		name, at, _ := strings.Cut(first, "@")
		o := operationNamed(name)
		if at == "" {
			dead = append(dead, l.perform(o, company{}, "die", ""))
		} else {
			dead = append(dead, l.perform(o, company{}, "early", at))
		}
	}
	if s.corpse {
		dead = append(dead, l.perform(l.o, company{}, "die", ""))
	}
	for _, at := range before {
		dead = append(dead, l.perform(l.o, company{}, "early", at))
	}
	how := ""
	if len(dead) > 0 {
		how = "early"
	}
	last := l.perform(l.o, s, how, point)
	for _, f := range dead {
		if f.killed {
			l.m.mu.Lock()
			l.m.deaths++
			l.m.mu.Unlock()
		}
	}
	began := time.Now()
	if err := l.survive(append(dead, last)); err != nil {
		l.t.Errorf("%s, %v, killed at %q (%v): %v", s.name, before, point, last.killed, err)
	}
	l.m.mu.Lock()
	l.m.worst = max(l.m.worst, time.Since(began))
	l.m.mu.Unlock()
	return last.came, last.killed
}

// perform has a process do an operation in a company. It is to die at a point,
// or when it has what the operation is about ("die"); with neither it says where
// it came. Early, the point counts from when it has opened the arena, and what
// the dead have left is settled as a part of the work.
func (l *stepLane) perform(o *operation, s company, how, point string) *fallen {
	dies := how == "die"
	crewed := s.rivals || s.sleepers || !dies && !s.corpse && o.hold != nil || o.meanwhile != nil && !dies
	if crewed {
		for i := range l.crew {
			l.tell(i, "open", l.slots(), l.path)
		}
	}
	held := o.hold != nil && !dies && !s.corpse
	if held {
		l.tell(0, "hold", 0, o.name)
	}
	if s.rivals {
		for i := range l.crew {
			l.tell(i, "rival", 1, o.name)
		}
	}
	rounds := 1
	if s.rivals {
		rounds = 4
	}
	v := l.start(o, how, rounds, point)
	if v.until("ready") {
		if dies {
			v.Kill()
			v.killed = true
			v.until("")
			return v
		}
		l.direct(v, o, s, held)
	}
	if held {
		l.tell(0, "let-go", 0, o.name)
	}
	v.until("")
	l.end(v, o, point)
	if crewed {
		for i := range l.crew {
			l.tell(i, "stop", 0, o.name)
		}
		for i := range l.crew {
			l.tell(i, "close", 0, o.name)
		}
	}
	return v
}

// direct lets the process work, when the others are where they are to be.
func (l *stepLane) direct(v *fallen, o *operation, s company, held bool) {
	waiting := 0
	if s.sleepers {
		for i := range l.crew {
			l.tell(i, "wait", 2, o.name)
		}
		waiting = 2 * len(l.crew)
		l.await(v, waiting, o.starve)
	}
	if o.meanwhile != nil {
		l.tell(0, "meanwhile", 0, o.name)
	}
	v.Send("go")
	if held {
		l.await(v, waiting+1, false)
		l.tell(0, "let-go", 0, o.name)
	}
	for v.at == "window" || v.until("window", "done") && v.at == "window" {
		l.tell(0, "let-go", 0, o.name)
		v.at = ""
		v.Send("go on")
	}
}

// await looks for a moment whether so many wait, or the process has ended: it is
// about the shape of the case, and nothing depends on it.
func (l *stepLane) await(v *fallen, n int, starved bool) {
	pause := 200 * time.Microsecond
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline) && !v.ended() && v.at == ""; pause = min(2*pause, 5*time.Millisecond) {
		time.Sleep(pause)
		s, err := ReadSnapshot(l.path)
		if err != nil {
			continue
		}
		wait, shows := 0, false
		for _, lock := range s.Locks {
			wait += lock.Waiters
			shows = shows || lock.Word.Has(robust.Starved)
		}
		if wait >= n && (!starved || shows) {
			return
		}
	}
}

func (l *stepLane) start(o *operation, how string, rounds int, point string) *fallen {
	cmd := exec.Command(l.m.binary, l.path, o.name, strconv.Itoa(l.slots()), how, strconv.Itoa(rounds), point)
	v := &fallen{state: make(map[string]string), came: make(map[string]int)}
	v.Proc = proc.StartCommand(l.t, cmd, proc.Env(roleVariable+"=step-victim"), proc.Env("LOCKD_CRASH="), proc.Env("LOCKD_FEATURES_OFF="+o.off))
	return v
}

// end looks how the process has ended.
func (l *stepLane) end(v *fallen, o *operation, point string) {
	err := v.Wait()
	exit, ok := err.(*exec.ExitError)
	v.killed = ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if err != nil && !v.killed {
		l.t.Errorf("%s, to be killed at %q: %v", o.name, point, err)
	}
}

// until hears the process until it says one of these, or has ended, which is
// false.
func (v *fallen) until(words ...string) bool {
	for deadline := time.After(proc.Soon); ; {
		select {
		case line, ok := <-v.Lines():
			if !ok {
				v.gone = true
				return false
			}
			v.hear(line)
			if slices.Contains(words, line) {
				return true
			}
		case <-deadline:
			v.Signal(syscall.SIGQUIT) // shows what it waits for
			v.hear("hangs")
			return false
		}
	}
}

// ended hears what the process has said so far, and whether that was all.
func (v *fallen) ended() bool {
	for {
		select {
		case line, ok := <-v.Lines():
			if !ok {
				v.gone = true
				return true
			}
			v.hear(line)
		default:
			return v.gone
		}
	}
}

func (v *fallen) hear(line string) {
	how, what, _ := strings.Cut(line, " ")
	switch how {
	case "wants", "has", "hasn't":
		v.state[what] = how
	case "came":
		for point := range strings.FieldsSeq(what) {
			name, n, _ := strings.Cut(point, ":")
			v.came[name], _ = strconv.Atoi(n)
		}
	case "window", "done":
		v.at = how
	}
}

func (v *fallen) String() string { return fmt.Sprintf("pid %d %v", v.PID(), v.state) }
