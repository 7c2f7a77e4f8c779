package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// What a review by attack found in the rwmutex.

// Windows that are open for a few instructions are held open in a binary that
// has the crash points.
func TestRWWindows(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	for _, inner := range []string{"TestRWAgentFollowsAgent", "TestRWSlowTeller", "TestRWEvictedMeanwhile", "TestRWEvictorPassesReaders"} {
		t.Run(inner, func(t *testing.T) {
			if output, err := runInner(t, binary, "", inner); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// A program that forgets to give back is refused when the number of its read
// locks is at its end, and can go on giving back.
func TestRWTooManyReaders(t *testing.T) {
	_, m := testRW(t)
	m.RLock()
	cell := m.cell.loadReading().cell
	cell.counts.Add((peopleMask - 1) * uint64(oneReader))
	if err := m.RLockContext(context.Background()); !errors.Is(err, ErrTableFull) {
		t.Errorf("one more: %v", err)
	}
	if m.TryRLock() {
		t.Error("one more by a try")
	}
	if m.TryLock() {
		t.Error("a writer beside them")
	}

	cell.counts.Add(uint64(oneReader)) // one is about to find out
	if m.TryLock() {
		t.Error("a writer beside more than can be counted")
	}
	if err := m.RRelease(); err != nil {
		t.Errorf("giving back at that moment: %v", err)
	}
	cell.counts.Add(^uint64(oneReader - 1))

	cell.counts.Add(^((peopleMask - 3) * uint64(oneReader)) + 1)
	m.RUnlock()
	m.RUnlock()
	if err := m.RRelease(); err == nil || cell.load().held() != 0 {
		t.Errorf("one too many given back: %v, %d are left", err, cell.load().held())
	}
}

// Unlocks of what this process does not hold, while writers of another shut and
// open the gate: each is refused, and leaves everything as it was.
func TestRWMisuseBesideWriters(t *testing.T) {
	a, m := testRW(t)
	m.RLock()
	m.RUnlock()
	p := proc.Start(t, "rw-hog", []string{a.Path(), "X"})
	p.Expect("on")
	var all sync.WaitGroup
	for _, give := range []func(*RWMutex) error{(*RWMutex).RRelease, (*RWMutex).RRelease, (*RWMutex).URelease, (*RWMutex).Release} {
		all.Go(func() {
			for range 20_000 {
				if err := give(m); !errors.Is(err, ErrNotHeld) {
					t.Errorf("given back, though not held: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	p.Send("stop")
	p.Expect("off")
	if n := m.cell.loadReading().cell.load(); n != openCell|n.epoch() {
		t.Errorf("the cell of nobody's readers is %#x", uint64(n))
	}
	if !m.TryLock() {
		t.Fatal("not free afterwards")
	}
	m.Unlock()
}

func init() {
	rwActs["read many"] = func(m *RWMutex) error {
		for i := range segmentRecords - 10 {
			m := m.arena.RWMutex(fmt.Sprintf("idle %d", i))
			m.RLock()
			m.RUnlock()
		}
		return nil
	}
	rwActs["collect"] = func(*RWMutex) error { runtime.GC(); return nil }
}

// What a process has once read, and reads no more, does not keep others from
// reading other names, though the records are its own to give back.
func TestRWIdleReaderMakesRoom(t *testing.T) {
	a, _ := testRW(t)
	p := startRW(t, a)
	do(t, p, "read many")
	read := make(chan error)
	go func() {
		var err error
		var held []*RWMutex
		for len(held) < 30 && err == nil {
			m := a.RWMutex(fmt.Sprintf("new %d", len(held)))
			if err = m.RLockContext(context.Background()); err == nil {
				held = append(held, m)
			}
		}
		for _, m := range held {
			m.RUnlock()
		}
		read <- err
	}()
	for {
		select {
		case err := <-read:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			do(t, p, "collect")
		}
	}
}
