package arena

import (
	"cmp"
	"slices"
)

// The wait-for graph, as plain data: no shared memory, no clock. Detectors
// make one from what they read of a living arena, WaitGraph from a snapshot.
//
// Who is deadlocked is found by taking away who is not. Everybody who does not
// wait is taken to finish some day and to give back all that it holds; so is
// every holder that is no session, for nothing is known of it. Then whoever
// waits for what these give back gets it, and finishes in its turn; and so on.
// Those who remain wait for each other for ever. For locks of one holder that
// is the same as looking for cycles; for k tickets of n, for many readers and
// for queues a cycle alone would prove nothing.

// waitGraph is who waits for what, and who holds what.
type waitGraph struct {
	actors []graphActor
	locks  map[uint32]*graphLock // by slot: at least those that are waited for
}

// graphActor is a session, or a request that no session makes: that one holds
// nothing, but others may have to queue behind it.
type graphActor struct {
	waits bool
	slot  uint32 // what it waits for
	mode  Mode
	count int
	holds []uint32 // slots
}

// graphLock is a lock as far as sessions hold it and requests wait for it.
// What is held otherwise is as good as free.
type graphLock struct {
	kind     Kind
	shut     bool // an rwmutex: its gate is shut, readers wait
	capacity int  // a semaphore: tickets, held and free
	holders  []graphHolder
	queue    []int                // a semaphore: actors that wait, in order
	pieces   []graphPiece         // ranges: held, and waited for
	waiting  []int                // actors; made by index, of ranges in the order of arrival
	queued   map[int]bool         // those in queue; made by index
	wants    map[int][]graphPiece // by actor; made by index
}

type graphHolder struct {
	actor int
	mode  Mode
	count int
}

// graphPiece is a part of ranges that is held or wanted. Its actor is -1 if it
// is held by no session.
type graphPiece struct {
	actor       int
	holder      uint64 // pieces of one holder never stand in each other's way
	first, last uint64
	shared      bool
	wanted      bool
	arrival     uint64 // of what is wanted: its place in the queue
}

// index makes what is derived.
func (g *waitGraph) index() {
	for slot, l := range g.locks {
		l.waiting = l.waiting[:0]
		l.queued, l.wants = make(map[int]bool, len(l.queue)), make(map[int][]graphPiece)
		for _, i := range l.queue {
			l.queued[i] = true
		}
		for _, h := range l.holders {
			g.actors[h.actor].holds = append(g.actors[h.actor].holds, slot)
		}
		for _, p := range l.pieces {
			if p.wanted {
				l.wants[p.actor] = append(l.wants[p.actor], p)
			} else if p.actor >= 0 {
				g.actors[p.actor].holds = append(g.actors[p.actor].holds, slot)
			}
		}
	}
	for i := range g.actors {
		if a := &g.actors[i]; a.waits {
			if l := g.locks[a.slot]; l != nil {
				l.waiting = append(l.waiting, i)
			}
		}
	}
	for _, l := range g.locks {
		if l.kind == KindRanges {
			slices.SortStableFunc(l.waiting, func(i, j int) int { return cmp.Compare(l.arrival(i), l.arrival(j)) })
		}
	}
}

// arrival is an actor's place in the queue for ranges.
func (l *graphLock) arrival(i int) uint64 {
	if wants := l.wants[i]; len(wants) > 0 {
		return wants[0].arrival
	}
	return 0
}

// stuck tells of each actor whether it remains when all who can finish have.
func (g *waitGraph) stuck() []bool {
	stuck := make([]bool, len(g.actors))
	look := newSlotQueue(g)
	for i, a := range g.actors {
		stuck[i] = a.waits && g.locks[a.slot] != nil
		if stuck[i] {
			look.add(a.slot)
		}
	}
	g.serve(look, stuck)
	return stuck
}

// finish has one of the stuck finish, and all who then can.
func (g *waitGraph) finish(i int, stuck []bool) {
	look := newSlotQueue(g)
	g.finished(i, stuck, look)
	g.serve(look, stuck)
}

func (g *waitGraph) finished(i int, stuck []bool, look *slotQueue) {
	stuck[i] = false
	look.add(g.actors[i].slot) // others may have queued behind it
	for _, held := range g.actors[i].holds {
		look.add(held)
	}
}

