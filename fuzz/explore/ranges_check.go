package explore

import (
	"fmt"

	"lockd/internal/words"
	"lockd/robust"
)

// What must hold of ranges.

// heldBits is what holds says of a place: 0, 1 shared, or 2 exclusively.
func heldBits(holds uint64, name int, place uint64) uint64 {
	return holds >> (8*name + 2*int(place)) & 3
}

func withHeld(holds uint64, name int, place, mode uint64) uint64 {
	shift := 8*name + 2*int(place)
	return holds&^(3<<shift) | mode<<shift
}

// check looks for a place that two hold, and for one that was taken from the
// living.
func (x *ranges) check(s *State) string {
	for n := range x.setup.Names {
		for place := range uint64(places) {
			all, most := uint64(0), uint64(0)
			for _, at := range x.holds {
				v := heldBits(s.Mem[at], n, place)
				all, most = all+v, max(most, v)
			}
			if most == 2 && all > 2 {
				return fmt.Sprintf("place %d is held exclusively, and by another", place)
			}
		}
		if w := robust.Word(s.Mem[x.latch[n]]); w.IsFree() {
			if wrong := x.checkWhole(s, n); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

// checkWhole looks at what a latch guards while nobody holds it.
func (x *ranges) checkWhole(s *State, n int) string {
	waiting := false
	for i, at := range x.owner {
		kind := words.KindOf(s.Mem[at])
		listed := s.Mem[x.tree[n]]>>i&1 != 0
		if listed && !inTree(kind) {
			return fmt.Sprintf("record %d is in the tree, and is none of it", i+1)
		}
		if inTree(kind) && rangeBody(s.Mem[x.body[i]]).name() == n {
			if !listed {
				return fmt.Sprintf("record %d is not in the tree", i+1)
			}
			waiting = waiting || isRangeWait(kind)
		}
	}
	if waiting && s.Mem[x.count[n]] == 0 {
		return "somebody waits, and nobody is counted"
	}
	for k, at := range x.holds {
		for place := range uint64(places) {
			if mode := heldBits(s.Mem[at], n, place); mode != 0 && !x.covered(s, k, n, place, mode) {
				return fmt.Sprintf("place %d was taken from process %d, which lives", place, k+1)
			}
		}
	}
	return ""
}

// covered tells whether a record says that a process holds a place.
func (x *ranges) covered(s *State, k, n int, place, mode uint64) bool {
	for i, at := range x.owner {
		b := rangeBody(s.Mem[x.body[i]])
		if words.MemberOf(s.Mem[at]) != memberOf(k) || b.name() != n || b.first() > place || b.last() < place {
			continue
		}
		if kind := words.KindOf(s.Mem[at]); kind == rangeExclusive || kind == rangeShared && mode == 1 {
			return true
		}
	}
	return false
}
