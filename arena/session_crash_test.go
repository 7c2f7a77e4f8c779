package arena

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// sessionPoints are where sessions and detectors may be killed, and at which
// times that they come there.
var sessionPoints = map[string][]int{
	"session.claimed": {1, 2}, "session.filled": {1, 2}, "session.shown": {1, 3},
	"session.extending": {1, 2, 3}, "session.extended": {1, 2, 3},
	"session.taken": {1, 2, 9, 10, 12}, "session.displayed": {1, 2, 9, 10, 12}, "session.covered": {1, 2, 10},
	"session.waiting": {1, 2}, "session.waited": {1, 2},
	"session.closing": {1, 3}, "session.hiding": {1, 3}, "session.hidden": {1, 3},
	"detector.seen": {1, 2}, "detector.suspects": {1}, "detector.decided": {1, 2}, "detector.marked": {1, 2},
}

func init() {
	// session-crasher: arena. It comes past all points, several times.
	roles["session-crasher"] = func(args []string) {
		a := reopen(args[0], &Options{Label: "crasher", Logger: quiet})
		for range 3 {
			holdAndClose(a)
			deadlockOnce(a)
		}
		proc.Say("the work is done")
	}
}

func holdAndClose(a *Arena) {
	s := a.Session("holds")
	ctx := context.Background()
	for i := range 8 {
		must(s.Lock(ctx, a.Mutex(fmt.Sprint("m", i))))
	}
	must(s.Lock(ctx, a.RWMutex("x")))
	must(s.RLock(ctx, a.RWMutex("r")))
	must(s.ULock(ctx, a.RWMutex("u")))
	_, err := s.Acquire(ctx, a.Semaphore("sem", 3), 2)
	must(err)
	must(s.Release(a.Semaphore("sem", 3), 1))
	must(s.LockRange(ctx, a.Ranges("rng"), Exclusive, 0, 10))
	must(s.Downgrade(a.RWMutex("x")))
	must(s.Unlock(a.Mutex("m3")))
	must(s.Close())
}

// deadlockOnce has two sessions wait for each other.
func deadlockOnce(a *Arena) {
	o := SessionOptions{DeadlockAfter: time.Millisecond}
	one, other := a.OpenSession(o), a.OpenSession(o)
	ctx := context.Background()
	must(one.Lock(ctx, a.Mutex("m0")))
	must(other.Lock(ctx, a.Mutex("m1")))
	done := make(chan error)
	go func() {
		err := other.Lock(ctx, a.Mutex("m0"))
		other.Close()
		done <- err
	}()
	err := one.Lock(ctx, a.Mutex("m1"))
	one.Close()
	if e := <-done; errors.Is(err, ErrDeadlock) == errors.Is(e, ErrDeadlock) {
		proc.Say("victims: %v, %v", err, e)
	}
}

// TestSessionCrashPoints kills a process at each point; nothing may be left of
// its sessions, and everything can be taken.
func TestSessionCrashPoints(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	binary := buildWithCrashPoints(t)
	for point, counts := range sessionPoints {
		for _, n := range counts {
			if testing.Short() && n > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s:%d", point, n), func(t *testing.T) {
				a := testArena(t, &Options{Logger: quiet})
				holdAndClose(a)
				p := proc.StartCommand(t, exec.Command(binary, a.Path()), proc.Env(roleVariable+"=session-crasher"), proc.Env(fmt.Sprintf("LOCKD_CRASH=%s:%d", point, n)))
				exit, ok := p.Wait().(*exec.ExitError)
				if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					line := <-p.Lines()
					t.Fatalf("it did not come there: %v; it said %q", exit, line)
				}
				settleWhole(t, a)
				if seen := a.core.sight(); len(seen.sessions) != 0 {
					t.Errorf("left: %+v", seen.sessions)
				}
				for i := uint32(1); i < a.core.segments()*segmentRecords; i++ {
					owner := a.core.recordAt(i).owner.Load()
					if kind := kindOfRecord(owner); kind == recordSession || kind == recordHoldings || kind == recordClaimed {
						t.Errorf("record %d is left: %#x", i, owner)
					}
				}
				holdAndClose(a)
				for i := range 8 {
					m := a.Mutex(fmt.Sprint("m", i))
					m.Lock()
					m.MarkConsistent()
					m.Unlock()
				}
				for _, name := range []string{"x", "u"} {
					rw := a.RWMutex(name)
					rw.Lock()
					rw.MarkConsistent()
					rw.Unlock()
				}
				problems, err := Check(a.Path())
				if err != nil || len(problems) > 0 {
					t.Errorf("%v: %v", err, problems)
				}
			})
		}
	}
}

// A victim is killed when it is decided, and before it knows: the other of the
// circle gets what it held and is told nothing.
func TestVictimKilled(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	binary := buildWithCrashPoints(t)
	for _, point := range []string{"detector.suspects", "detector.decided", "detector.marked"} {
		t.Run(point, func(t *testing.T) {
			a := testArena(t, &Options{Logger: quiet})
			victim := party{proc.StartCommand(t, exec.Command(binary, a.Path(), "20"), proc.Env(roleVariable+"=party"), proc.Env("LOCKD_CRASH="+point))}
			victim.Expect("ready")
			other := startParty(t, a.Path(), never) // who looks later than the other may not
			other.must("other", "L x")
			victim.must("victim", "L y")
			other.Send("other L y")
			victim.Send("victim L x")
			if answer := other.Next(); !strings.HasPrefix(answer, "other ") || answer != "other ok" {
				t.Error(answer)
			}
			victim.Wait()
			other.must("other", "close")
		})
	}
}