func (g *waitGraph) serve(look *slotQueue, stuck []bool) {
	for len(look.slots) > 0 {
		l := g.locks[look.take()]
		if l.kind == KindSemaphore {
			g.serveTickets(l, stuck, look)
			continue
		}
		for _, i := range l.waiting {
			if stuck[i] && !g.isBlocked(i, stuck) {
				g.finished(i, stuck, look)
			}
		}
	}
}

// serveTickets serves a semaphore's queue as far as there are tickets. Only the
// first of those who remain can be served, so nobody need look at all others.
func (g *waitGraph) serveTickets(l *graphLock, stuck []bool, look *slotQueue) {
	free := l.capacity
	for _, h := range l.holders {
		if stuck[h.actor] {
			free -= h.count
		}
	}
	ahead := false // somebody remains in the queue
	for _, i := range l.queue {
		switch count := g.actors[i].count; {
		case !stuck[i]:
		case count > l.capacity: // it waits for another size, and holds up nobody
			g.finished(i, stuck, look)
		case !ahead && free >= count:
			g.finished(i, stuck, look)
		default:
			ahead = true
		}
	}
	for _, i := range l.waiting {
		if stuck[i] && !l.queued[i] && (g.actors[i].count > l.capacity || !ahead && free >= g.actors[i].count) {
			g.finished(i, stuck, look)
		}
	}
}

// slotQueue is slots to look at, each at most once.
type slotQueue struct {
	graph *waitGraph
	slots []uint32
	there map[uint32]bool
}

func newSlotQueue(g *waitGraph) *slotQueue { return &slotQueue{graph: g, there: make(map[uint32]bool)} }

func (q *slotQueue) add(slot uint32) {
	if l := q.graph.locks[slot]; l != nil && len(l.waiting) > 0 && !q.there[slot] {
		q.there[slot] = true
		q.slots = append(q.slots, slot)
	}
}

func (q *slotQueue) take() uint32 {
	slot := q.slots[len(q.slots)-1]
	q.slots = q.slots[:len(q.slots)-1]
	q.there[slot] = false
	return slot
}

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
	pieces := l.pieces
	for _, want := range l.wants[i] {
		for _, p := range pieces {
			if p.actor < 0 || !stuck[p.actor] || p.holder == want.holder || p.last < want.first || p.first > want.last || p.shared && want.shared {
				continue
			}
			mode := Exclusive
			switch {
			case p.wanted && (p.arrival >= want.arrival || waitsFor(p, pieces, want.holder) ||
				isCovered(pieces, want.holder, max(p.first, want.first), min(p.last, want.last))):
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

// cycle returns the shortest cycle among the stuck that begins and ends at
// actor i, without naming i twice; nil if there is none.
func (g *waitGraph) cycle(i int, stuck []bool) []int {
	if !stuck[i] {
		return nil
	}
	from := map[int]int{}
	for queue := []int{i}; len(queue) > 0; queue = queue[1:] {
		at, closed := queue[0], false
		g.eachBlocker(at, stuck, func(j int, _ Mode) bool {
			if closed = j == i; closed {
				return false
			}
			if _, met := from[j]; !met {
				from[j] = at
				queue = append(queue, j)
			}
			return true
		})
		if closed {
			path := []int{at}
			for at != i {
				at = from[at]
				path = append(path, at)
			}
			for l, r := 0, len(path)-1; l < r; l, r = l+1, r-1 {
				path[l], path[r] = path[r], path[l]
			}
			return path
		}
	}
	return nil
}

// closure returns, of the stuck, all that actor i waits for, directly or not,
// and itself: what a verdict on it rests on.
func (g *waitGraph) closure(i int, stuck []bool) []int {
	met := map[int]bool{i: true}
	all := []int{i}
	for k := 0; k < len(all); k++ {
		g.eachBlocker(all[k], stuck, func(j int, _ Mode) bool {
			if !met[j] {
				met[j] = true
				all = append(all, j)
			}
			return true
		})
	}
	return all
}

// heldAs returns how actor j stands in the way of actor i.
func (g *waitGraph) heldAs(i, j int, stuck []bool) (mode Mode) {
	g.eachBlocker(i, stuck, func(actor int, held Mode) bool {
		if actor != j {
			return true
		}
		mode = held
		return mode == 0 // a holding says more than a place in a queue
	})
	return mode
}
