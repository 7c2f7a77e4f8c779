package arena

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"lockd/internal/proc"
)

// What a package of locks on the indices of one file promises its users, in
// the order in which it does.

func init() {
	// An indexer has one holder of ranges and does what it is told: "r 0 1" and
	// "w 1 3" take, "? r 0 1" and "? w 1 3" try, "release 0 1" and "release" give
	// back.
	roles["indexer"] = func(args []string) {
		a := reopen(args[0], &Options{Label: args[1], Logger: quiet})
		r := a.Ranges("dataLocksFile")
		proc.Say("ready")
		for {
			proc.Say("%s", indexed(r, proc.Hear()))
		}
	}
}

func indexed(r *Ranges, order string) string {
	var start, length int64
	switch n, _ := fmt.Sscanf(order, "release %d %d", &start, &length); {
	case order == "release":
		return okay(r.ReleaseAll())
	case n == 2:
		return okay(r.Release(start, length))
	}
	try := order[0] == '?'
	if try {
		order = order[2:]
	}
	mode := Shared
	if order[0] == 'w' {
		mode = Exclusive
	}
	fmt.Sscanf(order[2:], "%d %d", &start, &length)
	if !try {
		return okay(r.Lock(context.Background(), mode, start, length))
	}
	ok, err := r.TryLock(mode, start, length)
	return fmt.Sprint(ok, " ", okay(err))
}

type indexer struct{ *proc.Proc }

func startIndexer(t *testing.T, a *Arena, label string) indexer {
	p := indexer{proc.Start(t, "indexer", []string{a.Path(), label})}
	p.Expect("ready")
	return p
}

func (p indexer) must(want, order string) {
	p.Send("%s", order)
	p.Expect(want)
}

// blocks gives an order that has to wait; Expect("ok") is for when it is done.
func (p indexer) blocks(t *testing.T, a *Arena, order string) {
	t.Helper()
	before := waitingRanges(a)
	p.Send("%s", order)
	untilRangesWait(t, a, before+1)
}

func TestSeed001(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})

	t.Run("readers share, a writer excludes", func(t *testing.T) {
		p, q := startIndexer(t, a, "process_1"), startIndexer(t, a, "process_2")
		p.must("ok", "r 0 1")
		q.must("true ok", "? r 0 1")
		q.must("false ok", "? w 0 1")
		p.must("ok", "release")
		q.must("true ok", "? w 0 1")
		q.must("ok", "release")
	})
	t.Run("many locks in one file, and intervals of them at once", func(t *testing.T) {
		p, q := startIndexer(t, a, "process_1"), startIndexer(t, a, "process_2")
		p.must("ok", "w 1 3")
		for i := range 6 {
			q.must(fmt.Sprint(i < 1 || i > 3, " ok"), fmt.Sprintf("? w %d 1", i))
		}
		q.must("ok", "release")
		p.must("ok", "release")
	})
	t.Run("whoever knows the path shares it, at any time", func(t *testing.T) {
		p := startIndexer(t, a, "process_1")
		p.must("ok", "w 7 1")
		q := startIndexer(t, a, "late")
		q.must("false ok", "? r 7 1")
	})
	t.Run("the example, line by line", func(t *testing.T) {
		r, other := a.Ranges("dataLocksFile"), a.Ranges("dataLocksFile")
		ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
		defer cancel()
		must := func(err error) {
			if err != nil {
				t.Helper()
				t.Fatal(err)
			}
		}
		must(r.Lock(ctx, Shared, 0, 1))
		must(r.Lock(ctx, Exclusive, 1, 3))
		expectHeld(t, r, Range{0, 1, Shared}, Range{1, 3, Exclusive})
		must(r.Do(ctx, Shared, 2, 1, func(context.Context) error {
			expectHeld(t, r, Range{0, 1, Shared}, Range{1, 1, Exclusive}, Range{2, 1, Shared}, Range{3, 1, Exclusive})
			tryRange(t, other, true, Shared, 2, 1)
			return other.ReleaseAll()
		}))
		expectHeld(t, r, Range{0, 1, Shared}, Range{1, 1, Exclusive}, Range{3, 1, Exclusive})
		must(r.Release(0, 1))
		must(r.Release(3, 997))
		expectHeld(t, r, Range{1, 1, Exclusive})
		must(r.ReleaseAll())
		expectHeld(t, r)
	})
	t.Run("what remains goes free when its process ends", func(t *testing.T) {
		p := startIndexer(t, a, "process_1")
		p.must("ok", "w 0 1000")
		r := a.Ranges("dataLocksFile")
		waiting := lockLater(t, a, r, Shared, 999, 1)
		p.Kill()
		granted(t, waiting)
		r.ReleaseAll()
	})
	t.Run("each holder has a name that others are told", func(t *testing.T) {
		p := startIndexer(t, a, "process_1")
		p.must("ok", "w 0 1")
		var late *TimeoutError
		r := a.Ranges("dataLocksFile")
		tryRange(t, r, true, Shared, 9, 1) // it has room to wait with from now on, however late it is
		r.ReleaseAll()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := r.Lock(ctx, Shared, 0, 1); !errors.As(err, &late) || late.HolderLabel != "process_1" || late.HolderPID != p.PID() {
			t.Errorf("%v", err)
		}
		r.ReleaseAll()
		p.must("ok", "release")
	})
	expectNoRanges(t, a)
}

// Two processes block each other at each step.
func TestSeed001Script(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	p, q := startIndexer(t, a, "process_1"), startIndexer(t, a, "process_2")

	p.must("ok", "w 0 1")
	q.must("ok", "w 1 1")
	q.blocks(t, a, "w 0 1")
	p.must("ok", "w 2 2")
	p.must("ok", "release 0 1")
	q.Expect("ok") // q: w0 w1; p: w2 w3

	p.blocks(t, a, "r 0 1")
	q.must("ok", "r 0 1") // converts: both read
	p.Expect("ok")
	q.blocks(t, a, "w 0 1") // and back, when p reads no more
	p.must("ok", "release 0 1")
	q.Expect("ok")

	p.blocks(t, a, "w 0 4") // all, of which q has half
	q.must("ok", "release 1 1")
	p.Silent()
	q.must("ok", "release 0 1")
	p.Expect("ok")

	q.blocks(t, a, "r 2 2")
	p.must("ok", "release 1 2") // the middle
	q.Silent()
	p.must("ok", "release 3 1") // and the end of it
	q.Expect("ok")
	p.blocks(t, a, "w 3 1")
	q.must("ok", "release 3 1")
	p.Expect("ok")

	p.must("ok", "release")
	q.must("ok", "release")
	p.Kill()
	q.Kill()
	expectNoRanges(t, a)
}
