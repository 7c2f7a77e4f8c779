//go:build lockd_crash

package arena

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// What a review by attack found (see attack_test.go), in windows that are held
// open. TestWindows runs these.

// A settler is slow. Meanwhile another one is done, and the slots that the
// dead had claimed are a live name's.
func TestSlowSettler(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	c := a.core
	awaitSettlers(t, c)
	killAt(t, a, "insert", "insert.claimed:2") // with two slots, for a long name
	claimed := uint32(1)
	for slotLife(c.slotAt(claimed).life.Load()).phase() != lifeClaimed {
		claimed++
	}

	m := a.Mutex(strings.Repeat("live", 50))
	crash.Pause("settle.claim", func() {
		c.settleDead()
		c.head.bump.Store(c.slotCount())
		c.head.hand.Store(claimed)
		m.Lock()
	})
	c.settleDead()
	b := m.binding()
	if b.index != claimed {
		t.Fatalf("the name is in slot %d, not in %d", b.index, claimed)
	}
	if x := slotLife(c.slotAt(b.slot.extension.Load()).life.Load()); !x.isLive() {
		t.Errorf("the end of the live name has lost its slot: its life is %#x", uint64(x))
	}
	startActor(t, a.Path(), "other", atMost(1)).must("busy", "try %s", m.Name())
	m.Unlock()
}

// Somebody begins to wait for what a dead member holds, just as it is settled.
func TestSettlingOfWhatChanges(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	awaitSettlers(t, c)
	victim := startActor(t, a.Path(), "victim")
	victim.must("held", "lock a")
	p, _ := c.find(hashName(c.head.seed.Load(), "a"), "a")
	owner := robust.Word(p.slot.word.Load()).Owner()
	victim.Kill()
	crash.Pause("settle.slot", func() {
		w := p.slot.word.Load()
		p.slot.word.CompareAndSwap(w, w|uint64(robust.Waiters))
	})
	c.settleDead()
	w := robust.Word(p.slot.word.Load())
	state := memberState(c.memberAt(owner.Index).state.Load())
	if !w.IsFree() && w.Owner() == owner && state.phase() == phaseFree {
		t.Error("the word names a member whose entry is free")
	}
	m := a.Mutex("a")
	m.Lock()
	if d, ok := m.Abandoned(); !ok || d.PID != victim.PID() || d.Label != "victim" {
		t.Errorf("the heir is told: %v, %v", d, ok)
	}
	m.MarkConsistent()
	m.Unlock()
}

// An evictor was killed between making a slot's handles stale and taking the
// name out of the table.
func TestTryAfterCutEviction(t *testing.T) {
	path := testPath(t)
	a, err := Open(path, &Options{MaxLocks: 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Mutex
	for i := range segmentSlots - 1 {
		m := a.Mutex("idle" + strconv.Itoa(i))
		m.Lock()
		m.Unlock()
		all = append(all, m)
	}
	killAt(t, a, "evict", "evict.word")
	tried := make(chan struct{})
	go func() {
		defer close(tried)
		for _, m := range all {
			if m.TryLock() {
				m.Unlock()
			}
		}
	}()
	select {
	case <-tried:
	case <-time.After(proc.Soon):
		t.Fatal("a try does not end") // nor would Close
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// The victim releases, and another process takes the lock, after the slot has
// aged and before the robber has taken the word.
func TestReleasedBeforeRobbed(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	victim, other := startActor(t, a.Path(), "victim"), startActor(t, a.Path(), "other")
	for _, contended := range []bool{false, true} {
		other.must("held", "lock m")
		other.must("ok", "unlock m")
		victim.must("held", "lock m")
		if contended {
			other.Send("lock m")
			other.Silent()
		}
		crash.Pause("rob.aged", func() {
			victim.must("ok", "unlock m")
			if contended {
				other.Expect("held")
			} else {
				other.must("held", "lock m")
			}
		})
		if _, err := a.Break(t.Context(), "m"); !errors.Is(err, ErrNotHeld) {
			t.Errorf("robbed of what was released: %v", err)
		}
		victim.must("busy", "try m")
		other.must("ok", "unlock m")
		victim.must("held", "lock m")
		victim.must("ok", "unlock m")
	}
}

// killAt has another process, killed at the point, do a crash case's work.
func killAt(t *testing.T, a *Arena, work, point string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b := crashBench{binary: exe, path: a.Path(), slots: segmentSlots}
	b.crash(t, work, point)
}
