package arena

// Who is in whose way: what a lock says of one who waits for it.

func (g *waitGraph) isBlocked(i int, stuck []bool) (blocked bool) {
	g.eachBlocker(i, stuck, func(int, Mode) bool {
		blocked = true
		return false
	})
	return blocked
}

// eachBlocker calls f with those of the stuck that actor i waits for, and how
// they hold what it wants; the zero mode is for who waits ahead of it. None of
// them: it can be served once all others have finished.
func (g *waitGraph) eachBlocker(i int, stuck []bool, f func(actor int, held Mode) bool) {
	a := &g.actors[i]
	l := g.locks[a.slot]
	switch {
	case l.kind == KindRWMutex && a.mode == Shared && !l.shut:
	case l.kind == KindMutex, l.kind == KindRWMutex:
		for _, h := range l.holders {
			// An exclusive request is an upgrade by who has the word: the readers
			// are in its way. All others wait for who has the word.
			upgrade := l.kind == KindRWMutex && a.mode == Exclusive
			if stuck[h.actor] && upgrade == (h.mode == Shared) && !f(h.actor, h.mode) {
				return
			}
		}
	case l.kind == KindSemaphore:
		g.eachTicketBlocker(i, stuck, f)
	case l.kind == KindRanges:
		g.eachRangeBlocker(i, stuck, f)
	}
}

// eachTicketBlocker: a request is served once those ahead of it are, and there
// are tickets enough. All the stuck who have tickets are in its way together.
func (g *waitGraph) eachTicketBlocker(i int, stuck []bool, f func(int, Mode) bool) {
	a := &g.actors[i]
	l := g.locks[a.slot]
	if a.count > l.capacity {
		return // it waits for another size
	}
	free := l.capacity
	for _, h := range l.holders {
		if stuck[h.actor] {
			free -= h.count
		}
	}
	ahead := -1
	for _, other := range l.queue {
		if other == i {
			break
		}
		if stuck[other] && g.actors[other].count <= l.capacity {
			ahead = other
			break
		}
	}
	if ahead < 0 && free >= a.count {
		return
	}
	if ahead >= 0 && !f(ahead, 0) {
		return
	}
	for _, h := range l.holders {
		if free < a.count && stuck[h.actor] && !f(h.actor, h.mode) {
			return
		}
	}
}

// eachRangeBlocker: what others hold is in the way, and who came earlier where
// the holder has nothing yet.
func (g *waitGraph) eachRangeBlocker(i int, stuck []bool, f func(int, Mode) bool) {
	l := g.locks[g.actors[i].slot]
	l.eachAhead(l.wants[i], l.pieces, stuck, f)
}

// eachAhead calls f for those of some pieces that are in the way of what is wanted.
func (l *graphLock) eachAhead(wants, ahead []graphPiece, stuck []bool, f func(int, Mode) bool) {
	for _, want := range wants {
		for _, p := range ahead {
			if p.actor < 0 || !stuck[p.actor] || p.holder == want.holder || p.last < want.first || p.first > want.last || p.shared && want.shared {
				continue
			}
			mode := Exclusive
			switch {
			case p.wanted && (p.arrival >= want.arrival || waitsFor(p, l.pieces, want.holder) ||
				isCovered(l.pieces, want.holder, max(p.first, want.first), min(p.last, want.last))):
				continue // see overtaking
			case p.wanted:
				mode = 0
			case p.shared:
				mode = Shared
			}
			if !f(p.actor, mode) {
				return
			}
		}
	}
}

// waitsFor tells whether a request waits for something that a holder has.
func waitsFor(p graphPiece, pieces []graphPiece, holder uint64) bool {
	for _, o := range pieces {
		if !o.wanted && o.holder == holder && o.first <= p.last && o.last >= p.first && !(o.shared && p.shared) {
			return true
		}
	}
	return false
}

// isCovered tells whether a holder holds all of a range.
func isCovered(pieces []graphPiece, holder, first, last uint64) bool {
	for at := first; ; {
		next, found := uint64(0), false
		for _, p := range pieces {
			if !p.wanted && p.holder == holder && p.first <= at && p.last >= at {
				next, found = max(next, p.last), true
			}
		}
		switch {
		case !found:
			return false
		case next >= last:
			return true
		}
		at = next + 1
	}
}
