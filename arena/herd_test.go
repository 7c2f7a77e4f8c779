package arena

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
)

// membersIn looks at an arena until so many are attached, and fails the test
// if that does not come about. Looking settles nobody.
func membersIn(t *testing.T, path string, want int) {
	t.Helper()
	until(t, fmt.Sprintf("there are %d members", want), func() bool {
		s, err := ReadSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		return len(s.Members) == want
	})
}

// Of many processes that die at once all are settled, though the few who live
// wait for two of them only.
func TestHerdDies(t *testing.T) {
	needDeath(t)
	const herd, survivors = 40, 2
	path := testPath(t)
	var doomed, waiting []*actor
	for i := range herd {
		a := startActor(t, path, fmt.Sprint("doomed ", i))
		a.must("held", "lock %d", i)
		doomed = append(doomed, a)
	}
	for i := range survivors {
		a := startActor(t, path, "survivor")
		a.Send("lock %d", i)
		waiting = append(waiting, a)
	}
	membersIn(t, path, herd+survivors)
	for i, w := range waiting {
		doomed[i].Kill()
		w.Expect(doomed[i].died(1))
	}
	membersIn(t, path, herd)
	// Those who wait have what they waited for, and settled who had had it: of
	// the others nobody hears.
	for _, a := range doomed[survivors:] {
		a.Signal(syscall.SIGKILL)
	}
	membersIn(t, path, survivors)
}

// One death that many learn of is settled by few. Who learns of it late, because
// others have the processors, rightly looks once more: so it is enough if that
// does not happen once, and none of the heirs need be quick.
func TestHerdOfHeirs(t *testing.T) {
	needDeath(t)
	const heirs, mostPasses = 30, 12
	a := testArena(t, &Options{Logger: quiet})
	var waiting []*actor
	for range heirs {
		waiting = append(waiting, startActor(t, a.Path(), "heir"))
	}
	for deadline := time.Now().Add(proc.Soon); ; {
		passes := passesAfterDeath(t, a, waiting)
		if passes <= mostPasses {
			return
		}
		t.Logf("%d passes", passes)
		if time.Now().After(deadline) {
			t.Fatalf("never fewer than %d passes for one death, which %d learn of", mostPasses+1, heirs)
		}
	}
}

// passesAfterDeath kills an owner for whom many wait, and counts the passes that
// settle him.
func passesAfterDeath(t *testing.T, a *Arena, waiting []*actor) uint32 {
	t.Helper()
	owner := startActor(t, a.Path(), "owner")
	owner.must("held", "lock m")
	for _, w := range waiting {
		w.Send("lock m")
	}
	until(t, "all wait", func() bool {
		l, _ := tallyIn(t, a, "m")
		return l.Waiters == len(waiting)
	})
	// Each has looked after those who died before it came, or does so again soon.
	for calm, began := 0, time.Now(); calm < 5 && time.Since(began) < proc.Soon/20; calm++ {
		for _, w := range waiting {
			if !proc.ProcessRests(w.PID()) {
				calm = 0
			}
		}
	}
	before := a.core.head.passes.Load()
	owner.Kill()
	membersIn(t, a.Path(), len(waiting)+1)
	served := make(chan struct{})
	for _, w := range waiting {
		go func() {
			w.Next()
			w.Send("mark m")
			w.Next()
			w.Send("unlock m")
			w.Next()
			served <- struct{}{}
		}()
	}
	for range waiting {
		<-served
	}
	// Whoever found another settling has looked again twice by then: without the
	// rule that is tested here each would make a pass.
	time.Sleep(5 * settleRetry)
	return (a.core.head.passes.Load() - before) / 2
}

// A pass serves who asked before it began, and ended.
func TestPassed(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	s := &settling{c: a.core}
	for _, tc := range []struct {
		asked, now uint32
		want       bool
	}{
		{4, 4, false}, {4, 5, false}, {4, 6, true}, // begun and ended since
		{5, 5, false}, {5, 6, false}, {5, 7, false}, {5, 8, true}, // one was under way
		{1<<32 - 2, 0, true}, {1<<32 - 1, 0, false},
	} {
		s.asked.Store(tc.asked)
		a.core.head.passes.Store(tc.now)
		if s.passed() != tc.want {
			t.Errorf("asked at %d, %d by now: %v", tc.asked, tc.now, !tc.want)
		}
	}
}
