package arena

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
)

// within is a context for what must end.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	t.Cleanup(cancel)
	return ctx
}

func mustLock(t testing.TB, s *Session, l Lockable) {
	t.Helper()
	if err := s.Lock(within(t), l); err != nil {
		t.Fatal(err)
	}
}

func startParties(t testing.TB, a *Arena, n, after int) []party {
	parties := make([]party, n)
	for i := range parties {
		parties[i] = startParty(t, a.Path(), after)
	}
	return parties
}

// Circles of sessions, over processes and through all kinds.
func TestDeadlockCycle(t *testing.T) {
	for _, tc := range []struct{ sessions, processes int }{{2, 1}, {2, 2}, {3, 3}, {12, 4}, {50, 5}} {
		t.Run(fmt.Sprintf("%d of %d", tc.sessions, tc.processes), func(t *testing.T) {
			a := testArena(t, nil)
			parties := startParties(t, a, tc.processes, 50)
			at := func(i int) party { return parties[i%tc.processes] }
			for i := range tc.sessions {
				at(i).must(fmt.Sprint("s", i), knots[i%len(knots)].held, i)
			}
			for i := range tc.sessions {
				next := (i + 1) % tc.sessions
				at(i).Send("s%d %s", i, fmt.Sprintf(knots[next%len(knots)].wanted, next))
			}
			expectOneVictim(t, parties, tc.sessions)
		})
	}
}

// Each pair of ways to wait for each other, in two processes.
func TestDeadlockOfEachTwoKinds(t *testing.T) {
	a := testArena(t, nil)
	parties := startParties(t, a, 2, 20)
	for i, one := range knots {
		for j, other := range knots {
			if i > j {
				continue
			}
			n := 100*i + 10*j
			first, second := fmt.Sprint("a", n), fmt.Sprint("b", n)
			parties[0].must(first, one.held, n)
			parties[1].must(second, other.held, n+1)
			parties[0].Send("%s %s", first, fmt.Sprintf(other.wanted, n+1))
			parties[1].Send("%s %s", second, fmt.Sprintf(one.wanted, n))
			x, y := "", ""
			select {
			case x = <-parties[0].Lines():
				parties[0].must(first, "close")
				y = parties[1].Next()
			case y = <-parties[1].Lines():
				parties[1].must(second, "close")
				x = parties[0].Next()
			case <-time.After(proc.Soon):
				t.Fatalf("%s against %s: nobody is told", one.wanted, other.wanted)
			}
			if (x == first+" deadlock") == (y == second+" deadlock") || x != first+" deadlock" && x != first+" ok" || y != second+" deadlock" && y != second+" ok" {
				t.Errorf("%q and %q", x, y)
			}
			for k, p := range parties {
				if (k == 0) == (x == first+" ok") {
					p.must([]string{first, second}[k], "close")
				}
			}
		}
	}
}

// An upgrade waits for a reader that waits to become upgradable.
func TestDeadlockOfUpgrades(t *testing.T) {
	a := testArena(t, nil)
	parties := startParties(t, a, 2, 20)
	parties[0].must("one", "U it")
	parties[1].must("other", "R it")
	parties[0].Send("one UX it")
	parties[1].Send("other UX it")
	expectOneVictim(t, parties, 2)
}

// Two processes that each hold what the other waits for, but in sessions that
// go on by themselves.
func TestProcessesOnlyLookDeadlocked(t *testing.T) {
	a := testArena(t, nil)
	parties := startParties(t, a, 2, 1)
	parties[0].must("a1", "L x")
	parties[1].must("b1", "L y")
	parties[0].begin(t, a, "a2", "L y")
	parties[1].begin(t, a, "b2", "L x")
	parties[0].Silent()
	s, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	if g := s.WaitGraph(); len(g.Deadlocks) != 0 || len(g.Possible) != 0 || len(g.Edges) != 2 {
		t.Errorf("%+v", g)
	}
	parties[0].must("a1", "L- x")
	parties[1].Expect("b2 ok")
	parties[1].must("b1", "L- y")
	parties[0].Expect("a2 ok")
}

