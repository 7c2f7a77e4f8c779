package arena

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

func init() {
	roles["tracker"] = func(args []string) { act(args[0], &Options{Label: args[1], Logger: quiet, TrackHold: true}) }
}

// startTracker starts an actor that tracks.
func startTracker(t *testing.T, path, label string) *actor {
	t.Helper()
	a := &actor{Proc: proc.Start(t, "tracker", []string{path, label}), t: t, label: label}
	a.Expect("ready")
	return a
}

func trackingArena(t *testing.T, max int) *Arena {
	t.Helper()
	return testArena(t, &Options{Logger: quiet, TrackHold: true, MaxLocks: max})
}

// tallyIn is the tally of a lock in a snapshot that was taken now.
func tallyIn(t *testing.T, a *Arena, name string) (*LockInfo, *Tally) {
	t.Helper()
	s, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Locks {
		if s.Locks[i].Name == name {
			return &s.Locks[i], s.Locks[i].Tally
		}
	}
	t.Fatalf("there is no %q", name)
	return nil, nil
}

func counted(t *testing.T, a *Arena, name string, acquisitions, contended uint64) Tally {
	t.Helper()
	_, y := tallyIn(t, a, name)
	if y == nil {
		t.Fatalf("%q has no tally", name)
	}
	if y.Acquisitions != acquisitions || y.Contended != contended {
		t.Errorf("%q: %d acquisitions, %d contended, not %d and %d", name, y.Acquisitions, y.Contended, acquisitions, contended)
	}
	return *y
}

