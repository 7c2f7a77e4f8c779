package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
)

// rangeHolder is what one handle to a Ranges holds. Its fields from desk on are
// used only by who holds the slot's latch.
type rangeHolder struct {
	core    *core
	name    string
	number  uint32
	session uint32
	where   string       // in the source: who made it; a session's holder has none
	asking  atomic.Int32 // requests that are not collected or given up yet

	desk   rangeDesk
	spares [rangeSpares]uint32 // claimed records
	spare  int
	pieces []uint32 // the records that are held, in no order
}

const (
	// rangeSpares is how many claimed records a holder keeps, so that taking and
	// giving back need not look for any.
	rangeSpares = 8
	// rangeClaims is how many are claimed at a time. One operation needs two at
	// most: for a piece in the middle of another, and what is left of that one
	// behind it.
	rangeClaims = 4

	firstPieces = 8
)

// What a record's place says that is in no holder's list.
const (
	placeGranted = 1<<32 - 3 // it was granted; its owner has not collected it yet
	placeWaiting = 1<<32 - 2 // it is counted among those that wait
	placeHolding = 1<<32 - 1 // the same, and its holder held or waited for something when it began
)

func (h *rangeHolder) party() uint64 { return partyOf(recordOwner(h.core.member, 0), h.number) }

// owns tells whether a record is a piece that the holder has, and has collected.
func (h *rangeHolder) owns(i uint32, r *rangeRecord) bool {
	place := r.place.Load()
	return place < uint32(len(h.pieces)) && h.pieces[place] == i && kindOfRecord(r.owner.Load()).isRangeHeld() &&
		partyOf(r.owner.Load(), r.holder.Load()) == h.party()
}

// has tells whether n more pieces can be made with what is at hand.
func (h *rangeHolder) has(n int) bool { return h.spare >= n && cap(h.pieces)-len(h.pieces) >= n }

// pick takes a spare record.
func (h *rangeHolder) pick() (uint32, *rangeRecord) {
	h.spare--
	i := h.spares[h.spare]
	return i, h.core.rangeAt(i)
}

// put gives a record back that is in no tree and says that it is claimed.
func (h *rangeHolder) put(i uint32, r *rangeRecord) {
	if h.spare < rangeSpares {
		if h.spares[h.spare] == i {
			h.spare++ // it was taken from there, and those before it are as they were
			return
		}
		h.shelve(i)
		return
	}
	r.owner.CompareAndSwap(recordOwner(h.core.member, rangeClaimed), 0)
	crash.At("range.spared")
}

// shelve keeps a record at hand, in such an order that the one is taken first
// that will lie lowest in the tree: what is taken and given back then changes
// the fewest others. The form of the tree stays as good as random, for the
// order has nothing to do with what is taken.
func (h *rangeHolder) shelve(i uint32) {
	if h.spare++; h.spare < rangeSpares {
		h.spares[h.spare] = 0
	}
	n, mine := h.spare-1, priority(i)
	for ; n > 0 && priority(h.spares[n-1]) < mine; n-- {
		h.spares[n] = h.spares[n-1]
	}
	h.spares[n] = i
}

// list puts a record into the list of pieces.
func (h *rangeHolder) list(i uint32, r *rangeRecord) {
	r.place.Store(uint32(len(h.pieces)))
	h.pieces = append(h.pieces, i)
}

// delist takes a record out of the list.
func (h *rangeHolder) delist(r *rangeRecord) {
	place, end := r.place.Load(), len(h.pieces)-1
	if int64(place) > int64(end) {
		return
	}
	moved := h.pieces[end]
	h.pieces[place] = moved
	if m := h.core.rangeAt(moved); m != nil {
		change(&m.place, place)
	}
	h.pieces = h.pieces[:end]
}

// rangeStock is what was claimed for a holder outside of the latch.
type rangeStock struct {
	records []uint32
	pieces  []uint32 // larger than what the holder has
}