// Tickets can come from more than one, and readers wait for one writer only.
func TestTicketsAreNoDeadlock(t *testing.T) {
	a := testArena(t, nil)
	parties := startParties(t, a, 2, 1)
	parties[0].must("a", "T gpu")
	parties[1].must("b", "L x")
	parties[0].must("free", "T gpu")
	parties[1].begin(t, a, "b", "T gpu") // of a, or of free
	parties[0].begin(t, a, "a", "L x")
	parties[0].Silent()
	parties[0].must("free", "close")
	parties[1].Expect("b ok")
	parties[1].must("b", "close")
	parties[0].Expect("a ok")
}

// Who waits for a member of a circle without being one is not told.
func TestBehindDeadlock(t *testing.T) {
	a := testArena(t, nil)
	parties := startParties(t, a, 2, 1)
	silent := startParty(t, a.Path(), never)
	silent.must("one", "L x")
	silent.must("other", "L y")
	silent.begin(t, a, "one", "L y")
	silent.begin(t, a, "other", "L x")
	parties[0].begin(t, a, "behind", "L x")
	parties[0].Silent()
	s, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	if g := s.WaitGraph(); len(g.Deadlocks) != 1 || len(g.Deadlocks[0]) != 2 {
		t.Errorf("%+v", g.Deadlocks)
	}
	// Killed, they have it.
	silent.Kill()
	parties[0].Expect("behind ok")
}

// A stopped process cannot give up; the other of the circle does.
func TestDeadlockWithStopped(t *testing.T) {
	a := testArena(t, nil)
	stopped, other := startParty(t, a.Path(), 300), startParty(t, a.Path(), 100)
	stopped.must("s", "L x")
	other.must("o", "L y")
	stopped.begin(t, a, "s", "L y")
	stopped.Signal(syscall.SIGSTOP)
	other.Send("o L x")
	other.Expect("o deadlock")
	other.must("o", "close")
	stopped.Signal(syscall.SIGCONT)
	stopped.Expect("s ok")
}

// Whoever died waits for nobody, though its session still says that it does.
func TestDeadMemberIsNoDeadlock(t *testing.T) {
	a := testArena(t, nil)
	dies, stops, looks := startParty(t, a.Path(), never), startParty(t, a.Path(), never), startParty(t, a.Path(), 1)
	dies.must("d", "L x")
	stops.must("s", "L y")
	looks.must("l", "L z")
	dies.begin(t, a, "d", "L z")
	stops.begin(t, a, "s", "L x")
	stops.Signal(syscall.SIGSTOP) // else it would inherit at once
	dies.Kill()
	looks.Send("l L y")
	looks.Silent()
	stops.Signal(syscall.SIGCONT)
	stops.Expect("s ok")
	stops.must("s", "close")
	looks.Expect("l ok")
}

// The error says who waits for what, held by whom, taken where.
func TestDeadlockError(t *testing.T) {
	a := testArena(t, nil)
	options := SessionOptions{Label: "traced", Trace: true, DeadlockAfter: 200 * time.Millisecond}
	one, other := a.OpenSession(options), a.OpenSession(SessionOptions{Label: "other", DeadlockAfter: never})
	rw, m := a.RWMutex("catalogue"), a.Mutex("invoice")
	mustLock(t, one, rw)
	mustLock(t, other, m)
	wait := proc.MustBlock(t, "read lock", func() {
		if err := other.RLock(within(t), rw); err != nil {
			t.Error(err)
		}
	})
	err := one.Lock(within(t), m)
	var e *DeadlockError
	if !errors.As(err, &e) || !errors.Is(err, ErrDeadlock) || len(e.Edges) != 2 {
		t.Fatal(err)
	}
	first, second := e.Edges[0], e.Edges[1]
	if first.Label != "traced" || first.Lock != "invoice" || first.Kind != KindMutex || first.Mode != Exclusive || first.HeldAs != Exclusive ||
		second.Label != "other" || second.Lock != "catalogue" || second.Mode != Shared || second.HeldAs != Exclusive ||
		second.TakenAt == "" || first.TakenAt != "" || time.Since(first.Since) > proc.Soon || first.PID != second.PID {
		t.Errorf("%+v", e.Edges)
	}
	t.Log(err)
	one.Close()
	wait()
	other.Close()
}
