package arena

import (
	"cmp"
	"math"
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

// arrival is an actor's first place in the queue for ranges.
func (l *graphLock) arrival(i int) uint64 {
	first := uint64(math.MaxUint64)
	for _, want := range l.wants[i] {
		first = min(first, want.arrival)
	}
	return first
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
		switch l.kind {
		case KindSemaphore:
			g.serveTickets(l, stuck, look)
		case KindRanges:
			g.serveRanges(l, stuck, look)
		default:
			for _, i := range l.waiting {
				if stuck[i] && !g.isBlocked(i, stuck) {
					g.finished(i, stuck, look)
				}
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

// serveRanges serves who waits for ranges, in the order of arrival: each need be
// held against those only who remain of those before it.
func (g *waitGraph) serveRanges(l *graphLock, stuck []bool, look *slotQueue) {
	var remain []graphPiece
	for _, p := range l.pieces {
		if !p.wanted && p.actor >= 0 && stuck[p.actor] {
			remain = append(remain, p)
		}
	}
	for _, i := range l.waiting {
		if !stuck[i] {
			continue
		}
		wants := l.wants[i]
		ahead := remain
		if len(wants) != 1 { // others may have come between its requests
			ahead = l.pieces
		}
		blocked := false
		l.eachAhead(wants, ahead, stuck, func(int, Mode) bool {
			blocked = true
			return false
		})
		if blocked {
			remain = append(remain, wants...)
		} else {
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