// prepare claims what the holder is short of.
func (h *rangeHolder) prepare(ctx context.Context, stock *rangeStock, room int) error {
	if room > cap(stock.pieces) {
		stock.pieces = make([]uint32, 0, room)
	}
	if len(stock.records) > 0 {
		return nil
	}
	var err error
	stock.records, err = h.core.claimRanges(ctx, rangeClaims)
	return err
}

// restock gives the holder what was claimed, and says how many pieces it must
// have room for. Called under the latch.
func (h *rangeHolder) restock(stock *rangeStock) (room int) {
	if cap(stock.pieces) > cap(h.pieces) {
		h.pieces, stock.pieces = append(stock.pieces, h.pieces...), nil
	}
	for ; h.spare < rangeSpares && len(stock.records) > 0; stock.records = stock.records[1:] {
		h.shelve(stock.records[0])
	}
	return max(firstPieces, 2*len(h.pieces))
}

func (s *rangeStock) giveBack(c *core) {
	for _, i := range s.records {
		c.rangeAt(i).owner.CompareAndSwap(recordOwner(c.member, rangeClaimed), 0)
		crash.At("range.unstocked")
	}
	s.records = nil
}

// claimRanges claims records, growing the arena if it has to, or fewer if there
// are no more.
func (c *core) claimRanges(ctx context.Context, n int) (claimed []uint32, err error) {
	deadline := futex.Now() + int64(busyPatience)
	for settled := false; len(claimed) < n; {
		had := c.segments()
		i := c.claimRecord(rangeClaimed)
		if i == 0 {
			i = c.claimAnyRecord(rangeClaimed)
		}
		if i != 0 {
			crash.At("range.claimed")
			claimed = append(claimed, i)
			continue
		}
		grown, err := c.grow(ctx, had)
		switch {
		case grown:
		case len(claimed) > 0:
			return claimed, nil
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && futex.Now() < deadline && !c.gate.closing():
			// Who grows may be stopped; records may be freed meanwhile.
		case err == nil && !settled:
			settled = true
			c.settleForRoom()
		default:
			if err == nil {
				err = c.recordsFull()
			}
			return nil, err
		}
	}
	return claimed, nil
}

// giveBackSpares is called under the latch.
func (h *rangeHolder) giveBackSpares() {
	for ; h.spare > 0; h.spare-- {
		h.core.rangeAt(h.spares[h.spare-1]).owner.CompareAndSwap(recordOwner(h.core.member, rangeClaimed), 0)
		crash.At("range.freed")
	}
}

// leaked is called when the handle is collected: nobody can release any more
// what it holds.
func (h *rangeHolder) leaked() {
	c := h.core
	if !c.gate.enter() {
		return
	}
	defer c.gate.leave()
	if b := h.desk.b; b != nil {
		raceAcquire(c, b)
	}
	h.giveBackSpares()
	switch n := len(h.pieces); {
	case n == 0:
		c.ranges.numbers.free(h.number)
	case h.where != "":
		c.log.Error("a handle to ranges was dropped while it held some; they stay held until the process closes the arena or ends",
			"ranges", h.name, "held", n, "made", h.where)
	}
}

// maker says where in the source the caller's caller is.
func maker(skip int) string {
	var pcs [1]uintptr
	if runtime.Callers(skip+2, pcs[:]) == 0 {
		return "unknown"
	}
	frame, _ := runtime.CallersFrames(pcs[:]).Next()
	return fmt.Sprintf("%s:%d", frame.File, frame.Line)
}

// held copies the pieces, in order. Called under the latch; all has room.
func (h *rangeHolder) held(all []Range) []Range {
	for _, i := range h.pieces {
		r := h.core.rangeAt(i)
		if r == nil || !h.owns(i, r) {
			continue
		}
		mode := Exclusive
		if kindOfRecord(r.owner.Load()).isShared() {
			mode = Shared
		}
		all = append(all, rangeOf(mode, r.first.Load(), r.last.Load()))
	}
	return all
}

func sortRanges(all []Range) {
	slices.SortFunc(all, func(a, b Range) int { return int(min(1, max(-1, a.Start-b.Start))) })
}
