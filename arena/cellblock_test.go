package arena

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"strconv"
	"testing"
)

// There is one cell a name as long as a handle of it is alive, whatever caches
// have forgotten it, and none when all have gone.
func TestOneCellForEachName(t *testing.T) {
	a, b := twoOpenings(t)
	const names = 5000
	var kept [names]*Mutex
	for i := range kept {
		kept[i] = a.Mutex("name " + strconv.Itoa(i))
	}
	alike := func(when string) {
		t.Helper()
		for i, m := range kept {
			if m == nil {
				continue
			}
			mine, theirs := a.Mutex(m.Name()), b.Mutex(m.Name())
			if mine.cell != m.cell || theirs.cell != m.cell {
				t.Fatalf("%s: two cells of name %d", when, i)
			}
			if mine.arena != a || theirs.arena != b {
				t.Fatalf("%s: a handle of another opening", when)
			}
		}
	}
	alike("at first")
	if r := a.RWMutex(kept[0].Name()); r.cell == kept[0].cell {
		t.Error("one cell for a mutex and an rwmutex of one name")
	}
	for i := range kept {
		if i%5 != 0 {
			kept[i] = nil
		}
	}
	for round := range 4 {
		a.mutexes.drop()
		b.mutexes.drop()
		runtime.GC()
		runtime.GC()
		for i := range names {
			a.Mutex(fmt.Sprint("other ", round, " ", i))
		}
		alike(fmt.Sprint("after collection ", round))
	}
	// With every handle gone the next sweep forgets them.
	clear(kept[:])
	a.mutexes.drop()
	b.mutexes.drop()
	runtime.GC()
	runtime.GC()
	left := 0
	for i := range a.core.cells.shards {
		sh := &a.core.cells.shards[i]
		sh.mu.Lock()
		sh.forget()
		left += sh.used
		sh.mu.Unlock()
	}
	if most := len(a.core.cells.shards) * (len(cellBlock{}) + 1); left > most {
		t.Errorf("%d cells are left of %d, more than %d", left, names, most)
	}
}

// Each of the handles that were just asked for is found without a lock, though
// the table has grown meanwhile and others stand in their buckets.
func TestHandleCacheFinds(t *testing.T) {
	a := testArena(t, nil)
	const names = 4*segmentSlots - 50
	for i := range names {
		m := a.Mutex(strconv.Itoa(i))
		if err := m.LockContext(context.Background()); err != nil {
			t.Fatal(err)
		}
		m.Unlock()
	}
	missed := 0
	table := a.mutexes.table.Load()
	for i := range names {
		name := strconv.Itoa(i)
		l := table.find(uint32(maphash.String(handleSeed, name)), name)
		if l == nil {
			missed++
		} else if l.Name() != name {
			t.Fatalf("asked for %s, got %s", name, l.Name())
		}
	}
	// Two neighbours of seven places each: hardly any are full.
	if missed > names/40 {
		t.Errorf("%d of %d handles are not found", missed, names)
	}
}

// A snapshot ends with the slots that were handed out, so the clock's hand takes
// none beyond, be they as empty as in a segment that somebody has just added.
func TestUnusedSlotsAreHandedOutInOrder(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	a.Mutex("first").Lock()
	c := a.core
	c.head.hand.Store(c.head.bump.Load() + 5)
	if i, _ := c.claimIdle(c.slotCount(), 0, 0); i != 0 {
		t.Errorf("slot %d was claimed, and %d is the next", i, c.head.bump.Load())
		c.unclaim(i)
	}
	a.Mutex("second").Lock()
	if s, err := ReadSnapshot(a.Path()); err != nil || len(s.Locks) != 2 {
		t.Errorf("%d locks are seen, 2 are held: %v", len(s.Locks), err)
	}
	a.Mutex("first").Unlock()
	a.Mutex("second").Unlock()
}

// A full table gives the slots of idle names away one after the other, not that
// of the newest again and again.
func TestEvictionGoesRound(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	c := a.core
	touch := func(name string) {
		t.Helper()
		m := a.Mutex(name)
		if err := m.LockContext(context.Background()); err != nil {
			t.Fatal(err)
		}
		m.Unlock()
	}
	for i := range segmentSlots - 1 {
		touch("old " + strconv.Itoa(i))
	}
	const late = 100
	for i := range late {
		touch("new " + strconv.Itoa(i))
	}
	for i := range late {
		name := "new " + strconv.Itoa(i)
		if _, ok := c.find(hashName(c.head.seed.Load(), name), name); !ok {
			t.Fatalf("%s has lost its slot to one that came after it", name)
		}
	}
}
