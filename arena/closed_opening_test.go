package arena

import (
	"errors"
	"slices"
	"testing"
)

// What was taken through an opening that was closed since, the process holds as
// long as it has another, and gives back by the same handles. What it could
// not take through it, it does not hold.
func TestGivesBackThroughClosedOpening(t *testing.T) {
	path := testPath(t)
	ctx := within(t)
	first, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, m := first.Ranges("ranges"), first.RWMutex("rwmutex")
	s := first.Session("session")
	for _, err := range []error{
		r.Lock(ctx, Exclusive, 0, 10), s.LockRange(ctx, r, Exclusive, 10, 10), s.Lock(ctx, m), s.Unlock(m), first.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []Range{{0, 10, Exclusive}}; !slices.Equal(r.Held(), want) {
		t.Errorf("holds %v, took %v", r.Held(), want)
	}
	if ok, err := second.Ranges("ranges").TryLock(Shared, 9, 2); ok || err != nil {
		t.Errorf("a try of what is held: %v, %v", ok, err)
	}
	if err := r.ReleaseAll(); err != nil {
		t.Errorf("release all: %v", err)
	}
	if err := s.Lock(ctx, m); !errors.Is(err, ErrClosed) {
		t.Errorf("lock of an rwmutex: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close of the session: %v", err)
	}
	all := second.Ranges("ranges")
	if ok, err := all.TryLock(Exclusive, 0, 0); !ok || err != nil {
		t.Errorf("all ranges: %v, %v", ok, err)
	}
	if err := all.ReleaseAll(); err != nil {
		t.Error(err)
	}
	if m := second.RWMutex("rwmutex"); !m.TryLock() {
		t.Error("the rwmutex is held")
	} else {
		m.Unlock()
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
