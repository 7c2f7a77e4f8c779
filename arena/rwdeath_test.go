package arena

import (
	"fmt"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// A holder in each mode is killed while somebody waits in each mode that it
// keeps out; only a writer's death leaves the lock abandoned.
func TestRWHolderKilled(t *testing.T) {
	needDeath(t)
	a, m := testRW(t)
	for _, held := range []string{"R", "U", "X", "U>X"} {
		for _, wanted := range modes {
			if held != "U>X" && together(held, wanted.name) {
				continue
			}
			t.Run(held+wanted.name, func(t *testing.T) {
				p := startRW(t, a)
				if held == "U>X" {
					do(t, p, "U")
				}
				do(t, p, held)
				wait := proc.MustBlock(t, "lock", func() { wanted.lock(m) })
				p.Kill()
				wait()
				d, abandoned := m.Abandoned()
				if want := held == "X" || held == "U>X"; abandoned != want || want && (d.PID != p.PID() || d.Cause != Died) {
					t.Errorf("abandoned: %v, %+v", abandoned, d)
				}
				if wanted.name != "R" {
					if err := m.MarkConsistent(); err != nil {
						t.Error(err)
					}
				}
				wanted.unlock(m)
				if wanted.name == "R" {
					m.ULock()
					m.MarkConsistent()
					m.UUnlock()
				}
			})
		}
	}
}

// Who waits is killed; those who wait behind it, and beside it, get in.
func TestRWWaiterKilled(t *testing.T) {
	needDeath(t)
	a, m := testRW(t)
	for _, held := range []string{"R", "X"} {
		for _, waiting := range []string{"R", "U", "X", "U>X"} {
			if held == "R" && waiting != "X" && waiting != "U>X" || held == "X" && waiting == "U>X" {
				continue
			}
			t.Run(held+waiting, func(t *testing.T) {
				holder, victim, other := startRW(t, a), startRW(t, a), startRW(t, a)
				if waiting == "U>X" {
					do(t, victim, "U")
				}
				do(t, holder, held)
				victim.Send("%s", waiting)
				victim.Silent()
				other.Send("X")
				other.Silent()
				reader := make(chan bool)
				go func() { // a reader behind a waiting writer
					m.RLock()
					m.RUnlock()
					close(reader)
				}()
				victim.Kill()
				do(t, holder, held+"-")
				other.Expect("ok")
				do(t, other, "X-")
				<-reader
				m.Lock()
				if d, abandoned := m.Abandoned(); abandoned {
					t.Errorf("abandoned by one who never held it: %+v", d)
				}
				m.Unlock()
			})
		}
	}
}

// rwSteps are the steps of what a process does with an rwmutex.
var rwSteps = []struct {
	point   string
	vacant  bool     // there is a cell that was another's
	before  []string // what the victim has done
	beside  string   // what another does before that, and undoes afterwards
	waiting string   // what a third waits for before the act
	act     string   // at which the victim is killed
	written bool     // it may have changed something
}{
	{point: "cell.claimed", act: "R"},
	{point: "cell.filled", act: "R"},
	{point: "cell.linked", act: "R"},
	{point: "cell.moved-in", vacant: true, act: "R"},
	{point: "read.added", act: "R"},
	{point: "read.waiting", beside: "X", act: "R"},
	{point: "read.sleep", beside: "X", act: "R"},
	{point: "read.withdrawn", beside: "X", act: "R!"},
	{point: "read.released", before: []string{"R"}, act: "R-"},
	{point: "read.released", before: []string{"R"}, waiting: "X", act: "R-"},
	{point: "exclude.shut", act: "X", written: true},
	{point: "drain.sleep", beside: "R", act: "X"},
	{point: "drain.sleep", beside: "R", before: []string{"U"}, act: "U>X"},
	{point: "exclude.drained", act: "X", written: true},
	{point: "open.opened", before: []string{"X"}, waiting: "R", act: "X-"},
	{point: "grant.counted", before: []string{"X"}, waiting: "R", act: "X-"},
	{point: "grant.woken", before: []string{"X"}, waiting: "R", act: "X-"},
	{point: "open.granted", before: []string{"X"}, waiting: "R", act: "X-"},
	{point: "release.freed", before: []string{"X"}, waiting: "R", act: "X-"},
	{point: "release.freed", before: []string{"U"}, waiting: "U", act: "U-"},
	{point: "downgrade.counted", before: []string{"X"}, waiting: "R", act: "X>R", written: true},
	{point: "open.opened", before: []string{"X"}, waiting: "R", act: "X>R"},
	{point: "open.granted", before: []string{"X"}, waiting: "R", act: "X>R"},
	{point: "open.opened", before: []string{"X"}, waiting: "R", act: "X>U"},
	{point: "downgrade.counted", before: []string{"U"}, waiting: "U", act: "U>R"},
	{point: "try-exclude.shut", before: []string{"R"}, act: "R>X?"},
	{point: "try-exclude.exclusive", before: []string{"R"}, act: "R>X?", written: true},
	{point: "reopen.opened", before: []string{"R"}, beside: "R", act: "R>X?"},
	{point: "retire.closed", before: []string{"R", "R-"}, act: "evict"},
	{point: "evict.word", before: []string{"R", "R-"}, act: "evict"},
	{point: "retire.restore", before: []string{"R", "R-"}, act: "evict, and a reader comes"},
	{point: "retire.unlinked", before: []string{"R", "R-"}, act: "evict"},
	{point: "evict.unlinked", before: []string{"R", "R-"}, act: "evict"},
}

// rwHeirPoints are the steps of who reclaims what a dead one held.
var rwHeirPoints = []string{"reclaim.taken", "reclaim.told", "reopen.opened", "letgo.freed", "bury.closed", "settle.cell", "settle.record", "settle.frees"}

// A process is killed at each step of each act; whoever comes next gets the
// lock, finds it abandoned only if the dead one may have written, and nothing
// is left behind.
func TestRWKilledAtEachStep(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	kills.report(t)
	binary := buildWithCrashPoints(t)
	for _, tc := range rwSteps {
		t.Run(fmt.Sprintf("%s/%s%s%s", tc.point, tc.beside, tc.waiting, tc.act), func(t *testing.T) {
			a, m := testRW(t)
			m.RLock()
			m.RUnlock()
			var beside, waiting *proc.Proc
			if tc.beside != "" {
				beside = startRW(t, a)
				do(t, beside, tc.beside)
			}
			if tc.vacant {
				p := startRW(t, a)
				do(t, p, "R")
				p.Kill()
				a.core.settleDead()
			}
			victim := startRWCrashing(t, a, binary, tc.point)
			for _, act := range tc.before {
				do(t, victim, act)
			}
			if tc.waiting != "" {
				waiting = startRW(t, a)
				waiting.Send("%s", tc.waiting)
				if !together(tc.waiting, tc.before[0]) {
					waiting.Silent()
				} else {
					waiting.Expect("ok")
				}
			}
			victim.Send("%s", tc.act)
			if err := victim.Wait(); err == nil {
				t.Fatal("it was not killed")
			}
			kills.at(tc.point)
			if waiting != nil {
				if !together(tc.waiting, tc.before[0]) {
					waiting.Expect("ok")
				}
				do(t, waiting, tc.waiting+"-")
			}
			if beside != nil {
				do(t, beside, tc.beside+"-")
			}
			for _, way := range modes {
				way.lock(m)
				d, abandoned := m.Abandoned()
				if abandoned != tc.written || abandoned && d.PID != victim.PID() {
					t.Errorf("%s: abandoned %v, %+v", way.name, abandoned, d)
				}
				way.unlock(m)
			}
			m.Lock()
			m.MarkConsistent()
			m.Unlock()
		})
	}
}

// A writer dies between opening the gate and letting in who waits; one of
// those is killed when it has let itself in.
func TestRWSelfAdmittedKilled(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	binary := buildWithCrashPoints(t)
	a, m := testRW(t)
	writer := startRWCrashing(t, a, binary, "open.opened")
	reader := startRWCrashing(t, a, binary, "read.admitted")
	do(t, writer, "X")
	reader.Send("R")
	reader.Silent()
	wait := proc.MustBlock(t, "RLock", m.RLock)
	writer.Send("X-")
	writer.Wait()
	wait()
	m.RUnlock()
	if err := reader.Wait(); err == nil {
		t.Error("the reader was not killed")
	}
	kills.at("open.opened")
	kills.at("read.admitted")
	m.Lock()
	m.Unlock()
}

// Who reclaims a dead writer's lock is killed at each step of that.
func TestRWHeirKilledAtEachStep(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	kills.report(t)
	binary := buildWithCrashPoints(t)
	for _, point := range rwHeirPoints {
		for _, act := range []string{"R", "X", "settle"} {
			t.Run(point+"/"+act, func(t *testing.T) {
				a, m := testRW(t)
				m.RLock()
				m.RUnlock()
				victim := startRW(t, a)
				do(t, victim, "R")
				do(t, victim, "R-")
				do(t, victim, "X")
				heir := startRWCrashing(t, a, binary, point)
				victim.Kill()
				heir.Send("%s", act)
				select {
				case _, alive := <-heir.Lines(): // killed, or it did not come by the point: its own settler does
					if !alive {
						kills.at(point)
					}
				case <-time.After(proc.Soon):
					t.Fatal("the heir neither died nor got the lock")
				}
				heir.Kill()
				for _, way := range modes {
					way.lock(m)
					if _, abandoned := m.Abandoned(); !abandoned {
						t.Errorf("%s: not abandoned", way.name)
					}
					way.unlock(m)
				}
				m.Lock()
				m.MarkConsistent()
				m.Unlock()
			})
		}
	}
}
