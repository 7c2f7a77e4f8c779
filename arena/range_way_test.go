package arena

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A piece is taken out by the way on which it was put in, as far as that still
// leads there. Many holders put in and take out at random, so that ways change
// between; long pieces that share are the largest of many subtrees. The tree is
// what it must be after each step.
func TestRangesTakenOutByTheKnownWay(t *testing.T) {
	a := testArena(t, nil)
	const holders, offsets = 60, 10_000
	type piece struct{ start, length int64 }
	var all [holders]*Ranges
	var held [holders]piece
	for i := range all {
		all[i] = a.Ranges("way")
	}
	steps := 20_000
	if testing.Short() {
		steps = 5_000
	}
	known := 0
	for step := range steps {
		h := rand.IntN(holders)
		r := all[h]
		if p := held[h]; p.length > 0 {
			if d := &r.holder.desk; d.last == r.holder.pieces[0] && d.linkFrom(d.above, d.last) != nil {
				known++
			}
			if err := r.Release(p.start, p.length); err != nil {
				t.Fatal(err)
			}
			held[h] = piece{}
		} else {
			p := piece{rand.Int64N(offsets), 1 + rand.Int64N(3)}
			mode := Exclusive
			if h%4 != 0 {
				mode, p.length = Shared, 1+rand.Int64N(offsets)
			}
			if ok, err := r.TryLock(mode, p.start, p.length); err != nil {
				t.Fatal(err)
			} else if ok {
				held[h] = p
			}
		}
		if err := wrongTree(a.core, r.binding()); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	if known < steps/16 {
		t.Errorf("only %d of %d steps went a known way", known, steps)
	}
	for _, r := range all {
		r.ReleaseAll()
	}
}

// wrongTree says what is wrong with the tree of a slot.
func wrongTree(c *core, b *binding) error {
	_, err := wrongBelow(c, b.slot.records.Load(), 1<<32, 0, 1<<64-1)
	return err
}

// wrongBelow returns the largest last in a subtree.
func wrongBelow(c *core, i uint32, above uint64, low, high uint64) (most uint64, err error) {
	if i == 0 {
		return 0, nil
	}
	r := c.rangeAt(i)
	first, mine := r.first.Load(), uint64(priority(i))
	switch {
	case !kindOfRecord(r.owner.Load()).inTree():
		return 0, fmt.Errorf("record %d is no piece", i)
	case first < low || first > high:
		return 0, fmt.Errorf("record %d begins at %d, not within %d … %d", i, first, low, high)
	case mine > above:
		return 0, fmt.Errorf("record %d is below one of a lower priority", i)
	}
	left, err := wrongBelow(c, r.left.Load(), mine, low, first)
	if err != nil {
		return 0, err
	}
	if left != r.leftMax.Load() {
		return 0, fmt.Errorf("record %d says that %d is the largest last to its left, it is %d", i, r.leftMax.Load(), left)
	}
	right, err := wrongBelow(c, r.right.Load(), mine, first, high)
	return max(left, r.last.Load(), right), err
}

// Of the records at hand the one is taken first that lies lowest in the tree,
// in whatever order they came.
func TestRangesTakeLowestRecord(t *testing.T) {
	h := &rangeHolder{}
	at := uint32(1)
	taken := []uint32{}
	for range 10_000 {
		switch {
		case h.spare < rangeSpares && rand.IntN(2) == 0:
			if n := len(taken); n > 0 && rand.IntN(2) == 0 {
				k := rand.IntN(n)
				at, taken[k], taken = taken[k], taken[n-1], taken[:n-1]
			} else {
				at = 1 + rand.Uint32N(1<<19)
			}
			h.put(at, nil)
		case h.spare > 0:
			h.spare--
			taken = append(taken, h.spares[h.spare])
		}
		if len(taken) > 2*rangeSpares {
			taken = taken[:0]
		}
		for n := 1; n < h.spare; n++ {
			if priority(h.spares[n-1]) < priority(h.spares[n]) {
				t.Fatalf("record %d would be taken before %d, which lies lower", h.spares[n], h.spares[n-1])
			}
		}
	}
}

// A tree can be deeper than a way down it may be, by very bad luck or by
// somebody's will. Then nobody gets anything of it, rather than what others have.
func TestRangesTooDeep(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	r, other := a.Ranges("file"), a.Ranges("file")
	h := r.holder
	tryRange(t, r, true, Exclusive, 1<<62, 1)
	place := func(i uint32) int64 { return 4 * int64(^priority(i)) }
	var held []int64
	for range 2 * rangeDepth {
		if h.spare == 0 {
			records, err := a.core.claimRanges(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			h.spares[0], h.spare = records[0], 1
		}
		at := place(h.spares[h.spare-1])
		if ok, err := r.TryLock(Exclusive, at, 1); ok {
			held = append(held, at)
		} else if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	}
	for _, at := range held {
		if ok, _ := other.TryLock(Shared, at, 1); ok {
			t.Fatalf("%d is held by two, with %d held", at, len(held))
		}
	}
	if err := r.ReleaseAll(); err != nil {
		t.Error(err)
	}
	tryRange(t, other, true, Exclusive, 0, 0)
	other.ReleaseAll()
	expectNoRanges(t, a)
}
