package arena

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"lockd/futex"
	"lockd/internal/proc"
)

// What a review by attack found (see attack_test.go): names, and the slots
// that they are in for a while.

// movedIn locks names in a table that cannot grow until one of them is in the
// slot that the binding's name has lost to it, and returns it locked.
func movedIn(t *testing.T, a *Arena, lost *binding) *Mutex {
	t.Helper()
	for i := range 4 * segmentSlots {
		m := a.Mutex("newcomer" + strconv.Itoa(i))
		m.Lock()
		if m.binding().index == lost.index {
			return m
		}
		m.Unlock()
	}
	t.Fatal("no name gets the slot")
	return nil
}

// nameIn is a name whose hash is in the stripe.
func nameIn(c *core, stripe int, prefix string) string {
	for i := 0; ; i++ {
		name := prefix + strconv.Itoa(i)
		if hashName(c.head.seed.Load(), name)%stripeCount == uint64(stripe) {
			return name
		}
	}
}

// A release of what is not held, by a handle whose slot has gone to a name
// that this process does hold.
func TestReleaseByHandleOfEvictedName(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	m := a.Mutex("evicted")
	m.Lock()
	m.Unlock()
	other := movedIn(t, a, m.binding())
	if err := m.Release(); !errors.Is(err, ErrNotHeld) {
		t.Errorf("Release: %v", err)
	}
	if err := recovered(m.Unlock); !errors.Is(err, ErrNotHeld) {
		t.Errorf("Unlock panics with: %v", err)
	}
	startActor(t, a.Path(), "other", atMost(1)).must("busy", "try %s", other.Name())
	if err := other.Release(); err != nil {
		t.Errorf("what was held is lost: %v", err)
	}
}

// Somebody found a name's lock held and was slow to queue; now the slot is
// another name's, which this process holds and hands over to who waits.
func TestQueueingForAnEvictedName(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	c := a.core
	m := a.Mutex("evicted")
	m.Lock()
	m.Unlock()
	late := m.binding()
	other := movedIn(t, a, late)

	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	first, out := make(chan struct{}), make(chan outcome, 1)
	go func() {
		other.Lock()
		close(first)
	}()
	awaitQueued(c, 1, nil)
	go func() {
		got, _ := c.queueUp(request{ctx: ctx, arena: other.arena}, late)
		out <- got
	}()
	awaitQueued(c, 2, out)
	for began := futex.Now(); futex.Now()-began < 2*int64(starvation); {
		runtime.Gosched()
	}
	other.Unlock()
	<-first
	other.Unlock()
	if got := <-out; got != stale {
		t.Errorf("outcome %d for who waited for the evicted name", got)
	}
}

// awaitQueued returns when so many goroutines of this process wait, or when
// there is an outcome.
func awaitQueued(c *core, want int, out chan outcome) {
	for waiting := 0; waiting < want && len(out) == 0; runtime.Gosched() {
		waiting = 0
		c.lot.all(func(q *queue) {
			q.mu.Lock()
			waiting += q.count
			q.mu.Unlock()
		})
	}
}

// A look-up that stores anything may store it late, where another name, or the
// end of one, is by then.
func TestLookUpWritesNothing(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	for _, name := range []string{"short", strings.Repeat("long", 40)} {
		m := a.Mutex(name)
		m.Lock()
		m.Unlock()
		s := m.binding().slot
		s.inserted.Store(c.uptime() - 1000)
		slots := func() (image []byte) {
			file, err := os.ReadFile(a.Path())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range []uint32{m.binding().index, s.extension.Load()} {
				image = append(image, file[slotOffset(i):][:slotSize]...)
			}
			return image
		}
		before := slots()
		if _, err := c.lookup(context.Background(), name, KindMutex); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, slots()) {
			t.Errorf("the look-up of %.10q… changed its slots", name)
		}
	}
}

