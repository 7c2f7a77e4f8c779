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
	var s *Snapshot
	for deadline := time.Now().Add(proc.Soon); time.Now().Before(deadline); time.Sleep(between) {
		var err error
		if s, err = ReadSnapshot(path); err != nil {
			t.Fatal(err)
		}
		if len(s.Members) == want {
			return
		}
	}
	t.Fatalf("%d members, not %d", len(s.Members), want)
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

// One death that many learn of is settled by few.
func TestHerdOfHeirs(t *testing.T) {
	needDeath(t)
	const heirs, mostPasses = 30, 12
	a := testArena(t, &Options{Logger: quiet})
	owner := startActor(t, a.Path(), "owner")
	owner.must("held", "lock m")
	var waiting []*actor
	for range heirs {
		w := startActor(t, a.Path(), "heir")
		w.Send("lock m")
		waiting = append(waiting, w)
	}
	until(t, "all wait", func() bool {
		l, _ := tallyIn(t, a, "m")
		return l.Waiters == heirs
	})
	before := a.core.head.passes.Load()
	owner.Kill()
	membersIn(t, a.Path(), heirs+1)
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
	// Whoever found the latch taken looks again by then, and must not settle.
	time.Sleep(proc.StillBlocks)
	if passes := (a.core.head.passes.Load() - before) / 2; passes > mostPasses {
		t.Errorf("%d passes for one death, which %d learned of", passes, heirs)
	}
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
