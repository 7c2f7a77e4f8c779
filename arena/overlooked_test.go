package arena

import (
	"testing"

	"lockd/robust"
)

// A death that this process was told of is owed to the end, though another's
// pass came by since: that one may not be allowed to look closely at who is
// ending, and took it for alive.
func TestDeathThatAnotherPassOverlooked(t *testing.T) {
	needDeath(t)
	path := testPath(t)
	victim := startActor(t, path, "victim")
	victim.must("held", "lock m")
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c := a.core
	until(t, "the pass that belongs to attaching is over", c.settling.passed)
	a.Mutex("m").TryLock() // which looks the name up, and watches nobody
	gone := ownerOf(a, "m")
	victim.Kill()
	c.settling.owe(reasons{deaths: []robust.Member{gone}})
	c.settling.wanted <- struct{}{}
	until(t, "the dead member is settled", func() bool {
		state := memberState(c.memberAt(gone.Index).state.Load())
		return state.phase() != phaseLive || state.generation() != gone.Generation
	})
}