// Each way to take and to give back counts once.
func TestTally(t *testing.T) {
	a := trackingArena(t, 0)
	m, ctx := a.Mutex("m"), context.Background()
	m.Lock()
	m.Unlock()
	if err := m.LockContext(ctx); err != nil {
		t.Fatal(err)
	}
	if m.TryLock() {
		t.Error("taken twice")
	}
	if err := m.Release(); err != nil {
		t.Error(err)
	}
	if !m.TryLock() {
		t.Error("not taken")
	}
	m.Unlock()
	if err := m.Do(ctx, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	before := counted(t, a, "m", 4, 0)
	if !before.HeldSince.IsZero() || before.Waited != 0 {
		t.Errorf("free, and %+v", before)
	}

	early := time.Now()
	m.Lock()
	late := time.Now()
	if y := counted(t, a, "m", 5, 0); y.HeldSince.Before(early.Add(-time.Millisecond)) || y.HeldSince.After(late.Add(time.Millisecond)) {
		t.Errorf("held since %v, not between %v and %v", y.HeldSince, early, late)
	}
	for time.Since(late) < 20*time.Millisecond {
	}
	m.Unlock()
	after := counted(t, a, "m", 5, 0)
	if !after.HeldSince.IsZero() || after.Longest < 20*time.Millisecond || after.Held < before.Held+20*time.Millisecond || after.Held < after.Longest {
		t.Errorf("held for 20 ms: %+v, then %+v", before, after)
	}

	w := a.RWMutex("rw")
	w.Lock()
	w.Unlock()
	w.ULock()
	if err := w.Upgrade(ctx); err != nil {
		t.Error(err)
	}
	w.Unlock()
	w.RLock() // is not counted
	w.RUnlock()
	counted(t, a, "rw", 2, 0)
}

// Processes that track add up; who waits is counted when he is served; and
// what a process that does not track does is not counted.
func TestTallyOfSeveral(t *testing.T) {
	a := trackingArena(t, 0)
	m := a.Mutex("m")
	other, blind := startTracker(t, a.Path(), "other"), startActor(t, a.Path(), "blind")
	m.Lock()
	other.Send("lock m")
	until(t, "another process waits", func() bool {
		l, _ := tallyIn(t, a, "m")
		return l.Waiters == 1
	})
	counted(t, a, "m", 1, 0)
	m.Unlock()
	other.Expect("held")
	if y := counted(t, a, "m", 2, 1); y.Waited == 0 || y.HeldSince.IsZero() {
		t.Errorf("after a wait: %+v", y)
	}
	other.must("ok", "unlock m")

	blind.must("held", "lock m")
	if y := counted(t, a, "m", 2, 1); !y.HeldSince.IsZero() {
		t.Errorf("held by one who does not track, since %v", y.HeldSince)
	}
	blind.must("ok", "unlock m")

	blind.must("held", "lock unseen")
	if _, y := tallyIn(t, a, "unseen"); y != nil {
		t.Errorf("of nobody who tracks: %+v", y)
	}
}

// What a dead holder has left tells nothing about his heir's holding.
func TestTallyOfTheDead(t *testing.T) {
	needDeath(t)
	a := testArena(t, &Options{Logger: quiet})
	owner := startTracker(t, a.Path(), "owner")
	owner.must("held", "lock m")
	if _, y := tallyIn(t, a, "m"); y == nil || y.HeldSince.IsZero() {
		t.Fatalf("held by one who tracks: %+v", y)
	}
	owner.Kill()
	m := a.Mutex("m")
	m.Lock()
	if y := counted(t, a, "m", 1, 0); !y.HeldSince.IsZero() {
		t.Errorf("inherited by one who does not track, held since %v", y.HeldSince)
	}
	m.MarkConsistent()
	m.Unlock()
}

// Without the option nothing is counted, and the fast paths swap the lock's
// own word.
func TestNoTally(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	m := a.Mutex("m")
	m.Lock()
	defer m.Unlock()
	if _, y := tallyIn(t, a, "m"); y != nil {
		t.Errorf("nobody tracks: %+v", y)
	}
	b := m.binding()
	if b.tracking != nil || unsafe.Pointer(b.word) != unsafe.Pointer(&b.slot.word) {
		t.Error("the fast path does not lead to the lock")
	}
}

// Names come and go, and their tallies with them; and the tallies leave
// records to others.
func TestTallyGoesWithTheName(t *testing.T) {
	a := trackingArena(t, segmentSlots-1)
	for i := range 4 * segmentSlots {
		m := a.Mutex(fmt.Sprint("name", i))
		m.Lock()
		m.Unlock()
	}
	s, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	tallies, named := 0, 0
	s.picture.records(s, func(_ uint32, r seenRecord) {
		if recordKind(r.kind) == recordTally {
			tallies++
		}
	})
	for _, l := range s.Locks {
		if l.Tally != nil {
			named++
		}
	}
	if tallies != named || tallies == 0 || tallies > tallyPlaces {
		t.Errorf("%d tallies, %d of locks in the table, of %d", tallies, named, tallyPlaces)
	}
	sem, err := a.Semaphore("sem", 5*(segmentRecords-tallyPlaces)/2).Acquire(context.Background(), 1)
	if err != nil {
		t.Fatalf("beside as many tallies as there can be: %v", err)
	}
	sem.Release()
}

// The arena grows for tallies, too, when there is no room for them.
func TestGrowthForTallies(t *testing.T) {
	a := trackingArena(t, 8*segmentSlots)
	const names = 2 * tallyPlaces
	until(t, "all counted", func() bool {
		for i := range names {
			m := a.Mutex(fmt.Sprint("name", i))
			m.Lock()
			m.binding().tracking.refused.Store(0) // does not wait for a second
			m.Unlock()
		}
		s, err := ReadSnapshot(a.Path())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Locks {
			if l.Tally == nil {
				return false
			}
		}
		return true
	})
}

// A robbed holder that comes late counts nothing for who holds the lock now.
func TestTallyOfTheRobbed(t *testing.T) {
	a := trackingArena(t, 0)
	robber := startTracker(t, a.Path(), "robber")
	m := a.Mutex("m")
	m.Lock()
	if got := robber.ask("break m"); !strings.HasPrefix(got, "robbed ") {
		t.Fatal(got)
	}
	robber.Send("lock m")
	if got := robber.Next(); !strings.HasPrefix(got, "heir of ") {
		t.Fatal(got)
	}
	since := counted(t, a, "m", 2, 1).HeldSince
	if err := m.Release(); err == nil {
		t.Error("the robbed is not told")
	}
	if y := counted(t, a, "m", 2, 1); since.IsZero() || !y.HeldSince.Equal(since) {
		t.Errorf("held since %v, then %+v", since, y)
	}
	robber.must("ok", "mark m")
	robber.must("ok", "unlock m")
}

// Whatever stands in a tally, and whatever leads to none, locks go on.
func TestTallyIsNotBelieved(t *testing.T) {
	a := trackingArena(t, 0)
	m := a.Mutex("m")
	m.Lock()
	b := m.binding()
	r := b.tracking.tally.Load()
	for _, junk := range []uint64{math.MaxUint64, 1 << 63, 1} {
		r.since.Store(junk)
		r.held.Store(junk)
		r.longest.Store(junk)
		r.waited.Store(junk)
		_, y := tallyIn(t, a, "m")
		if y == nil || y.Held < 0 || y.Longest < 0 || y.Waited < 0 || !y.HeldSince.IsZero() {
			t.Errorf("of %#x: %+v", junk, y)
		}
	}
	r.since.Store(uint64(time.Now().Add(time.Hour).UnixNano()))
	if _, y := tallyIn(t, a, "m"); !y.HeldSince.IsZero() {
		t.Errorf("held since %v, which is to come", y.HeldSince)
	}
	m.Unlock()

	// A link to another lock's tally, to no tally, out of the table.
	n := a.Mutex("n")
	n.Lock()
	foreign := b.slot.last.Load()
	n.Unlock()
	n.binding().tracking.tally.Load().owner.Store(0)
	for _, link := range []uint32{foreign, 1, math.MaxUint32} {
		n.binding().slot.last.Store(link)
		n.binding().tracking.tally.Store(nil)
		n.Lock()
		if _, y := tallyIn(t, a, "n"); y == nil || y.Acquisitions != 1 {
			t.Errorf("linked to %d: %+v", link, y)
		}
		n.Unlock()
		dropped := a.core.tallyAt(n.binding().slot.last.Load(), n.binding().index)
		dropped.owner.Store(0)
	}
	n.binding().slot.last.Store(0)
}

// countNames does what has tallies made, written and freed.
func countNames(path string) {
	a := reopen(path, &Options{Label: "crasher", MaxLocks: segmentSlots - 1, Logger: quiet, TrackHold: true})
	for i := range 2 * segmentSlots {
		m := a.Mutex(fmt.Sprint("counted", i))
		for range 2 {
			if err := m.LockContext(context.Background()); err != nil {
				proc.Say("%v", err)
				return
			}
			m.Unlock()
		}
	}
}

func init() {
	crashCases["count"] = crashCase{prepare: makeArena, work: countNames, points: map[string][]int{
		"tally.claimed": {1, 2, 300}, "tally.linked": {1, 2, 300}, "tally.made": {1, 2, 300},
		"tally.since": {1, 2, 3, 500}, "tally.ended": {1, 2, 3, 500}, "evict.tally": {1, 2, 50},
	}}
}

// The dead's record that was claimed for a tally, and the link to it, harm nobody.
func TestTallyHalfMade(t *testing.T) {
	if crash.Enabled {
		t.Skip("is a test that builds this one")
	}
	needDeath(t)
	binary := buildWithCrashPoints(t)
	for _, point := range []string{"tally.claimed", "tally.linked", "tally.made"} {
		t.Run(point, func(t *testing.T) {
			a := trackingArena(t, 0)
			m := a.Mutex("m")
			p := proc.StartCommand(t, exec.Command(binary, a.Path(), "dead"), proc.Env(roleVariable+"=tracker"), proc.Env("LOCKD_CRASH="+point))
			p.Expect("ready")
			p.Send("lock m")
			p.Wait()
			m.Lock()
			defer m.Unlock()
			m.MarkConsistent()
			if err := a.Settle(context.Background()); err != nil {
				t.Fatal(err)
			}
			_, y := tallyIn(t, a, "m")
			if y == nil || y.Acquisitions != 1 || y.HeldSince.IsZero() {
				t.Errorf("the heir's tally: %+v", y)
			}
			s, err := ReadSnapshot(a.Path())
			if err != nil {
				t.Fatal(err)
			}
			s.picture.records(s, func(i uint32, r seenRecord) {
				if recordKind(r.kind) != recordTally || r.owner != (robust.Member{}) {
					t.Errorf("record %d is left: %+v", i, r)
				}
			})
		})
	}
}
