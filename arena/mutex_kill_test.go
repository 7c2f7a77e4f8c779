package arena

import (
	"os/exec"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// A process is killed while it gives the lock to others: it has freed the word
// and woken nobody yet, or has woken one. All who sleep get the lock, and none
// is told of a death: the lock was given back.
func TestKilledGranters(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	a := testArena(t, &Options{Logger: quiet})
	m := a.Mutex("m")
	m.Lock()
	m.Unlock()
	crew := make([]*proc.Proc, 3)
	for i := range crew {
		crew[i] = proc.Start(t, "sleeper", []string{a.Path(), m.Name()})
		crew[i].Expect("ready")
	}
	points := []string{"release.freed", "wake.done"}
	granters := newSupply(2, func(n int) *proc.Proc {
		return proc.StartCommand(t, exec.Command(binary, a.Path(), "granter"),
			proc.Env(roleVariable+"=actor"), proc.Env("LOCKD_CRASH="+points[n%len(points)]))
	})
	longest := make(map[string]time.Duration)
	for round := range killRounds() {
		granter := granters.next()
		granter.Send("lock m")
		granter.Expect("held")
		for _, p := range crew {
			p.Send("lock")
		}
		awaitWaiters(t, m, crew)
		until(t, "somebody sleeps", func() bool { return robust.Word(m.binding().slot.word.Load()).Has(robust.Waiters) })
		granter.Send("unlock m")
		point := points[round%len(points)]
		if line, alive := <-granter.Lines(); alive {
			t.Fatalf("round %d: it came past %s and said %q", round, point, line)
		}
		killed := time.Now()
		for _, p := range crew {
			p.Expect("had it")
		}
		longest[point] = max(longest[point], time.Since(killed))
		granter.Kill()
		m.Lock()
		if d, abandoned := m.Abandoned(); abandoned {
			t.Fatalf("round %d, killed at %s: told of %+v", round, point, d)
		}
		m.Unlock()
	}
	t.Logf("from the kill until all had had it, at most: %v", longest)
}
