package explore

import "lockd/internal/words"

// The rule of arena/rangerule.go, which a test of package arena compares with
// this one.

// The kinds of records that a Ranges has.
const (
	rangeClaimed       words.Kind = 32
	rangeWaitShared    words.Kind = 33
	rangeWaitExclusive words.Kind = 34
	rangeShared        words.Kind = 35
	rangeExclusive     words.Kind = 36
	rangeGone          words.Kind = 37
)

func inTree(k words.Kind) bool          { return k >= rangeWaitShared && k <= rangeGone }
func isRangeWait(k words.Kind) bool     { return k == rangeWaitShared || k == rangeWaitExclusive }
func isRangeHeld(k words.Kind) bool     { return k == rangeShared || k == rangeExclusive }
func isSharedKind(k words.Kind) bool    { return k == rangeWaitShared || k == rangeShared }
func grantedAs(k words.Kind) words.Kind { return k + rangeShared - rangeWaitShared }
func waitingAs(k words.Kind) words.Kind { return k - rangeShared + rangeWaitShared }

// RangeClaim is what a record says, or a request that has none yet.
type RangeClaim struct {
	Party       uint64
	First, Last uint64
	Kind        words.Kind
	Arrival     uint64
}

// The standings of a claim to a request: not in its way, held, or earlier.
const (
	rangeAside = iota
	rangeInWay
	rangeBefore
)

// StandingTo tells how a claim stands to the request q.
func (p RangeClaim) StandingTo(q RangeClaim) int {
	switch {
	case p.Party == q.Party, p.Last < q.First, p.First > q.Last, p.Kind == rangeGone,
		isSharedKind(p.Kind) && isSharedKind(q.Kind):
		return rangeAside
	case isRangeHeld(p.Kind):
		return rangeInWay
	case p.Arrival < q.Arrival:
		return rangeBefore
	}
	return rangeAside
}

// Overtakes is told of what overlaps the earlier request p, in order, and says
// whether the request q need not queue behind it. next is up to where all that
// both want is known to be held by q's holder.
func (q RangeClaim) Overtakes(p, held RangeClaim, next uint64) (upTo uint64, yes bool) {
	switch {
	case held.Party != q.Party, !isRangeHeld(held.Kind):
		return next, false
	case !isSharedKind(held.Kind), !isSharedKind(p.Kind):
		return next, true
	case held.First <= next && held.Last >= min(p.Last, q.Last):
		return next, true
	case held.First <= next && held.Last >= next:
		return held.Last + 1, false
	}
	return next, false
}
