package arena

import (
	"testing"

	"lockd/fuzz/explore"
	"lockd/internal/words"
)

// TestExploredRangeRule: the rule of who waits for whom is the one that the
// explorer has gone through.
func TestExploredRangeRule(t *testing.T) {
	var claims []rangeClaim
	for kind := rangeWaitShared; kind <= rangeGone; kind++ {
		for first := range uint64(3) {
			for last := first; last < 3; last++ {
				for _, party := range []uint64{partyOf(1<<32, 0), partyOf(2<<32, 0)} {
					claims = append(claims, rangeClaim{party, first, last, kind, 1}, rangeClaim{party, first, last, kind, 2})
				}
			}
		}
	}
	explored := func(c rangeClaim) explore.RangeClaim {
		return explore.RangeClaim{Party: c.party, First: c.first, Last: c.last, Kind: words.Kind(c.kind), Arrival: c.arrival}
	}
	for _, p := range claims {
		for _, q := range claims {
			if !q.kind.isRangeWait() {
				continue
			}
			if want, got := int(p.standingTo(q)), explored(p).StandingTo(explored(q)); got != want {
				t.Fatalf("%+v stands to %+v as %d, the explorer says %d", p, q, want, got)
			}
			if p.standingTo(q) != before {
				continue
			}
			for _, held := range claims {
				o := overtake(p, q)
				next := o.next
				want := o.past(held)
				if upTo, got := explored(q).Overtakes(explored(p), explored(held), next); got != want || upTo != o.next {
					t.Fatalf("%+v overtakes %+v with %+v: %v up to %d, the explorer says %v up to %d", q, p, held, want, o.next, got, upTo)
				}
			}
		}
	}
}
