package arena

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"lockd/internal/proc"
)

// untilRangesWait waits until so many requests wait for ranges.
func untilRangesWait(t testing.TB, a *Arena, want int) {
	t.Helper()
	until(t, fmt.Sprintf("%d requests wait", want), func() bool { return waitingRanges(a) == want })
}

// lockLater starts a Lock that has to wait.
func lockLater(t testing.TB, a *Arena, r *Ranges, mode Mode, start, length int64) (done chan error) {
	t.Helper()
	before := waitingRanges(a)
	done = make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
		defer cancel()
		done <- r.Lock(ctx, mode, start, length)
	}()
	untilRangesWait(t, a, before+1)
	return done
}

func granted(t testing.TB, done chan error) {
	t.Helper()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// To shared is at once: a writer who waits does not get in between, readers do.
func TestRangesToShared(t *testing.T) {
	a := testArena(t, nil)
	r, writer, reader := a.Ranges("file"), a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Exclusive, 0, 10)
	reading := lockLater(t, a, reader, Shared, 2, 2)
	writing := lockLater(t, a, writer, Exclusive, 0, 10)
	tryRange(t, r, true, Shared, 0, 10)
	granted(t, reading)
	if n := waitingRanges(a); n != 1 {
		t.Errorf("%d wait: the writer got in between", n)
	}
	tryRange(t, writer, false, Exclusive, 0, 1)
	r.ReleaseAll()
	reader.ReleaseAll()
	granted(t, writing)
	writer.ReleaseAll()
	expectNoRanges(t, a)
}

// To exclusive waits for the other readers, holds on to what it has, and goes
// before a writer who waits for that.
func TestRangesToExclusive(t *testing.T) {
	a := testArena(t, nil)
	r, other, writer := a.Ranges("file"), a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Shared, 0, 10)
	tryRange(t, other, true, Shared, 5, 10)
	writing := lockLater(t, a, writer, Exclusive, 0, 20)
	upgrading := lockLater(t, a, r, Exclusive, 0, 10)
	expectHeld(t, r, Range{0, 10, Shared})
	other.ReleaseAll()
	granted(t, upgrading)
	expectHeld(t, r, Range{0, 10, Exclusive})
	r.ReleaseAll()
	granted(t, writing)
	writer.ReleaseAll()
	expectNoRanges(t, a)
}

// A conversion to exclusive goes before the queue, or it would wait for who
// waits for it.
func TestRangesToExclusiveSoon(t *testing.T) {
	a := testArena(t, nil)
	r, writer := a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Shared, 0, 10)
	ctx, cancel := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() { gaveUp <- writer.Lock(ctx, Exclusive, 0, 20) }()
	untilRangesWait(t, a, 1)
	tryRange(t, r, true, Exclusive, 0, 10)
	tryRange(t, r, true, Exclusive, 10, 10) // which the writer waits for too, but not alone
	cancel()
	<-gaveUp
	r.ReleaseAll()
	writer.ReleaseAll()
	expectNoRanges(t, a)
}

// Two who wait to make exclusive what both hold shared wait for each other.
func TestRangesTwoUpgraders(t *testing.T) {
	a := testArena(t, nil)
	r, s := a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Shared, 0, 10)
	tryRange(t, s, true, Shared, 0, 10)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	other := make(chan error)
	go func() { other <- r.Lock(ctx, Exclusive, 0, 10) }()
	if err := s.Lock(ctx, Exclusive, 0, 10); !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	if err := <-other; !errors.Is(err, ErrTimeout) {
		t.Errorf("%v", err)
	}
	expectHeld(t, r, Range{0, 10, Shared})
	expectHeld(t, s, Range{0, 10, Shared})
	r.ReleaseAll()
	tryRange(t, s, true, Exclusive, 0, 10)
	s.ReleaseAll()
	expectNoRanges(t, a)
}

// Requests that overlap are served in order; one that does not passes by; one
// that gives up lets through who waited for it alone.
func TestRangesInOrder(t *testing.T) {
	a := testArena(t, nil)
	holder := a.Ranges("file")
	tryRange(t, holder, true, Exclusive, 0, 10)
	var queue [6]*Ranges
	var done [6]chan error
	for i := range queue {
		queue[i] = a.Ranges("file")
		done[i] = lockLater(t, a, queue[i], Exclusive, int64(i), 10)
	}
	late := a.Ranges("file")
	tryRange(t, late, false, Exclusive, 14, 1)
	tryRange(t, late, true, Exclusive, 15, 5)
	tryRange(t, late, false, Shared, 12, 1)
	holder.ReleaseAll()
	for i := range queue {
		granted(t, done[i])
		if n := waitingRanges(a); n != len(queue)-i-1 {
			t.Errorf("%d wait after number %d was served", n, i)
		}
		queue[i].ReleaseAll()
	}
	late.ReleaseAll()

	tryRange(t, holder, true, Shared, 0, 10)
	ctx, cancel := context.WithCancel(context.Background())
	given := make(chan error)
	go func() { given <- queue[0].Lock(ctx, Exclusive, 0, 10) }()
	untilRangesWait(t, a, 1)
	behind := lockLater(t, a, queue[1], Shared, 0, 10)
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	granted(t, behind)
	for _, r := range []*Ranges{holder, queue[0], queue[1]} {
		r.ReleaseAll()
	}
	expectNoRanges(t, a)
}

// Many who wait for the same get it together, more than one is told of at a time.
func TestRangesManyReaders(t *testing.T) {
	a := testArena(t, nil)
	writer := a.Ranges("file")
	tryRange(t, writer, true, Exclusive, 0, 0)
	var readers [60]*Ranges
	var done [60]chan error
	for i := range readers {
		readers[i] = a.Ranges("file")
		done[i] = lockLater(t, a, readers[i], Shared, 0, 10)
	}
	writer.ReleaseAll()
	for i := range readers {
		granted(t, done[i])
	}
	for _, r := range readers {
		r.ReleaseAll()
	}
	expectNoRanges(t, a)
}
