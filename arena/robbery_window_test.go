//go:build lockd_crash

package arena

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// What the explorer found of robbery, in windows that are held open.
// TestWindows runs these.

// Who takes over what a dead one held, and is robbed of it before he has looked
// whether it is the lock that he meant, or just after he has settled it, holds
// nothing that he would release: his process can take the lock all the same.
func TestRobbedOfWhatTheDeadHeld(t *testing.T) {
	for what, meet := range map[string]func(c *core, m *Mutex){
		"reclaim": func(c *core, m *Mutex) {
			b := m.binding()
			if out := c.reclaim(b, robust.Word(b.slot.word.Load())); out != stale {
				t.Errorf("who was robbed has the lock: %v", out)
			}
		},
		"settle": func(c *core, _ *Mutex) { c.settleDead() },
	} {
		t.Run(what, func(t *testing.T) {
			a := testArena(t, &Options{Logger: quiet})
			awaitSettlers(t, a.core)
			robber, victim := startActor(t, a.Path(), "robber"), startActor(t, a.Path(), "victim")
			m := a.Mutex("m")
			m.Lock() // so that it is bound
			m.Unlock()
			victim.must("held", "lock m")
			victim.Kill()
			robbed := false
			crash.Pause("reclaim.told", func() { robbed = strings.HasPrefix(robber.ask("break m"), "robbed ") })
			meet(a.core, m)
			if !robbed {
				t.Fatal("nobody was robbed")
			}
			ctx, cancel := context.WithTimeout(t.Context(), proc.Soon)
			defer cancel()
			if err := m.LockContext(ctx); err != nil {
				t.Fatal(err)
			}
			if d, told := m.Abandoned(); !told || d.Cause != Robbed {
				t.Errorf("the heir is told: %v, %v", told, d)
			}
			m.MarkConsistent()
			m.Unlock()
			robber.must("held", "lock m")
			robber.must("ok", "unlock m")
			expectNoRequests(t, a.Path())
		})
	}
}

// Who was robbed, and has not noticed, does not release what his own process
// holds for a moment, to pass it on: what a dead robber had taken, or what it
// robs another of.
func TestRobbedMeetsOwnProcess(t *testing.T) {
	for point, meet := range map[string]struct {
		crash string // of the robber
		work  func(*testing.T, *Arena)
	}{
		"reclaim.told": {"LOCKD_CRASH=rob.handed", func(t *testing.T, a *Arena) { a.core.settleDead() }},
		"rob.taken": {"LOCKD_CRASH=", func(t *testing.T, a *Arena) {
			if _, err := a.Break(t.Context(), "m"); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(point, func(t *testing.T) {
			a := testArena(t, &Options{Logger: quiet})
			awaitSettlers(t, a.core)
			robber := startActor(t, a.Path(), "robber", proc.Env(meet.crash))
			m := a.Mutex("m")
			m.Lock()
			robber.Send("break m")
			if point == "reclaim.told" {
				robber.Wait()
			} else {
				robber.Next()
				robber.ask("lock m")
			}
			patience := proc.StillBlocks
			if variantRobbedPasses {
				patience = proc.Soon // nothing blocks there
			}
			told := make(chan error, 1)
			crash.Pause(point, func() {
				done := make(chan struct{})
				go func() {
					defer close(done)
					m.MarkConsistent()
					told <- m.Release()
				}()
				select {
				case <-done:
				case <-time.After(patience):
				}
			})
			meet.work(t, a)
			if err := <-told; !errors.Is(err, ErrRobbed) {
				t.Errorf("the robbed is told: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), proc.Soon)
			defer cancel()
			if err := m.LockContext(ctx); err != nil {
				t.Fatal(err)
			}
			if _, told := m.Abandoned(); !told {
				t.Error("the heir is not told")
			}
			m.MarkConsistent()
			m.Unlock()
		})
	}
}
