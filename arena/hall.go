package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

// hall is what this process knows of a semaphore in one incarnation, so that
// taking one ticket and giving it back are one compare-and-swap each.
//
//	take      state allows it · CAS(ticket: free → self) · state still allows it
//	give back CAS(ticket: self → free) · state says that nobody waits
//
// Whoever begins to wait, under the latch, sets await first and looks at the
// tickets then; so either he finds the ticket that was given back, or who gave
// it back finds await. And a newcomer who finds await after his swap undoes
// it: no request is overtaken, and no ticket is kept that a smaller capacity
// or a destroyer has taken away.
type hall struct {
	core        *core
	binding     *binding
	state       *atomic.Uint64
	incarnation uint32
	name        string
	free, self  uint64
	places      []*ticketPlace
	judged      atomic.Int64  // when a failed try last looked for the dead
	hint        atomic.Uint32 // of a large semaphore: where a free ticket was last seen
}

// fewTickets is up to how many tickets the lowest free one is looked for from
// the first on; beyond, that would cost more than a lock may.
const fewTickets = 64

// ticketPlace is one ticket. All but word is touched only by who holds the
// ticket in this process.
type ticketPlace struct {
	word   *atomic.Uint64
	number int
	turn   uint8
	single *[singleTurns]Tickets
}

// singleTurns: the Tickets of a single ticket are made once and used in turn,
// for allocating costs more than the rest. So a Tickets that was released is
// told from one that is held until its ticket was taken four more times.
const singleTurns = 4

// mayTake tells whether a newcomer may take this ticket: nobody waits, nobody
// destroys, and the capacity covers it.
func (h *hall) mayTake(st ticketState, number int) bool {
	return st.incarnation() == h.incarnation && !st.has(ticketsAwaited|ticketsEnding) && number < st.capacity()
}

// takeOne takes the lowest free ticket, or of a large semaphore any, without
// the latch. It returns nil if that is not to be had just now.
func (h *hall) takeOne() *Tickets {
	st := ticketState(h.state.Load())
	if !h.mayTake(st, 0) {
		return nil
	}
	places := h.places[:min(len(h.places), st.capacity())]
	if len(places) > fewTickets {
		// From the hint to the end, then from the beginning.
		start := int(h.hint.Load()) % len(places)
		for _, p := range places[start:] {
			if p.word.Load() == h.free && p.word.CompareAndSwap(h.free, h.self) {
				return h.keep(p, st)
			}
		}
		places = places[:start]
	}
	for _, p := range places {
		if p.word.Load() == h.free && p.word.CompareAndSwap(h.free, h.self) {
			return h.keep(p, st)
		}
	}
	return nil
}

// keep keeps the ticket of a place that was just swapped, if it may.
func (h *hall) keep(p *ticketPlace, st ticketState) *Tickets {
	crash.At("semaphore.swapped")
	if now := ticketState(h.state.Load()); now != st && !h.mayTake(now, p.number) {
		p.word.CompareAndSwap(h.self, h.free)
		crash.At("semaphore.undone")
		h.serve()
		return nil
	}
	raceGot(h.core, h.binding)
	if p.single == nil {
		h.makeSingles(p)
	}
	t := &p.single[p.turn%singleTurns]
	p.turn++
	t.live = true
	return t
}

//go:noinline
func (h *hall) makeSingles(p *ticketPlace) {
	p.single = new([singleTurns]Tickets)
	for i := range p.single {
		p.single[i].place, p.single[i].hall = p, h
	}
}

// hallOf returns the hall of a semaphore that exists, with all its tickets, at
// least so many.
func (s *Semaphore) hallOf(b *binding, least int) *hall {
	c := s.arena.core
	st := loadTickets(b.slot)
	least = max(least, st.capacity())
	old := s.cell.hall.Load()
	if old != nil && old.binding.slot == b.slot && old.incarnation == st.incarnation() && len(old.places) >= least {
		return old
	}
	h := &hall{
		core: c, binding: b, name: s.cell.name, state: &b.slot.state,
		incarnation: st.incarnation(), free: uint64(st.free()), self: uint64(c.self),
	}
	if old != nil && old.binding.slot == b.slot && old.incarnation == h.incarnation {
		h.places = append(h.places, old.places...)
	}
	known := len(h.places)
	c.eachTicket(b.index, b.slot, func(number int, word *atomic.Uint64) bool {
		if number >= known {
			h.places = append(h.places, &ticketPlace{word: word, number: number})
		}
		return true
	})
	if !s.cell.hall.CompareAndSwap(old, h) {
		// Two halls would have two places for one ticket, which is harmless.
		if other := s.cell.hall.Load(); other != nil && other.incarnation == h.incarnation && len(other.places) >= len(h.places) {
			return other
		}
	}
	return h
}
