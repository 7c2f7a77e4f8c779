package arena

import (
	"sync/atomic"
	"unsafe"

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

	// For the usual case, that of the first ticket of a semaphore that nobody
	// waits for: each step less from pointer to pointer shows.
	stateWord *uint64
	calm      uint64 // the state while that is so; noCalm if there are too many tickets
	first     *ticketPlace
	firstWord *uint64

	judged atomic.Int64  // when a failed try last looked for the dead
	hint   atomic.Uint32 // of a large semaphore: where a free ticket was last seen
}

// noCalm is a state that is none.
const noCalm = 1

// fewTickets is up to how many tickets the lowest free one is looked for from
// the first on; beyond, that would cost more than a lock may.
const fewTickets = 64

// ticketPlace is one ticket.
type ticketPlace struct {
	word   *atomic.Uint64
	number int
	// turn counts how often this process has given the ticket back; it is
	// written by who holds the ticket, just before. So a Tickets that was
	// released already is told from the one that is held, however often the
	// ticket was taken since. It is not atomic, which would cost too much: who
	// releases twice at the same time races, and the race detector says so.
	turn uint64
}

// mayTake tells whether a newcomer may take this ticket: nobody waits, nobody
// destroys, and the capacity covers it.
func (h *hall) mayTake(st ticketState, number int) bool {
	if variantOvertakeQueue {
		st &^= ticketsAwaited
	}
	return st.incarnation() == h.incarnation && !st.has(ticketsAwaited|ticketsEnding) && number < st.capacity()
}

// isCalm tells whether a newcomer may take the first ticket, and who gives one
// back has nothing else to do.
func (h *hall) isCalm() bool { return atomic.LoadUint64(h.stateWord) == h.calm }

// swapFirst takes the first ticket if it is free and may be taken; whether it
// may be kept is to be seen. It is small enough to be inlined.
func (h *hall) swapFirst() bool {
	return h.isCalm() && atomic.LoadUint64(h.firstWord) == h.free && atomic.CompareAndSwapUint64(h.firstWord, h.free, h.self)
}

func (h *hall) keepFirst() bool {
	_, kept := h.keep(h.first, ticketState(h.calm))
	return kept
}

// takeOne takes the lowest free ticket, or of a large semaphore any, without
// the latch. It is false if that is not to be had just now.
func (h *hall) takeOne() (Tickets, bool) {
	st := ticketState(h.state.Load())
	if !h.mayTake(st, 0) {
		return Tickets{}, false
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
	return Tickets{}, false
}

// keep keeps a ticket that was just taken if the state still allows it. A
// state that has not changed since it was looked at does.
func (h *hall) keep(p *ticketPlace, st ticketState) (Tickets, bool) {
	crash.At("semaphore.swapped")
	if now := ticketState(h.state.Load()); now != st && !h.mayTake(now, p.number) && !variantLookOnce {
		p.word.CompareAndSwap(h.self, h.free)
		crash.At("semaphore.undone")
		h.serve()
		return Tickets{}, false
	}
	raceGot(h.core, h.binding)
	return Tickets{hall: h, place: p, turn: p.turn}, true
}

// of tells whether the hall is of this incarnation of the binding's semaphore.
func (h *hall) of(b *binding, incarnation uint32) bool {
	return h != nil && h.incarnation == incarnation && h.binding.slot == b.slot
}

// hallOf returns the hall of a semaphore in this incarnation, with all its
// tickets, or nil if that is over. If it ends later the hall is of no use to
// anybody, whatever was read of the tickets: the state is another.
func (s *Semaphore) hallOf(b *binding, incarnation uint32) *hall {
	crash.At("hall.look")
	c := s.arena.core
	st := loadTickets(b.slot)
	if st.incarnation() != incarnation {
		return nil
	}
	old := s.cell.hall.Load()
	if old.of(b, incarnation) && len(old.places) >= st.capacity() {
		return old
	}
	h := &hall{
		calm: noCalm,
		core: c, binding: b, name: s.cell.name, state: &b.slot.state,
		incarnation: incarnation, free: uint64(st.free()), self: uint64(c.self),
	}
	if old.of(b, incarnation) {
		h.places = append(h.places, old.places...)
	}
	known := len(h.places)
	c.eachTicket(b.index, b.slot, func(number int, word *atomic.Uint64) bool {
		if number >= known {
			h.places = append(h.places, &ticketPlace{word: word, number: number})
		}
		return true
	})
	h.stateWord = (*uint64)(unsafe.Pointer(h.state))
	if n := len(h.places); n > 0 && n <= fewTickets && !slowOnly && !variantLookOnce {
		h.first, h.firstWord = h.places[0], (*uint64)(unsafe.Pointer(h.places[0].word))
		h.calm = uint64(newTicketState(incarnation, st.capacity()))
	}
	if !s.cell.hall.CompareAndSwap(old, h) {
		// Two halls would have two places for one ticket, each with turns of its
		// own, which is harmless.
		if other := s.cell.hall.Load(); other.of(b, incarnation) && len(other.places) >= len(h.places) {
			return other
		}
	}
	return h
}
