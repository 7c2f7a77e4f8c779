package arena

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// What a review by attack found of the ranges.

func TestRangesWindows(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	for _, inner := range []string{"TestRangeWithdrawnWhenGranted", "TestRebuildMeetsForeignRecord"} {
		t.Run(inner, func(t *testing.T) {
			if output, err := runInner(t, binary, "", inner); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// waitingRecord is the one record of ranges that waits.
func waitingRecord(t *testing.T, a *Arena) (at uint32, waiting *rangeRecord) {
	t.Helper()
	a.core.eachRange(func(i uint32, r *rangeRecord, owner uint64) {
		if kindOfRecord(owner).isRangeWait() {
			at, waiting = i, r
		}
	})
	if waiting == nil {
		t.Fatal("nobody waits")
	}
	return at, waiting
}

// latchedDesk holds the latch of a Ranges.
func latchedDesk(t *testing.T, r *Ranges) *rangeDesk {
	t.Helper()
	d := &rangeDesk{}
	for late := time.Now().Add(proc.Soon); !r.arena.core.latchRanges(r.binding()); {
		if time.Now().After(late) {
			t.Fatal("somebody has the latch")
		}
	}
	d.at(r.arena.core, r.binding())
	return d
}

// queueWith makes the holder's next request use a record, which is free.
func queueWith(t *testing.T, a *Arena, r *Ranges, i uint32) {
	t.Helper()
	if !a.core.rangeAt(i).owner.CompareAndSwap(0, recordOwner(a.core.member, rangeClaimed)) {
		t.Fatalf("record %d is not free", i)
	}
	h := r.holder
	h.giveBackSpares()
	h.spares[0], h.spare, h.pieces = i, 1, make([]uint32, 0, firstPieces)
}

// Between the moments in which a granter looks at a request and grants it, the
// request is withdrawn, its record taken out by the granter himself, and used by
// who waits for another name.
func TestGrantMeetsReusedRecord(t *testing.T) {
	a := testArena(t, nil)
	one, waiter, two, other := a.Ranges("one"), a.Ranges("one"), a.Ranges("two"), a.Ranges("two")
	tryRange(t, one, true, Exclusive, 0, 10)
	tryRange(t, two, true, Exclusive, 0, 10)
	ctx, cancel := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() { gaveUp <- waiter.Lock(ctx, Exclusive, 0, 10) }()
	untilRangesWait(t, a, 1)

	i, r := waitingRecord(t, a)
	d := latchedDesk(t, one)
	q := claimOf(r)
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	d.drop(i)
	queueWith(t, a, other, i)
	done := lockLater(t, a, other, Exclusive, 0, 10)
	if at, _ := waitingRecord(t, a); at != i {
		t.Fatalf("it waits with record %d, not %d", at, i)
	}
	d.grant(i, r, q)
	if kind := kindOfRecord(r.owner.Load()); kind != rangeWaitExclusive {
		t.Errorf("a request for another name was granted: kind %d", kind)
	}
	d.leave()
	for _, r := range []*Ranges{one, waiter, two} {
		r.ReleaseAll()
	}
	granted(t, done)
	other.ReleaseAll()
	expectNoRanges(t, a)
}

// Who gave a request up leaves the porter late: its record is another one's by
// then, who must still be told, and be an agent.
func TestPorterMeetsReusedRecord(t *testing.T) {
	var p porter
	p.init()
	old := &ticketWait{request: 7, binding: &binding{index: 1}, wake: make(chan struct{}, 1)}
	late := &ticketWait{request: 7, binding: &binding{index: 2}, wake: make(chan struct{}, 1)}
	p.enter(old)
	p.enter(late)
	p.leave(old)
	if p.waits[7] != late {
		t.Error("who waits with the record is forgotten")
	}
	if p.agent != late {
		t.Error("who is left is not the agent")
	}
	p.leave(late)
	if len(p.waits) > 0 || len(p.slots) > 0 || p.agent != nil {
		t.Errorf("%d wait for %d slots", len(p.waits), len(p.slots))
	}
}

// A handle of an opening that was closed gives back what it holds, also when it
// has to wait for the latch: the process has another opening and keeps it else.
func TestRangesReleasedThroughClosedOpening(t *testing.T) {
	stays := testArena(t, &Options{Logger: quiet})
	for what, release := range map[string]func(r *Ranges) error{
		"a part": func(r *Ranges) error { return r.Release(0, 10) },
		"all":    func(r *Ranges) error { return r.ReleaseAll() },
	} {
		t.Run(what, func(t *testing.T) {
			a := reopen(stays.Path(), nil)
			r, s := a.Ranges("file"), stays.Ranges("file")
			tryRange(t, r, true, Exclusive, 0, 10)
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			expectHeld(t, r, Range{0, 10, Exclusive})
			word := &r.binding().slot.word
			word.CompareAndSwap(r.binding().free, r.binding().free|uint64(robust.Waiters))
			if err := release(r); err != nil {
				t.Error(err)
			}
			tryRange(t, s, true, Exclusive, 0, 10)
			s.ReleaseAll()
			r.ReleaseAll()
		})
	}
	if err := closeSessionLate(t, stays.Path()); err != nil {
		t.Error(err)
	}
	expectNoRanges(t, stays)
}

// closeSessionLate holds a range by a session, closes the opening, then the session.
func closeSessionLate(t *testing.T, path string) error {
	a := reopen(path, nil)
	s, r := a.Session("late"), a.Ranges("session")
	if ok, err := s.TryLockRange(r, Exclusive, 0, 1); !ok {
		t.Error(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	return s.Close()
}

// One holder waits three times over, through several goroutines. What it has
// got by one of these lets another go before who waits for that, at once.
func TestRangesOneHolderWaitsTwice(t *testing.T) {
	a := testArena(t, nil)
	near, far, r, wide := a.Ranges("file"), a.Ranges("file"), a.Ranges("file"), a.Ranges("file")
	tryRange(t, near, true, Exclusive, 0, 10)
	tryRange(t, far, true, Exclusive, 50, 10)
	ahead := lockLater(t, a, r, Exclusive, 50, 10)
	barred := lockLater(t, a, wide, Exclusive, 0, 60)
	behind := lockLater(t, a, r, Exclusive, 0, 10)
	far.ReleaseAll()
	granted(t, ahead)
	near.ReleaseAll()
	if n := waitingRanges(a); n != 1 {
		t.Errorf("%d wait, should be the wide one", n)
	}
	granted(t, behind)
	r.ReleaseAll()
	granted(t, barred)
	wide.ReleaseAll()

	tryRange(t, near, true, Exclusive, 0, 10)
	tryRange(t, far, true, Exclusive, 50, 10)
	all := lockLater(t, a, r, Exclusive, 0, 60)
	part := lockLater(t, a, r, Exclusive, 0, 10)
	near.ReleaseAll()
	if n := waitingRanges(a); n != 1 {
		t.Errorf("%d wait, should be the one for all", n)
	}
	granted(t, part)
	far.ReleaseAll()
	granted(t, all)
	for _, r := range []*Ranges{near, far, r, wide} {
		r.ReleaseAll()
	}
	expectNoRanges(t, a)
}

// What is gone, but nobody could take out of its tree when it went, for the
// latch's holder was stopped, is room for others.
func TestRangesGoneAreRoom(t *testing.T) {
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	left, r := a.Ranges("left"), a.Ranges("file")
	for i := range int64(20) {
		tryRange(t, left, true, Exclusive, i*10, 5)
	}
	n := int64(0)
	var err error
	for ok := true; ok; n++ {
		ok, err = r.TryLock(Exclusive, n*10, 5)
	}
	if !errors.Is(err, ErrTableFull) {
		t.Fatal(err)
	}
	a.core.eachRange(func(_ uint32, p *rangeRecord, owner uint64) {
		if kindOfRecord(owner).isRangeHeld() && p.slot.Load() == left.binding().index {
			p.owner.CompareAndSwap(owner, ownerAfterDeath(owner))
		}
	})
	tryRange(t, r, true, Exclusive, n*10, 5)
	r.ReleaseAll()
	left.ReleaseAll()
	expectNoRanges(t, a)
}

// A session that was lost keeps no records, if it holds nothing.
func TestLostSessionKeepsNoRanges(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	func() {
		s, r := a.Session("attack"), a.Ranges("file")
		if ok, err := s.TryLockRange(r, Exclusive, 0, 1); !ok {
			t.Error(err)
		}
		if err := s.ReleaseRange(r, 0, 1); err != nil {
			t.Error(err)
		}
	}()
	for until := time.Now().Add(proc.Soon); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		left := 0
		a.core.eachRange(func(uint32, *rangeRecord, uint64) { left++ })
		if left == 0 {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d records are left", left)
		}
	}
}

// A piece's place in its holder's list is not believed.
func TestRangePlaceDamaged(t *testing.T) {
	a := testArena(t, nil)
	r := a.Ranges("file")
	tryRange(t, r, true, Exclusive, 0, 10)
	i := r.holder.pieces[0]
	p := a.core.rangeAt(i)
	p.place.Store(77)
	r.holder.delist(p)
	p.place.Store(0)
	r.ReleaseAll()
	expectNoRanges(t, a)
}

// More than can be told of at once are left for later, all of them.
func TestRangesLeftForLater(t *testing.T) {
	var b rangeBells
	b.later(0, maxOffset)
	b.later(5, 6)
	if !b.more || b.first != 0 || b.last != maxOffset {
		t.Errorf("left is %d to %d", b.first, b.last)
	}
}

// Four thousand million holders later the numbers come round: two holders are
// not taken for one.
func TestRangeNumbersComeRound(t *testing.T) {
	a := testArena(t, nil)
	old := a.Ranges("file")
	tryRange(t, old, true, Exclusive, 0, 10)
	a.core.ranges.numbers.last = old.holder.number - 1
	late := a.Ranges("file")
	tryRange(t, late, false, Shared, 0, 10)
	old.ReleaseAll()
	late.ReleaseAll()
	expectNoRanges(t, a)
}

// Of one who died only claimed records are left, and nobody can settle him. What
// another has left undone is done at the next tick all the same.
func TestTickBesideTheUnsettled(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	holder, waiter := a.Ranges("queue"), a.Ranges("queue")
	tryRange(t, holder, true, Exclusive, 0, 10)
	c := a.core
	settler, ok := c.tryLatch(&c.head.settler, settlerDoor)
	for ; !ok; settler, ok = c.tryLatch(&c.head.settler, settlerDoor) {
		time.Sleep(time.Millisecond)
	}
	defer settler.release()
	p := startRangeWaiter(t, a.Path())
	p.Expect("ready")
	for _, order := range []string{"1 100 10", "1 110 10"} {
		p.Send("%s", order)
		p.Expect("ok")
	}
	p.Kill()
	lockRange(t, waiter, Exclusive, 100, 20) // its piece is taken away
	waiter.ReleaseAll()

	done := lockLater(t, a, waiter, Exclusive, 0, 10)
	at := holder.holder.pieces[0]
	r := c.rangeAt(at)
	r.owner.Store(ownerAfterDeath(r.owner.Load()))
	granted(t, done)
	if left := claimedOf(c, c.member); left == 0 {
		t.Error("nothing of the dead was left")
	}
	waiter.ReleaseAll()
	holder.ReleaseAll()
}

// claimedOf counts the records that others than a member have claimed.
func claimedOf(c *core, but robust.Member) (n int) {
	c.eachRange(func(_ uint32, _ *rangeRecord, owner uint64) {
		if kindOfRecord(owner) == rangeClaimed && ownerOfRecord(owner) != but {
			n++
		}
	})
	return n
}
