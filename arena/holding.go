package arena

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"lockd/internal/crash"
)

// Tickets are tickets of a semaphore that this process holds. Any goroutine of
// the process may release them. A Tickets may be copied; all copies are one
// holding, and after the last ticket was released through one of them, the
// others release nothing.
type Tickets struct {
	hall  *hall
	place *ticketPlace // of a single ticket that was taken without waiting
	turn  uint64       // the place's, when it was taken
	many  *ticketSet   // of others
}

// ticketSet are tickets that were taken under the latch, or granted.
type ticketSet struct {
	mu   sync.Mutex
	held []heldTicket // ascending
}

type heldTicket struct {
	number int
	word   *atomic.Uint64
}

func compareTickets(t heldTicket, number int) int { return t.number - number }

// Numbers returns which tickets are held, in ascending order.
func (t Tickets) Numbers() []int {
	switch {
	case t.place != nil && t.turn == t.place.turn:
		return []int{t.place.number}
	case t.many == nil:
		return nil
	}
	t.many.mu.Lock()
	defer t.many.mu.Unlock()
	numbers := make([]int, 0, len(t.many.held))
	for _, h := range t.many.held {
		numbers = append(numbers, h.number)
	}
	return numbers
}

// Count returns how many tickets are held.
func (t Tickets) Count() int {
	return len(t.Numbers())
}

// Release gives back all tickets that are still held. It does not wait, except
// for the processor. If none is held, it returns ErrNotHeld. After the arena
// was closed, which gave them back, it does nothing.
func (t Tickets) Release() error {
	p, h := t.place, t.hall
	if p == nil || p.turn != t.turn {
		return t.release(nil)
	}
	p.turn++
	raceGave(h.core, h.binding)
	if !p.word.CompareAndSwap(h.self, h.free) {
		return t.lost()
	}
	crash.At("semaphore.given")
	if !h.isCalm() {
		h.cameBack(p)
	}
	return nil
}

// cameBack is what is left to do when a ticket was given back, and more than
// the usual may be.
func (h *hall) cameBack(p *ticketPlace) {
	if ticketState(h.state.Load()).has(ticketsAwaited | ticketsDrained) {
		h.serve()
	}
	if len(h.places) > fewTickets {
		h.hint.Store(uint32(p.number))
	}
}

// ReleaseSome gives back the tickets of these numbers. If any of them is not
// held, or is named twice, it returns ErrNotHeld or ErrTickets and gives none
// back.
func (t Tickets) ReleaseSome(numbers ...int) error {
	if len(numbers) == 0 {
		return nil
	}
	if t.place == nil {
		return t.release(numbers)
	}
	if err := t.check(numbers, func(n int) bool { return n == t.place.number && t.turn == t.place.turn }); err != nil {
		return err
	}
	return t.Release()
}

// release gives back some tickets, or with nil all.
func (t Tickets) release(numbers []int) error {
	if t.many == nil {
		return t.notHeld()
	}
	t.many.mu.Lock()
	defer t.many.mu.Unlock()
	given := t.many.held
	switch {
	case len(given) == 0:
		return t.notHeld()
	case numbers == nil:
		t.many.held = nil
	default:
		var err error
		if given, err = t.part(numbers); err != nil {
			return err
		}
	}
	h := t.hall
	raceGave(h.core, h.binding)
	var err error
	for _, ticket := range given {
		if !ticket.word.CompareAndSwap(h.self, h.free) {
			err = t.lost()
		}
		crash.At("semaphore.returned")
	}
	if ticketState(h.state.Load()).has(ticketsAwaited | ticketsDrained) {
		h.serve()
	}
	return err
}

// part takes tickets out of those held, if they all are.
func (t Tickets) part(numbers []int) (given []heldTicket, err error) {
	numbers = slices.Sorted(slices.Values(numbers))
	held := t.many.held
	if err := t.check(numbers, func(n int) bool {
		_, found := slices.BinarySearchFunc(held, n, compareTickets)
		return found
	}); err != nil {
		return nil, err
	}
	kept := make([]heldTicket, 0, len(held)-len(numbers))
	for _, h := range held {
		if _, gives := slices.BinarySearch(numbers, h.number); gives {
			given = append(given, h)
		} else {
			kept = append(kept, h)
		}
	}
	t.many.held = kept
	return given, nil
}

// check tells what is wrong with the numbers, in which a number that is named
// twice follows itself.
func (t Tickets) check(numbers []int, holds func(n int) bool) error {
	for i, n := range numbers {
		if i > 0 && numbers[i-1] == n {
			return fmt.Errorf("arena: release of semaphore %q: %w: ticket %d is named twice", t.hall.name, ErrTickets, n)
		}
		if !holds(n) {
			return fmt.Errorf("arena: release of semaphore %q: %w: ticket %d", t.hall.name, ErrNotHeld, n)
		}
	}
	return nil
}

func (t Tickets) notHeld() error {
	switch {
	case t.hall == nil:
		return fmt.Errorf("arena: release of tickets: %w: none were acquired", ErrNotHeld)
	case t.hall.core.gate.closing():
		return nil
	}
	return fmt.Errorf("arena: release of semaphore %q: %w: all its tickets were released", t.hall.name, ErrNotHeld)
}

// lost is for a ticket that this process does not hold any more: the arena was
// closed, or somebody has taken the process for dead, which only a damaged
// file makes.
func (t Tickets) lost() error {
	if t.hall.core.gate.closing() {
		return nil
	}
	return fmt.Errorf("arena: release of semaphore %q: %w by this process any more", t.hall.name, ErrNotHeld)
}

// serve looks whether a ticket that has come back is waited for.
func (h *hall) serve() {
	if !h.core.gate.enter() {
		return
	}
	defer h.core.gate.leave()
	h.core.serveTickets(h.binding, false)
}
