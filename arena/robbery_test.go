package arena

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

func breakLock(t testing.TB, a *Arena, name string) Death {
	t.Helper()
	d, err := a.Break(context.Background(), name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func robbedOf(p *actor, count int) string { return heirOf(p.PID(), p.label, Robbed, count) }

// The heir is told; the robbed is told when he releases, and cannot take the
// lock before, but afterwards.
func TestBreak(t *testing.T) {
	for _, name := range []string{"short", strings.Repeat("long", 40)} {
		t.Run(name[:5], func(t *testing.T) {
			a := testArena(t, &Options{Logger: quiet})
			victim, heir := startActor(t, a.Path(), "victim"), startActor(t, a.Path(), "heir")
			victim.must("held", "lock %s", name)
			heir.Send("lock %s", name)
			heir.Silent()

			if d := breakLock(t, a, name); d.PID != victim.PID() || d.Label != "victim" || d.Cause != Robbed || d.Count != 1 {
				t.Errorf("%+v", d)
			}
			heir.Expect(robbedOf(victim, 1))
			victim.must("busy", "try %s", name)
			heir.must("ok", "mark %s", name)
			heir.must("ok", "unlock %s", name)
			victim.must("busy", "try %s", name) // though it is free
			heir.must("held", "lock %s", name)
			if got := victim.ask("unlock %s", name); !strings.Contains(got, ErrRobbed.Error()) {
				t.Errorf("the robbed is told: %s", got)
			}
			victim.must("busy", "try %s", name) // the heir's is not freed
			if got := victim.ask("unlock %s", name); !strings.Contains(got, ErrNotHeld.Error()) {
				t.Errorf("the robbed is told again: %s", got)
			}
			heir.must("ok", "unlock %s", name)
			victim.must("held", "lock %s", name)
			victim.must("ok", "unlock %s", name)
			heir.must("held", "lock %s", name)
			heir.must("ok", "unlock %s", name)
		})
	}
}

// The unlock of a robbed goroutine does not free what another one of its own
// process holds.
func TestRobbedReleaseFreesNobody(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	other := startActor(t, a.Path(), "robber")
	m := a.Mutex("m")
	m.Lock()
	if got := other.ask("break m"); !strings.HasPrefix(got, "robbed ") {
		t.Fatal(got)
	}
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		m.Lock()
	}()
	select {
	case <-taken: // which only the broken variant does
	case <-time.After(proc.StillBlocks):
	}
	if err := m.Release(); !errors.Is(err, ErrRobbed) {
		t.Errorf("the robbed is told: %v", err)
	}
	<-taken
	if got := other.ask("try m"); got != "busy" {
		t.Fatalf("held by a goroutine that was not robbed; another process gets: %s", got)
	}
	m.MarkConsistent()
	m.Unlock()
}

func TestBreakRefuses(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	ctx := context.Background()
	refused := func(name string, want error, say string) {
		t.Helper()
		if _, err := a.Break(ctx, name); !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), say) {
			t.Errorf("%q: %v", name, err)
		}
	}
	refused("nobody's", ErrNotHeld, "no lock of this name")
	refused("", ErrName, "")
	m, rw := a.Mutex("mine"), a.RWMutex("rw")
	m.Lock()
	refused("mine", ErrNotHeld, "this one holds it")
	m.Unlock()
	refused("mine", ErrNotHeld, "it is free")
	rw.Lock()
	refused("rw", ErrKind, "rwmutex")
	rw.Unlock()
	dead := startActor(t, a.Path(), "dead")
	dead.must("held", "lock mine")
	dead.Kill()
	refused("mine", ErrNotHeld, "")
	m.Lock()
	m.MarkConsistent()
	m.Unlock()
}

// The robbed that die or leave without noticing leave nothing behind, and a
// second can be robbed before the first has noticed.
func TestRobbedWhoNeverNotice(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	killed, closed, third := startActor(t, a.Path(), "killed"), startActor(t, a.Path(), "closed"), startActor(t, a.Path(), "third")
	killed.must("held", "lock m")
	breakLock(t, a, "m")
	closed.must(robbedOf(killed, 1), "lock m")
	breakLock(t, a, "m")
	third.must(robbedOf(closed, 2), "lock m")
	closed.must("ok", "close")
	killed.Kill()
	third.must("ok", "mark m")
	third.must("ok", "unlock m")
	a.core.settleDead()
	again := startActor(t, a.Path(), "again")
	again.must("held", "lock m")
	again.must("ok", "unlock m")
	expectNoRequests(t, a.Path())
}

var robberyPoints = []string{"rob.planned", "rob.aged", "rob.taken", "rob.told", "rob.handed"}

// The robber is killed at each step: either nobody was robbed, or the heir and
// the robbed are told; and no slot is lost.
func TestRobberKilledAtEachStep(t *testing.T) {
	if crash.Enabled {
		t.Skip("is run without the points")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	for step, point := range robberyPoints {
		for _, settled := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s,%v", point, settled), func(t *testing.T) {
				a := testArena(t, &Options{Logger: quiet, MaxLocks: 1})
				long := strings.Repeat("m", 100)
				victim := startActor(t, a.Path(), "victim", atMost(1))
				victim.must("held", "lock %s", long)
				robber := proc.StartCommand(t, exec.Command(binary, a.Path(), "robber", "1"), proc.Env(roleVariable+"=actor"), proc.Env("LOCKD_CRASH="+point))
				robber.Expect("ready")
				robber.Send("break %s", long)
				robber.Wait()
				if settled {
					a.core.settleDead()
				}
				heir := a.Mutex(long)
				if step < 2 { // not taken yet
					if heir.TryLock() {
						t.Fatal("two hold it")
					}
					victim.must("ok", "unlock %s", long)
				}
				heir.Lock()
				if _, told := heir.Abandoned(); told != (step >= 2) {
					t.Errorf("the heir is told: %v", told)
				}
				heir.MarkConsistent()
				if step >= 2 {
					if got := victim.ask("unlock %s", long); !strings.Contains(got, ErrRobbed.Error()) {
						t.Errorf("the robbed is told: %s", got)
					}
				}
				heir.Unlock()
				victim.must("held", "lock %s", long)
				victim.must("ok", "unlock %s", long)
				fillAndDrop(t, a)
			})
		}
	}
}

// fillAndDrop holds as many locks as an arena of one segment has slots.
func fillAndDrop(t *testing.T, a *Arena) {
	t.Helper()
	a.core.settleDead()
	for i := 1; i < segmentSlots; i++ {
		if err := a.Mutex(fmt.Sprint("fill", i)).LockContext(t.Context()); err != nil {
			t.Fatalf("%d of %d slots: %v", i, segmentSlots-1, err)
		}
	}
	for i := 1; i < segmentSlots; i++ {
		a.Mutex(fmt.Sprint("fill", i)).Unlock()
	}
}
