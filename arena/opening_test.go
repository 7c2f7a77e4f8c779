package arena

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"lockd/internal/proc"
	"lockd/robust"
)

func twoOpenings(t *testing.T) (a, b *Arena) {
	t.Helper()
	a = testArena(t, nil)
	b, err := Open(a.Path(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

// Who waits through an opening that is closed is told; what the process holds
// stays held as long as it has another.
func TestCloseOfOneOpening(t *testing.T) {
	a, b := twoOpenings(t)
	b.Mutex("m").Lock()
	var err error
	wait := proc.MustBlock(t, "LockContext", func() { err = a.Mutex("m").LockContext(context.Background()) })
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wait()
	if !errors.Is(err, ErrClosed) {
		t.Errorf("the waiter got %v", err)
	}
	if b.Mutex("m").TryLock() {
		t.Error("the lock was given away")
	}
	if err := b.Mutex("m").Release(); err != nil {
		t.Error(err)
	}
}

// A reader is told that a writer ended badly, also through an opening that was
// closed since: what the process holds, it holds.
func TestReaderToldThroughClosedOpening(t *testing.T) {
	a, b := twoOpenings(t)
	m := a.RWMutex("m")
	recovered(func() {
		m.Do(context.Background(), func(context.Context) error { panic(errors.New("half-way")) })
	})
	m.RLock()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if d, told := m.Abandoned(); !told || d.Cause != Panicked {
		t.Errorf("told %v: %+v", told, d)
	}
	m.RUnlock()
	b.RWMutex("m").Lock()
	b.RWMutex("m").MarkConsistent()
	b.RWMutex("m").Unlock()
}

func TestDoTellsOfClose(t *testing.T) {
	a := testArena(t, nil)
	err := a.Mutex("m").Do(context.Background(), func(context.Context) error {
		if err := a.Close(); !errors.Is(err, ErrWasHeld) {
			t.Errorf("Close said %v", err)
		}
		return nil
	})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("Do said %v", err)
	}
}

// Goroutines that find the table full together need one segment, not one each.
func TestGrowthIsShared(t *testing.T) {
	a := testArena(t, nil)
	for i := range segmentSlots - 1 {
		if err := a.Mutex(fmt.Sprint("first-", i)).Do(context.Background(), nothing); err != nil {
			t.Fatal(err)
		}
	}
	held := make(chan struct{})
	var started, wg sync.WaitGroup
	started.Add(200)
	l, err := a.core.acquireLatch(context.Background(), &a.core.head.growth, growthDoor)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		wg.Go(func() {
			m := a.Mutex(fmt.Sprint("more-", i))
			started.Done()
			m.Lock()
			<-held
			m.Unlock()
		})
	}
	started.Wait()
	l.release()
	close(held)
	wg.Wait()
	if n := a.core.segments(); n > 2 {
		t.Errorf("%d segments for %d names", n, segmentSlots-1+200)
	}
}

// A word that fell behind its slot's generation, as a release of what is not
// held can leave it, is mended upwards: no stale handle becomes good again.
func TestGenerationsNeverFall(t *testing.T) {
	a := testArena(t, nil)
	m := a.Mutex("m")
	m.Lock()
	m.Unlock()
	b := m.binding()
	b.slot.life.Store(uint64(liveLife(b.generation+5, 1, KindMutex)))
	m.cell.rebind(b, unbound)
	m.Lock()
	m.Unlock()
	after := m.binding()
	if after.index != b.index || after.generation != b.generation+5 {
		t.Errorf("bound to slot %d generation %d, was %d generation %d", after.index, after.generation, b.index, b.generation+5)
	}
	if w := robust.Word(b.slot.word.Load()); w != robust.Free(b.generation+5) {
		t.Errorf("the word is %#x", w)
	}
}
