package arena

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

func tryRange(t testing.TB, r *Ranges, want bool, mode Mode, start, length int64) {
	t.Helper()
	if got, err := r.TryLock(mode, start, length); got != want || err != nil {
		t.Errorf("try of %v %d+%d: %v, %v", mode, start, length, got, err)
	}
}

func expectHeld(t testing.TB, r *Ranges, want ...Range) {
	t.Helper()
	if got := r.Held(); !slices.Equal(got, want) {
		t.Errorf("holds %v, should hold %v", got, want)
	}
}

func giveBack(t testing.TB, r *Ranges, start, length int64) {
	t.Helper()
	if err := r.Release(start, length); err != nil {
		t.Error(err)
	}
}

// What one holder holds it holds once: it converts, merges and splits.
func TestRangesOfOneHolder(t *testing.T) {
	a := testArena(t, nil)
	r := a.Ranges("file")
	tryRange(t, r, true, Exclusive, 0, 10)
	tryRange(t, r, true, Exclusive, 10, 10)
	expectHeld(t, r, Range{0, 20, Exclusive})
	tryRange(t, r, true, Shared, 5, 5)
	expectHeld(t, r, Range{0, 5, Exclusive}, Range{5, 5, Shared}, Range{10, 10, Exclusive})
	tryRange(t, r, true, Exclusive, 3, 0)
	expectHeld(t, r, Range{0, 0, Exclusive})
	giveBack(t, r, 1<<62, 1)
	expectHeld(t, r, Range{0, 1 << 62, Exclusive}, Range{1<<62 + 1, 0, Exclusive})
	giveBack(t, r, 30, 0)
	giveBack(t, r, 3, 997)
	expectHeld(t, r, Range{0, 3, Exclusive})
	giveBack(t, r, 3, 997)
	tryRange(t, r, true, Shared, 1<<63-1, 1)
	expectHeld(t, r, Range{0, 3, Exclusive}, Range{1<<63 - 1, 0, Shared})
	if err := r.ReleaseAll(); err != nil {
		t.Error(err)
	}
	expectHeld(t, r)
	expectNoRanges(t, a)
}

// Holders exclude each other where they overlap, also two of one process.
func TestRangesOfTwoHolders(t *testing.T) {
	a := testArena(t, nil)
	r, s := a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Shared, 0, 100)
	tryRange(t, s, true, Shared, 50, 100)
	tryRange(t, s, false, Exclusive, 0, 100)
	tryRange(t, s, false, Exclusive, 99, 10)
	tryRange(t, s, true, Exclusive, 100, 10)
	tryRange(t, r, false, Shared, 109, 1)
	tryRange(t, r, true, Shared, 110, 1)
	tryRange(t, a.Ranges("another"), true, Exclusive, 0, 0)
	expectHeld(t, s, Range{50, 50, Shared}, Range{100, 10, Exclusive}, Range{110, 40, Shared})
	r.ReleaseAll()
	s.ReleaseAll()
}

func TestRangesBadInput(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	r := a.Ranges("file")
	tryRange(t, r, true, Exclusive, 7, 7)
	for _, bad := range []struct {
		mode          Mode
		start, length int64
		says          string
	}{
		{Exclusive, -1, 1, "negative"}, {Shared, 1, -1, "negative"}, {Exclusive, 2, 1<<63 - 1, "2^63"},
		{Exclusive, 1<<63 - 1, 2, "2^63"}, {0, 1, 1, "mode 0"}, {3, 1, 1, "mode 3"},
	} {
		err := r.Lock(context.Background(), bad.mode, bad.start, bad.length)
		if !errors.Is(err, ErrRange) || !strings.Contains(err.Error(), bad.says) || !strings.Contains(err.Error(), "file") {
			t.Errorf("%v: %v", bad, err)
		}
		if ok, err := r.TryLock(bad.mode, bad.start, bad.length); ok || !errors.Is(err, ErrRange) {
			t.Errorf("%v: try: %v, %v", bad, ok, err)
		}
		if bad.mode == Exclusive {
			if err := r.Release(bad.start, bad.length); !errors.Is(err, ErrRange) {
				t.Errorf("%v: release: %v", bad, err)
			}
		}
	}
	expectHeld(t, r, Range{7, 7, Exclusive})
	a.Mutex("mutex").Lock()
	defer a.Mutex("mutex").Unlock()
	err := a.Ranges("mutex").Lock(context.Background(), Shared, 0, 1)
	if !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "mutex") || !strings.Contains(err.Error(), "ranges") {
		t.Errorf("a mutex taken for ranges: %v", err)
	}
	if err := a.Mutex("file").LockContext(context.Background()); !errors.Is(err, ErrKind) {
		t.Errorf("ranges taken for a mutex: %v", err)
	}
	if _, err := a.Ranges("a\x00b").TryLock(Shared, 0, 1); !errors.Is(err, ErrName) {
		t.Errorf("a bad name: %v", err)
	}
	r.ReleaseAll()
}

