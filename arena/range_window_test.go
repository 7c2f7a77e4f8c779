//go:build lockd_crash

package arena

import (
	"testing"

	"lockd/internal/crash"
)

// TestRangesWindows runs these.

// A request is withdrawn in the moment in which it would be granted, by who is
// killed right then. Who waits behind it goes.
func TestRangeWithdrawnWhenGranted(t *testing.T) {
	a := testArena(t, nil)
	holder, first, second := a.Ranges("file"), a.Ranges("file"), a.Ranges("file")
	tryRange(t, holder, true, Exclusive, 0, 10)
	d := latchedDesk(t, holder)
	h := first.holder
	h.pieces = make([]uint32, 0, firstPieces)
	records, err := a.core.claimRanges(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	h.spares[0], h.spare = records[0], 1
	_, p := d.enqueue(h, span{0, 9, rangeExclusive})
	d.leave()
	behind := lockLater(t, a, second, Exclusive, 0, 10)
	crash.Pause("range.granting", func() {
		owner := p.owner.Load()
		p.owner.CompareAndSwap(owner, ownerAfterDeath(owner))
	})
	giveBack(t, holder, 0, 10)
	if n := waitingRanges(a); n != 0 {
		t.Errorf("%d wait behind nobody", n)
	}
	granted(t, behind)
	for _, r := range []*Ranges{holder, first, second} {
		r.ReleaseAll()
	}
	expectNoRanges(t, a)
}

// While the tree is made anew, a record of another one comes to serve a
// session, and says where a record of ranges says its slot what would be this.
func TestRebuildMeetsForeignRecord(t *testing.T) {
	a := testArena(t, nil)
	r, s := a.Ranges("file"), a.Ranges("other")
	tryRange(t, r, true, Exclusive, 0, 10)
	tryRange(t, s, true, Exclusive, 0, 10)
	tryRange(t, s, true, Exclusive, 20, 10)
	foreign := a.core.rangeAt(1)
	was, slot := foreign.owner.Load(), foreign.slot.Load()
	self := a.core.member
	foreign.slot.Store(s.binding().index)
	foreign.owner.Store(recordOwner(self, rangeExclusive))
	foreign.leftMax.Store(12345)
	d := latchedDesk(t, r)
	crash.Pause("range.read", func() {
		foreign.owner.Store(recordOwner(self, recordHoldings))
		foreign.slot.Store(r.binding().index)
	})
	d.rebuild()
	if foreign.leftMax.Load() != 12345 || d.b.slot.records.Load() == 1 {
		t.Error("a record of a session was taken into the tree")
	}
	foreign.owner.Store(was)
	foreign.slot.Store(slot)
	d.leave()
	r.ReleaseAll()
	s.ReleaseAll()
	expectNoRanges(t, a)
}
