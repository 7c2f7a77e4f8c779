package arena

import (
	"context"
	"errors"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"lockd/internal/feature"
	"lockd/internal/proc"
)

// rwActs are what an rw-actor can be told to do with the rwmutex "it".
var rwActs = map[string]func(*RWMutex) error{
	"R": func(m *RWMutex) error { return m.RLockContext(context.Background()) },
	"U": func(m *RWMutex) error { return m.ULockContext(context.Background()) },
	"X": func(m *RWMutex) error { return m.LockContext(context.Background()) },
	"R 10ms": func(m *RWMutex) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		return m.RLockContext(ctx)
	},
	"R!":     giveUpReading,
	"R-":     (*RWMutex).RRelease,
	"U-":     (*RWMutex).URelease,
	"X-":     (*RWMutex).Release,
	"U>X":    func(m *RWMutex) error { return m.Upgrade(context.Background()) },
	"X>U":    func(m *RWMutex) error { m.DowngradeToU(); return nil },
	"X>R":    func(m *RWMutex) error { m.Downgrade(); return nil },
	"U>R":    func(m *RWMutex) error { m.UDowngrade(); return nil },
	"R>X?":   func(m *RWMutex) error { return orRefused(m.TryUpgrade()) },
	"R?":     func(m *RWMutex) error { return orRefused(m.TryRLock()) },
	"U?":     func(m *RWMutex) error { return orRefused(m.TryULock()) },
	"X?":     func(m *RWMutex) error { return orRefused(m.TryLock()) },
	"settle": func(m *RWMutex) error { m.arena.core.settleDead(); return nil },
	"evict":  func(m *RWMutex) error { m.arena.core.retireIdle(); return nil },
}

// giveUpReading waits to read, and gives up when it does.
func giveUpReading(m *RWMutex) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := m.reading(ctx)
	if err != nil {
		return err
	}
	go func() {
		for r.cell.load().waiting() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	return m.RLockContext(ctx)
}

var errRefused = errors.New("refused")

func orRefused(ok bool) error {
	if ok {
		return nil
	}
	return errRefused
}

func init() {
	// rw-actor: arena. It does what it is told, an act a line, and answers "ok"
	// or the error.
	roles["rw-actor"] = func(args []string) {
		m := reopen(args[0], &Options{Logger: quiet, MaxLocks: 1}).RWMutex("it")
		proc.Say("ready")
		for {
			if err := rwActs[proc.Hear()](m); err != nil {
				proc.Say("%v", err)
			} else {
				proc.Say("ok")
			}
		}
	}
}

func startRW(t testing.TB, a *Arena) *proc.Proc {
	t.Helper()
	p := proc.Start(t, "rw-actor", []string{a.Path()})
	p.Expect("ready")
	return p
}

// startRWCrashing starts an actor that is killed at a point. The binary has
// the points.
func startRWCrashing(t testing.TB, a *Arena, binary, point string) *proc.Proc {
	t.Helper()
	p := proc.StartCommand(t, exec.Command(binary, a.Path()), proc.Env(roleVariable+"=rw-actor"), proc.Env("LOCKD_CRASH="+point))
	p.Expect("ready")
	return p
}

// do has an actor do an act that must succeed.
func do(t testing.TB, p *proc.Proc, act string) {
	t.Helper()
	p.Send("%s", act)
	p.Expect("ok")
}

// testRW opens an arena that must be empty of locks held when the test ends.
func testRW(t *testing.T) (*Arena, *RWMutex) {
	t.Helper()
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet, MaxLocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { idleRW(t, path, a) })
	return a, a.RWMutex("it")
}

// deathShows tells whether there is a way to prove that a process is gone as
// soon as it is. If not, what the dead hold is held until nobody has their pid,
// and for ever what was forgotten at an exec, or was just being joined.
func deathShows() bool { return !feature.PidfdOpen.Off() || !feature.OFDLocks.Off() }

// needDeath is for tests that kill.
func needDeath(t testing.TB) {
	t.Helper()
	if !deathShows() {
		t.Skip("neither pidfds nor locks of open file descriptions, so hardly a death can be proven")
	}
}

// until returns when what must come true has; others make it so meanwhile. It
// looks often at first, then leaves the processor to them.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(proc.Soon)
	for looks := 0; !f(); looks++ {
		if looks < 100 {
			runtime.Gosched()
			continue
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", proc.Soon, what)
		}
		time.Sleep(between)
	}
}

// settleWhole settles the dead with nobody else at it, so that nothing of theirs
// is in another settler's hand afterwards, who may be slow.
func settleWhole(t testing.TB, a *Arena) {
	t.Helper()
	if err := a.Settle(within(t)); err != nil {
		t.Fatal(err)
	}
}

// idleRW fails the test unless nothing is left of anybody in the arena, once
// the dead are settled and this process has closed it.
func idleRW(t *testing.T, path string, a *Arena) {
	t.Helper()
	if !deathShows() {
		a.Close()
		return
	}
	until(t, "the dead are settled", func() bool {
		settleWhole(t, a)
		s, err := ReadSnapshot(path)
		return err == nil && len(s.Members) == 1
	})
	problems, err := Check(path)
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		if p.Code != "latch-rebuild" { // that waits for the next who needs it
			t.Error(p)
		}
	}
	if err := a.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s, err := ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Locks {
		if l.Held() || l.Gate != 0 || len(l.Reading) != 0 || len(l.Waiting) != 0 || l.Word.Has(1<<30) {
			t.Errorf("left behind: %+v", l)
		}
	}
	s.picture.records(s, func(i uint32, r seenRecord) {
		if r.kind != seenVacant {
			t.Errorf("record %d is left: %+v", i, r)
		}
	})
}
