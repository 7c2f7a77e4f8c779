//go:build lockd_crash

package arena

import (
	"context"
	"strings"
	"testing"

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
