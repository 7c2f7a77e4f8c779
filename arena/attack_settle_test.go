package arena

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"lockd/internal/proc"
	"lockd/robust"
)

// What a review by attack found (see attack_test.go): giving back what the
// dead held.

// awaitSettlers returns when no settler of any process is at work, and keeps
// those in the background from it until the test's end.
func awaitSettlers(t *testing.T, c *core) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	l, err := c.acquireLatch(ctx, &c.head.settler, settlerDoor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.release)
}

// A member held locks in parts of the file that the settler has not seen yet.
func TestSettlingOfUnnoticedSegments(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	awaitSettlers(t, c)
	victim := startActor(t, a.Path(), "victim")
	victim.must("held", "hold 0 2500 held")
	victim.Kill()
	if c.segments() != 1 {
		t.Fatalf("%d segments are known already", c.segments())
	}
	c.settleDead()
	c.noticeGrowth()
	for i := uint32(1); i < c.slotCount(); i++ {
		if w := robust.Word(c.slotAt(i).word.Load()); !w.IsFree() {
			state := memberState(c.memberAt(w.Owner().Index).state.Load())
			t.Fatalf("slot %d still names member %v, whose entry is in phase %d", i, w.Owner(), state.phase())
		}
	}
}

// A settler that could not get at all that the dead had comes back.
func TestSettlingThatWasCutShort(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	const stripe = 3
	victim := proc.Start(t, "latch holder", []string{a.Path(), strconv.Itoa(stripe)})
	index, _ := strconv.Atoi(victim.Next())
	c.latches.doors[stripe] <- struct{}{} // a goroutine of this process is at that latch
	victim.Kill()
	for range 2 {
		// Another pass may be under way, which is a reason to come back, too.
		if c.settleUnlessAnother(true) {
			t.Error("it says that everything is settled")
		}
	}
	<-c.latches.doors[stripe]
	c.settling.kick()
	for end := time.Now().Add(proc.Soon); memberState(c.memberAt(uint16(index)).state.Load()).phase() != phaseFree; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the dead member is not settled")
		}
	}
}

func init() {
	// Holds the latch of a stripe, or "growth", and says its member's index.
	roles["latch holder"] = func(args []string) {
		c := reopen(args[0], &Options{Logger: quiet}).core
		word, door := &c.head.growth, growthDoor
		if args[1] != "growth" {
			door, _ = strconv.Atoi(args[1])
			word = &c.stripeAt(uint64(door)).latch
		}
		l, err := c.acquireLatch(context.Background(), word, door)
		if err != nil {
			proc.Say("%v", err)
			os.Exit(1)
		}
		proc.Say("%d", c.member.Index)
		proc.Hear()
		l.release()
		proc.Say("released")
	}
}
