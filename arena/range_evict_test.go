package arena

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// The slot of a name of which nothing is held serves the next name; one of
// which anything is held does not.
func TestRangesEvicted(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	kept := a.Ranges("kept")
	tryRange(t, kept, true, Shared, 5, 5)
	for i := range 3 * segmentSlots {
		r := a.Ranges(fmt.Sprint("name ", i))
		if err := r.Lock(context.Background(), Exclusive, 0, 0); err != nil {
			t.Fatalf("name %d: %v", i, err)
		}
		if err := r.ReleaseAll(); err != nil {
			t.Fatal(err)
		}
	}
	other := a.Ranges("kept")
	tryRange(t, other, false, Exclusive, 0, 0)
	other.ReleaseAll()
	expectHeld(t, kept, Range{5, 5, Shared})
	kept.ReleaseAll()

	var held []*Ranges
	for i := range segmentSlots {
		r := a.Ranges(fmt.Sprint("held ", i))
		err := r.Lock(context.Background(), Exclusive, 0, 1)
		if errors.Is(err, ErrTableFull) {
			r.ReleaseAll()
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r)
	}
	for _, r := range held {
		expectHeld(t, r, Range{0, 1, Exclusive})
		r.ReleaseAll()
	}
	expectNoRanges(t, a)
}

// An index in the tree that is none of it costs nobody a range: the tree is
// made anew.
func TestRangesDamagedTree(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	r, s := a.Ranges("file"), a.Ranges("file")
	for i := range int64(200) {
		tryRange(t, r, true, Exclusive, i*10, 5)
	}
	tree := r.binding().slot
	c := a.core
	for name, damage := range map[string]func(root uint32){
		"a root too far":   func(uint32) { tree.records.Store(1 << 31) },
		"a free record":    func(uint32) { tree.records.Store(500) },
		"a loop":           func(root uint32) { c.rangeAt(root).left.Store(root) },
		"a loop elsewhere": func(root uint32) { c.rangeAt(c.rangeAt(root).right.Load()).right.Store(root) },
	} {
		t.Run(name, func(t *testing.T) {
			damage(tree.records.Load())
			if problems, err := ReadSnapshot(a.Path()); err != nil || len(problems.Problems()) == 0 {
				t.Errorf("no problems are found (%v)", err)
			}
			giveBack(t, r, 0, 4)
			giveBack(t, r, 1000, 4)
			giveBack(t, r, 1990, 4)
			for i := range int64(200) {
				tryRange(t, s, false, Shared, i*10+4, 1)
			}
			tryRange(t, r, true, Exclusive, 0, 4)
			tryRange(t, r, true, Exclusive, 1000, 4)
			tryRange(t, r, true, Exclusive, 1990, 4)
			checkNoDamage(t, a.Path())
			if n := len(r.Held()); n != 200 {
				t.Errorf("%d are held", n)
			}
		})
	}
	r.ReleaseAll()
	s.ReleaseAll()
	expectNoRanges(t, a)
}