// There is an idle slot, and somebody is just busy in its stripe.
func TestTableWithBusyStripeIsNotFull(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	c := a.core
	idle := a.Mutex(nameIn(c, 5, "idle"))
	idle.Lock()
	idle.Unlock()
	for i := range segmentSlots - 2 {
		a.Mutex("held" + strconv.Itoa(i)).Lock()
	}
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	l, err := c.latchStripe(ctx, hashName(c.head.seed.Load(), idle.Name()))
	if err != nil {
		t.Fatal(err)
	}
	fresh := a.Mutex(nameIn(c, 6, "fresh"))
	wait := proc.MustBlock(t, "the lock that needs the idle slot", func() { err = fresh.LockContext(ctx) })
	l.release()
	wait()
	if err != nil {
		t.Errorf("with the idle slot free to take: %v", err)
	}
	for i := range segmentSlots - 2 {
		a.Mutex("held" + strconv.Itoa(i)).Unlock()
	}
	fresh.Unlock()
}

// A level that is not that of any table of this size.
func TestDamagedLevel(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	var names [stripeCount]string
	for s := range names {
		names[s] = nameIn(c, s, "before")
		a.Mutex(names[s]).Lock()
	}
	for _, level := range []uint32{0, 1, 11, 18, 20, 21, 31, 32, 1<<32 - 1} {
		for s := range uint64(stripeCount) {
			c.stripeAt(s).level.Store(level)
		}
		for s := range names {
			fresh := a.Mutex(nameIn(c, s, fmt.Sprint("level", level, " ")))
			err := recovered(func() {
				fresh.Lock()
				fresh.Unlock()
			})
			if err != nil {
				t.Fatalf("level %d: %v", level, err)
			}
			p, err := c.lookup(context.Background(), names[s], KindMutex)
			if want := a.Mutex(names[s]).binding().index; err != nil || p.index != want {
				t.Fatalf("level %d: a name was in slot %d, is now found in %d, %v", level, want, p.index, err)
			}
		}
	}
	for s := range names {
		if err := a.Mutex(names[s]).Release(); err != nil {
			t.Error(err)
		}
	}
}

// A level that somebody spoils when the stripe was just brought up to date.
func TestLevelDamagedUnderTheLatch(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	name := nameIn(c, 7, "name")
	a.Mutex(name).Lock()
	defer a.Mutex(name).Unlock()
	hash := hashName(c.head.seed.Load(), name)
	l, err := c.latchStripe(context.Background(), hash)
	if err != nil {
		t.Fatal(err)
	}
	defer l.end()
	s := c.stripeAt(hash)
	good := s.level.Load()
	for _, level := range []uint32{0, 21, 31, 1<<32 - 1} {
		s.level.Store(level)
		if _, ok := c.walkLatched(hash, name); !ok {
			t.Errorf("level %d: the name is not found", level)
		}
	}
	s.level.Store(good)
	l.whole = true
}

// All handles of a held lock are gone, and its chain is just being moved by
// somebody who is stopped. A new handle can release it all the same.
func TestReleaseByNewHandle(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	c := a.core
	func() { a.Mutex("held").Lock() }()
	for round := range 3 {
		for i := range 20 * firstBuckets * handleWays {
			a.Mutex(strconv.Itoa(round) + " " + strconv.Itoa(i))
		}
		runtime.GC()
	}
	hash := hashName(c.head.seed.Load(), "held")
	l, err := c.latchStripe(context.Background(), hash)
	if err != nil {
		t.Fatal(err)
	}
	head := c.chainHead(hash, c.stripeAt(hash).level.Load())
	chain := head.Load()
	head.Store(0)
	if _, ok := c.find(hash, "held"); ok {
		t.Error("the name is found: the test shows nothing")
	}
	if _, err := a.Mutex("held").Fence(); err != nil {
		t.Error(err)
	}
	if err := a.Mutex("held").Release(); err != nil {
		t.Error(err)
	}
	head.Store(chain)
	l.release()
}

// Who is growing the file is stopped. There are idle names to evict.
func TestStoppedGrower(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	for i := range segmentSlots - 1 {
		m := a.Mutex("idle" + strconv.Itoa(i))
		m.Lock()
		m.Unlock()
	}
	grower := proc.Start(t, "latch holder", []string{a.Path(), "growth"})
	grower.Next()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon/6)
	defer cancel()
	m := a.Mutex("new")
	if err := m.LockContext(ctx); err != nil {
		t.Fatal(err)
	}
	m.Unlock()
	grower.Send("go on")
	grower.Expect("released")
}
