package arena

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

func init() {
	for _, way := range modes {
		rwActs["pass "+way.name] = func(m *RWMutex) error {
			way.lock(m)
			return way.release(m)
		}
	}
}

func killRounds() int {
	if testing.Short() {
		return 40
	}
	return 1000
}

// A holder in each mode is killed, each round another, while processes wait in
// each mode; the others all get in, and nothing is left.
func TestRWKilledHolders(t *testing.T) {
	needDeath(t)
	t.Parallel()
	a, m := testRW(t)
	m.Lock()
	m.Unlock()
	var crew []*proc.Proc
	for range modes {
		crew = append(crew, startRW(t, a))
	}
	heir := proc.Start(t, "rw-actor", []string{a.Path()})
	var longest, sum time.Duration
	for round := range killRounds() {
		victim := heir
		victim.Expect("ready")
		heir = proc.Start(t, "rw-actor", []string{a.Path()}) // the next one, meanwhile
		held := []string{"R", "U", "X", "U>X"}[round%4]
		if held == "U>X" {
			do(t, victim, "U")
		}
		do(t, victim, held)
		for i, p := range crew {
			p.Send("pass %s", modes[i].name)
		}
		if round%8 < 4 {
			untilWaiting(t, m, waitersBeside(held))
		}
		killed := time.Now()
		victim.Signal(syscall.SIGKILL)
		for _, p := range crew {
			p.Expect("ok")
		}
		took := time.Since(killed)
		longest, sum = max(longest, took), sum+took
		victim.Kill()
		m.ULock()
		d, abandoned := m.Abandoned()
		if want := held == "X" || held == "U>X"; abandoned != want || want && d.PID != victim.PID() {
			t.Fatalf("round %d, killed holding %s: abandoned %v, %+v", round, held, abandoned, d)
		}
		m.MarkConsistent()
		m.UUnlock()
	}
	t.Logf("from the kill until all had passed: mean %v, longest %v", sum/time.Duration(killRounds()), longest)
}

// waitersBeside is how many of one process in each mode have to wait.
func waitersBeside(held string) int {
	switch held {
	case "R":
		return 1 // X, or R and U behind it
	case "U":
		return 2
	}
	return 3
}

// untilWaiting waits until at least so many processes wait for the lock.
func untilWaiting(t *testing.T, m *RWMutex, want int) {
	t.Helper()
	c, b := m.arena.core, m.binding()
	until(t, fmt.Sprintf("%d wait", want), func() bool {
		n := 0
		for i := uint32(1); i < c.segments()*segmentRecords; i++ {
			r := c.recordAt(i)
			if r.slot.Load() != b.index {
				continue
			}
			switch kindOfRecord(r.owner.Load()) {
			case recordWaiter:
				n++
			case recordReaders:
				if r.load().waiting() > 0 {
					n++
				}
			}
		}
		if robust.Word(b.slot.state.Load()).Has(robust.Waiters) {
			n++ // who waits for the readers
		}
		return n >= want
	})
}

// Of processes that wait one behind the other one is killed, each round at the
// next place, in the next mode, just before or just after the lock comes free.
func TestRWKilledWaiters(t *testing.T) {
	needDeath(t)
	t.Parallel()
	a, m := testRW(t)
	m.Lock()
	m.Unlock()
	const places = 5
	var queue [places]*proc.Proc
	for i := range queue {
		queue[i] = startRW(t, a)
	}
	heir := proc.Start(t, "rw-actor", []string{a.Path()})
	for round := range killRounds() {
		victim := round % places
		m.Lock()
		for i, p := range queue {
			p.Send("pass %s", modes[(i+round/places)%len(modes)].name)
			untilWaiting(t, m, i+1)
		}
		if round/places%2 == 0 {
			queue[victim].Signal(syscall.SIGKILL)
			m.Unlock()
		} else {
			m.Unlock()
			queue[victim].Signal(syscall.SIGKILL)
		}
		for i, p := range queue {
			if i != victim {
				p.Expect("ok")
			}
		}
		queue[victim].Kill()
		m.Lock()
		if d, abandoned := m.Abandoned(); abandoned && d.PID != queue[victim].PID() {
			t.Fatalf("round %d: abandoned by %+v", round, d)
		}
		m.MarkConsistent()
		m.Unlock()
		heir.Expect("ready")
		queue[victim], heir = heir, proc.Start(t, "rw-actor", []string{a.Path()})
	}
}

// A process is killed while it grants: it has opened the gate, has let in some
// of those who wait, all of them, has freed the word.
func TestRWKilledGranters(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	a, m := testRW(t)
	m.Lock()
	m.Unlock()
	var crew []*proc.Proc
	for range 4 {
		crew = append(crew, startRW(t, a))
	}
	points := []string{"open.opened", "grant.counted", "grant.counted:2", "grant.woken", "grant.woken:2", "open.granted", "release.freed", "wake.done"}
	longest := make(map[string]time.Duration)
	missed, began := 0, time.Now()
	for round := 0; round < killRounds() || len(longest) < len(points) && time.Since(began) < proc.Soon; round++ {
		point := points[round%len(points)]
		granter := startRWCrashing(t, a, binary, point)
		do(t, granter, "X")
		for i, p := range crew {
			p.Send("pass %s", []string{"R", "R", "U", "X"}[i])
		}
		untilWaiting(t, m, len(crew))
		granter.Send("X-")
		_, alive := <-granter.Lines()
		granter.Kill()
		killed := time.Now()
		for _, p := range crew {
			p.Expect("ok")
		}
		if alive {
			missed++ // who waits for the word does not sleep yet, and is not woken
		} else {
			longest[point] = max(longest[point], time.Since(killed))
		}
		m.Lock()
		if d, abandoned := m.Abandoned(); abandoned {
			t.Fatalf("round %d, killed at %s: abandoned: %+v", round, point, d)
		}
		m.Unlock()
	}
	t.Logf("from the kill until all had passed, at most: %v; %d were not killed at the point but after it", longest, missed)
	for _, point := range points {
		if longest[point] == 0 {
			t.Errorf("nobody was killed at %s", point)
		}
	}
}
