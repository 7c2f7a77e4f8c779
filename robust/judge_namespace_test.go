package robust

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// From either side of a namespace's border the other's processes look dead.
func TestJudgePIDOfAnotherNamespace(t *testing.T) {
	skipWithoutPidfd(t)
	foreigner := startPrivileged(t, "foreigner", unix.CLONE_NEWPID)
	if foreigner.id.PIDNS == self(t).PIDNS || foreigner.id.PID != 1 {
		t.Fatalf("not in a namespace of its own: %+v", foreigner.id)
	}
	for _, pid := range []uint32{foreigner.id.PID, uint32(foreigner.cmd.Process.Pid)} {
		id := foreigner.id
		id.PID = pid
		expect(t, "its process from here", JudgePID(id), Unknown)
	}

	foreigner.tell(t, self(t))
	var got foreignView
	foreigner.answer(t, &got)
	if !got.LooksDead {
		t.Error("our pid is in use there: the test shows nothing")
	}
	expect(t, "our process from there", got.Outside, Unknown)
	expect(t, "its own child by our procfs", got.Inside, Alive)

	foreigner.dieAndReap(t)
	expect(t, "its dead process from here", JudgePID(foreigner.id), Unknown)
}

type foreignView struct {
	LooksDead       bool
	Outside, Inside Verdict
}

func foreigner() {
	introduce()
	var outside Identity
	hear(&outside)
	_, err := pidfdOpen(int(outside.PID), 0)
	inside, launchErr := launch("idle", nil)
	must(launchErr)
	defer inside.end()
	defer feature.Pidfs.SetOff(true)()
	say(foreignView{err == unix.ESRCH, JudgePID(outside), JudgePID(inside.id)})
	hearOut()
}

// A pid comes again with another process behind it, sooner than the clock
// that start times are taken from ticks.
func TestJudgePIDAfterReuse(t *testing.T) {
	skipWithoutPidfd(t)
	c := startPrivileged(t, "pid-reuse", unix.CLONE_NEWPID)
	var got reuseView
	c.answer(t, &got)
	if got.Skip != "" {
		t.Skip(got.Skip)
	}
	first, second := got.First, got.Second
	if first.PID != second.PID || first.StartTime == second.StartTime {
		t.Fatalf("not the case meant: %+v, %+v", first, second)
	}
	expect(t, "first", got.JudgedFirst, Gone)
	expect(t, "second", got.JudgedSecond, Alive)
	if first.PidfdInode != 0 {
		expect(t, "first, with the second's start time", got.JudgedTwin, Gone)
	}
	expect(t, "first, no pidfs", got.OldJudgedFirst, Gone)
	expect(t, "second, no pidfs", got.OldJudgedSecond, Alive)
	expect(t, "first, with the second's start time, no pidfs", got.OldJudgedTwin, Alive)
	if !got.Notified {
		t.Error("the watcher took the second for the first")
	}
}

type reuseView struct {
	Skip                                           string
	First, Second                                  Identity
	JudgedFirst, JudgedSecond, JudgedTwin          Verdict
	OldJudgedFirst, OldJudgedSecond, OldJudgedTwin Verdict
	Notified                                       bool
}

// pidReuse runs as the first process of its namespace.
func pidReuse() {
	introduce()
	first, err := launch("idle", nil)
	must(err)
	first.end()

	second, err := launchAs(first.id)
	if err != nil {
		say(reuseView{Skip: "pids cannot be chosen here: " + err.Error()})
		return
	}
	defer second.end()
	twin := first.id
	twin.StartTime = second.id.StartTime
	view := reuseView{First: first.id, Second: second.id}
	view.JudgedFirst, view.JudgedSecond, view.JudgedTwin = JudgePID(first.id), JudgePID(second.id), JudgePID(twin)

	watcher := NewWatcher(1)
	notified := make(chan uint64, 1)
	watcher.Watch(1, first.id, func(key uint64) { notified <- key })
	select {
	case <-notified:
		view.Notified = true
	case <-time.After(doneBound):
	}
	watcher.Close()

	defer feature.Pidfs.SetOff(true)()
	view.OldJudgedFirst, view.OldJudgedSecond, view.OldJudgedTwin = JudgePID(first.id), JudgePID(second.id), JudgePID(twin)
	say(view)
	hearOut()
}

// launchAs starts a process with the pid of a dead one, at a later tick. A
// thread of ours may snatch the number away, so it tries again.
func launchAs(dead Identity) (*child, error) {
	for deadline := time.Now().Add(doneBound); ; {
		previous := []byte(strconv.Itoa(int(dead.PID - 1)))
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", previous, 0); err != nil {
			return nil, err
		}
		c, err := launch("idle", nil)
		if err != nil {
			return nil, err
		}
		if c.id.PID == dead.PID && c.id.StartTime != dead.StartTime {
			return c, nil
		}
		c.end()
		if time.Now().After(deadline) {
			return nil, errors.New("never got it")
		}
	}
}

// Start times read in a time namespace are shifted: they must neither be
// published nor compared.
func TestJudgePIDInATimeNamespace(t *testing.T) {
	skipWithoutPidfd(t)
	c := startPrivileged(t, "time-shift", 0)
	var shifted shiftedView
	c.tell(t, self(t))
	c.answer(t, &shifted)
	if shifted.Skip != "" {
		t.Skip(shifted.Skip)
	}
	if shifted.Self.PIDNS != self(t).PIDNS || shifted.Self.StartTime != 0 {
		t.Errorf("identity in a time namespace: %+v", shifted.Self)
	}
	if shifted.Shown == self(t).StartTime {
		t.Error("start times are not shifted: the test shows nothing")
	}
	expect(t, "from the time namespace, no pidfs", shifted.Judged, Alive)
}

type shiftedView struct {
	Skip   string
	Self   Identity
	Shown  uint64
	Judged Verdict
}

func timeShift() {
	introduce()
	var outside Identity
	hear(&outside)
	unavailable := func(err error) { say(shiftedView{Skip: "no time namespaces here: " + err.Error()}) }
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		unavailable(err)
		return
	}
	must(os.WriteFile("/proc/self/timens_offsets", []byte("boottime 100000 0\n"), 0))
	shifted, err := launch("shifted", nil)
	if err != nil {
		unavailable(err)
		return
	}
	defer shifted.end()
	must(json.NewEncoder(shifted.stdin).Encode(outside))
	var view shiftedView
	must(shifted.stdout.Decode(&view))
	say(view)
	hearOut()
}

func shifted() {
	id := introduce()
	var outside Identity
	hear(&outside)
	defer feature.Pidfs.SetOff(true)()
	shown, err := statStartTime("/proc/" + strconv.Itoa(int(outside.PID)) + "/stat")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		must(err)
	}
	say(shiftedView{Self: id, Shown: shown, Judged: JudgePID(outside)})
	hearOut()
}
