//go:build lockd_crash

package arena

import (
	"testing"

	"lockd/internal/crash"
)

// Another process makes a lock of the same name while this one, which has not
// found it, claims a slot for it: there is one lock, in one slot.
func TestInsertMeetsSameName(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	other := startActor(t, a.Path(), "other")
	crash.Pause("insert.claimed", func() { other.must("held", "lock new") })
	if a.Mutex("new").TryLock() {
		t.Error("two hold one lock")
	}
	other.must("ok", "unlock new")
	if !a.Mutex("new").TryLock() {
		t.Error("not free")
	}
	if problems, err := Check(a.Path()); err != nil || len(problems) > 0 {
		t.Errorf("check: %v, %v", err, problems)
	}
	a.Mutex("new").Unlock()
}
