package arena

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// Programs that differ in how far an arena may grow are reconciled: the one
// who asks for the most is heard, also by those who are attached already, and
// nobody makes it less.
func TestOpenersDiffer(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	capacity := func() int {
		t.Helper()
		s, err := ReadSnapshot(a.Path())
		if err != nil {
			t.Fatal(err)
		}
		if s.Size != int64(fileSize(s.Segments)) {
			t.Errorf("%d bytes with %d segments", s.Size, s.Segments)
		}
		return s.Capacity()
	}
	if s, err := ReadSnapshot(a.Path()); err != nil || s.Size != minFileSize || s.Size > 512<<10 {
		t.Errorf("a new arena has %d bytes, %v", s.Size, err)
	}
	take := func(i int) error { return a.Mutex(fmt.Sprint("name", i)).LockContext(context.Background()) }
	for i := range segmentSlots - 1 {
		if err := take(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(segmentSlots); !errors.Is(err, ErrTableFull) {
		t.Fatalf("full, and %v", err)
	}
	for _, tc := range []struct {
		process         string
		asks, gets      int
		sameHereAsThere bool
	}{
		{"another process", 2*segmentSlots - 1, 2*segmentSlots - 1, false},
		{"one that asks for less", 1, 2*segmentSlots - 1, false},
		{"one that asks for nothing", 0, 2*segmentSlots - 1, false},
		{"another opening of this one", 3*segmentSlots - 1, 3*segmentSlots - 1, true},
	} {
		if tc.sameHereAsThere {
			b, err := Open(a.Path(), &Options{MaxLocks: tc.asks, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
		} else {
			startActor(t, a.Path(), tc.process, atMost(tc.asks)).must("ok", "close")
		}
		if got := capacity(); got != tc.gets {
			t.Errorf("%s asks for %d locks: %d, not %d", tc.process, tc.asks, got, tc.gets)
		}
	}
	for i := segmentSlots; i < 3*segmentSlots; i++ {
		if err := take(i); err != nil {
			t.Fatalf("lock %d of %d: %v", i, capacity(), err)
		}
	}
	if err := take(3 * segmentSlots); !errors.Is(err, ErrTableFull) {
		t.Errorf("full again, and %v", err)
	}
	for i := range 3 * segmentSlots {
		a.Mutex(fmt.Sprint("name", i)).Release()
	}
}