// A wait ends with its context, and the error says who was in the way.
func TestRangesTimeout(t *testing.T) {
	a := testArena(t, &Options{Label: "the holder"})
	r, s := a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Exclusive, 10, 10)
	tryRange(t, s, true, Exclusive, 0, 5) // it has room to wait with from now on, however late it is
	s.ReleaseAll()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := s.Lock(ctx, Shared, 0, 0)
	var late *TimeoutError
	if !errors.As(err, &late) || late.Lock != "file" || late.HolderPID != os.Getpid() || late.HolderLabel != "the holder" || late.Waited <= 0 {
		t.Errorf("%v", err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Lock(gone, Shared, 0, 0); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "file") {
		t.Errorf("%v", err)
	}
	expectHeld(t, s)
	r.ReleaseAll()
	if err := s.Lock(gone, Shared, 0, 0); err != nil {
		t.Errorf("with nobody in the way: %v", err)
	}
	s.ReleaseAll()
	expectNoRanges(t, a)
}

// When the table is full, what is held stays as it is, and can be given back.
func TestRangesTableFull(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	r := a.Ranges("file")
	n := int64(0)
	var err error
	for ; err == nil && n < 10_000; n++ {
		err = r.Lock(context.Background(), Exclusive, 10*n, 5)
	}
	if !errors.Is(err, ErrTableFull) || n < segmentRecords/2 {
		t.Fatalf("after %d ranges: %v", n, err)
	}
	if got := len(r.Held()); got != int(n-1) {
		t.Errorf("%d are held, should be %d", got, n-1)
	}
	giveBack(t, r, 0, 10)
	tryRange(t, r, true, Exclusive, 0, 5)
	if err := r.ReleaseAll(); err != nil {
		t.Error(err)
	}
	expectNoRanges(t, a)
}

// Closing gives everything back, says so, and ends those who wait.
func TestRangesClose(t *testing.T) {
	path := testPath(t)
	a := reopen(path, &Options{Logger: quiet})
	r, s := a.Ranges("file"), a.Ranges("file")
	tryRange(t, r, true, Exclusive, 0, 10)
	tryRange(t, r, true, Shared, 20, 10)
	waited := make(chan error)
	go func() { waited <- s.Lock(context.Background(), Exclusive, 0, 0) }()
	untilRangesWait(t, a, 1)
	err := a.Close()
	if !errors.Is(err, ErrWasHeld) || !strings.Contains(err.Error(), `2 ranges of "file"`) {
		t.Errorf("close: %v", err)
	}
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Errorf("who waited: %v", err)
	}
	if _, err := r.TryLock(Shared, 0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("a try: %v", err)
	}
	if err := r.Lock(context.Background(), Shared, 0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("a lock: %v", err)
	}
	if r.Release(0, 0) != nil || r.ReleaseAll() != nil || r.Held() != nil {
		t.Error("there is something to release")
	}
	a = reopen(path, nil)
	defer a.Close()
	s = a.Ranges("file")
	tryRange(t, s, true, Exclusive, 0, 0)
	s.ReleaseAll()
	expectNoRanges(t, a)
}

func TestRangesDo(t *testing.T) {
	a := testArena(t, nil)
	r, s := a.Ranges("file"), a.Ranges("file")
	failure := errors.New("failure")
	if err := r.Do(context.Background(), Exclusive, 1, 1, func(context.Context) error {
		tryRange(t, s, false, Shared, 0, 0)
		return failure
	}); err != failure {
		t.Error(err)
	}
	func() {
		defer func() { recover() }()
		r.Do(context.Background(), Exclusive, 1, 1, func(context.Context) error { panic("!") })
	}()
	tryRange(t, s, true, Exclusive, 0, 0)
	s.ReleaseAll()
}

// A holder that is collected while it holds releases nothing, and is reported.
func TestRangesLeaked(t *testing.T) {
	var log lockedBuffer
	path := testPath(t)
	a := reopen(path, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	tryRange(t, a.Ranges("file"), true, Exclusive, 5, 5)
	for until := time.Now().Add(proc.Soon); !strings.Contains(log.String(), "ranges_test.go:"); runtime.GC() {
		if time.Now().After(until) {
			t.Fatalf("nothing is reported: %s", log.String())
		}
	}
	tryRange(t, a.Ranges("file"), false, Shared, 0, 0)
	if err := a.Close(); !errors.Is(err, ErrWasHeld) {
		t.Errorf("close: %v", err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// Thousands of ranges, of several holders, given back in any order, with the
// arena growing under them.
func TestRangesByThousands(t *testing.T) {
	a := testArena(t, nil)
	var holders [3]*Ranges
	for i := range holders {
		holders[i] = a.Ranges("file")
	}
	const n = 6000
	for _, i := range rand.Perm(n) {
		tryRange(t, holders[i%3], true, Exclusive, int64(i*10), 9)
	}
	s, err := ReadSnapshot(a.Path())
	if err != nil || len(s.Locks) != 1 || len(s.Locks[0].Ranges) != n || len(s.Problems()) > 0 {
		t.Fatalf("%v, %d ranges, problems %v", err, len(s.Locks[0].Ranges), s.Problems())
	}
	for _, i := range rand.Perm(n) {
		tryRange(t, holders[(i+1)%3], false, Shared, int64(i*10+8), 2)
		if i%3 == 0 {
			giveBack(t, holders[0], int64(i*10), 9)
		}
	}
	for _, r := range holders[1:] {
		if got := len(r.Held()); got != n/3 {
			t.Errorf("%d are held", got)
		}
		r.ReleaseAll()
	}
	expectHeld(t, holders[0])
	holders[0].ReleaseAll()
	expectNoRanges(t, a)
}
