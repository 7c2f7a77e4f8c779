package arena

import "lockd/robust"

// The kinds of records that a Ranges has.
//
//	claimed ──▶ held ──▶ claimed or free
//	claimed ──▶ waiting ──granted──▶ held
//	                └─────withdrawn──▶ gone ──▶ free
//	held or waiting of the dead ─────▶ gone ──▶ free
//
// A holder keeps a few claimed records, which are in no tree. All other changes
// but those to gone are made under the slot's latch. Gone names nobody; a
// holder of the latch takes it out of the tree and frees it. So a record in a
// tree is never free.
const (
	rangeClaimed       recordKind = 32
	rangeWaitShared    recordKind = 33
	rangeWaitExclusive recordKind = 34
	rangeShared        recordKind = 35
	rangeExclusive     recordKind = 36
	rangeGone          recordKind = 37
)

// inTree tells the kinds of records that a tree of ranges may lead to.
func (k recordKind) inTree() bool { return k >= rangeWaitShared && k <= rangeGone }

func (k recordKind) isRangeWait() bool { return k == rangeWaitShared || k == rangeWaitExclusive }
func (k recordKind) isRangeHeld() bool { return k == rangeShared || k == rangeExclusive }

// isShared is for waiting and held kinds.
func (k recordKind) isShared() bool { return k == rangeWaitShared || k == rangeShared }

// granted is what a waiting kind becomes.
func (k recordKind) granted() recordKind { return k + rangeShared - rangeWaitShared }

// waiting is what a held kind waits as.
func (k recordKind) waiting() recordKind { return k - rangeShared + rangeWaitShared }

// maxOffset is the last offset that there is: 2^63 − 1.
const maxOffset = 1<<63 - 1

// rangeClaim is what a record says, or a request that has no record yet. The
// kind of a request is what it waits as.
type rangeClaim struct {
	party       uint64 // whose: the upper half of an owner word, and the holder
	first, last uint64
	kind        recordKind
	arrival     uint64 // of a request without a record: later than any
}

const noArrival = 1<<64 - 1

func partyOf(owner uint64, holder uint32) uint64 { return owner&^(1<<32-1) | uint64(holder) }

func (p rangeClaim) member() robust.Member { return ownerOfRecord(p.party) }

func claimOf(r *rangeRecord) rangeClaim {
	owner := r.owner.Load()
	return rangeClaim{
		party: partyOf(owner, r.holder.Load()), kind: kindOfRecord(owner),
		first: r.first.Load(), last: r.last.Load(), arrival: r.arrival.Load(),
	}
}

// standing is how one claim stands to a request.
type standing uint8

const (
	aside  standing = iota // not in its way
	inWay                  // held
	before                 // earlier in the queue; see overtaking
)

// standingTo is the rule of who waits for whom: a request waits for what others
// hold of its range, and for earlier requests for any of it, unless both are
// shared.
func (p rangeClaim) standingTo(q rangeClaim) standing {
	switch {
	case p.party == q.party, p.last < q.first, p.first > q.last, p.kind == rangeGone,
		p.kind.isShared() && q.kind.isShared():
		return aside
	case p.kind.isRangeHeld():
		return inWay
	case p.arrival < q.arrival && !variantOvertakeRanges:
		return before
	}
	return aside
}

// overtaking finds out whether the request q need not queue behind the earlier
// request p: its holder has what the two overlap in (a conversion goes before
// the queue), or p waits for something that q's holder has, so that the two
// would wait for each other.
type overtaking struct {
	p, q     rangeClaim
	next, to uint64 // what of the overlap is not known to be held
}

func overtake(p, q rangeClaim) overtaking {
	return overtaking{p, q, max(p.first, q.first), min(p.last, q.last)}
}

// past is told of what overlaps p, in order, until it says that q goes first.
func (o *overtaking) past(held rangeClaim) bool {
	switch {
	case variantQueueConversions, held.party != o.q.party, !held.kind.isRangeHeld():
		return false
	case !held.kind.isShared(), !o.p.kind.isShared():
		return true
	case held.first <= o.next && held.last >= o.to:
		return true
	case held.first <= o.next && held.last >= o.next:
		o.next = held.last + 1
	}
	return false
}
