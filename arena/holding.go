package arena

import (
	"fmt"
	"slices"
	"sync"
)

// Tickets are tickets of a semaphore that this process holds. Any goroutine of
// the process may release them. After the last was released a Tickets must not
// be used any more.
type Tickets struct {
	hall  *hall
	place *ticketPlace // of a single ticket that was taken without waiting
	live  bool         // such a ticket is held

	mu   sync.Mutex
	held []int // others, ascending
}

// Numbers returns which tickets are held, in ascending order.
func (t *Tickets) Numbers() []int {
	if t.place != nil {
		if !t.live {
			return nil
		}
		return []int{t.place.number}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.held)
}

// Count returns how many tickets are held.
func (t *Tickets) Count() int {
	return len(t.Numbers())
}

// Release gives back all tickets that are still held. It does not wait, except
// for the processor. If none is held, it returns ErrNotHeld. After the arena
// was closed, which gave them back, it does nothing.
func (t *Tickets) Release() error {
	if !t.live {
		return t.release(nil)
	}
	t.live = false
	h := t.hall
	raceGave(h.core, h.binding)
	if !t.place.word.CompareAndSwap(h.self, h.free) {
		return t.lost()
	}
	if ticketState(h.state.Load()).has(ticketsAwaited | ticketsDrained) {
		h.serve()
	}
	if len(h.places) > fewTickets {
		h.hint.Store(uint32(t.place.number))
	}
	return nil
}

// ReleaseSome gives back the tickets of these numbers. If any of them is not
// held, or is named twice, it returns ErrNotHeld or ErrTickets and gives none
// back.
func (t *Tickets) ReleaseSome(numbers ...int) error {
	if t.live && len(numbers) == 1 && numbers[0] == t.place.number {
		return t.Release()
	}
	if len(numbers) == 0 {
		return nil
	}
	return t.release(numbers)
}

// release gives back some tickets, or with nil all.
func (t *Tickets) release(numbers []int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held) == 0 && !t.live {
		return t.notHeld()
	}
	if numbers == nil {
		numbers, t.held = t.held, nil
	} else if err := t.part(numbers); err != nil {
		return err
	}
	h := t.hall
	raceGave(h.core, h.binding)
	var err error
	for _, n := range numbers {
		if !h.places[n].word.CompareAndSwap(h.self, h.free) {
			err = t.lost()
		}
	}
	if ticketState(h.state.Load()).has(ticketsAwaited | ticketsDrained) {
		h.serve()
	}
	return err
}

// part takes numbers out of those held, if they all are.
func (t *Tickets) part(numbers []int) error {
	numbers = slices.Sorted(slices.Values(numbers))
	for i, n := range numbers {
		if i > 0 && numbers[i-1] == n {
			return fmt.Errorf("arena: release of semaphore %q: %w: ticket %d is named twice", t.hall.name, ErrTickets, n)
		}
		if _, held := slices.BinarySearch(t.held, n); !held && !(t.live && n == t.place.number) {
			return fmt.Errorf("arena: release of semaphore %q: %w: ticket %d", t.hall.name, ErrNotHeld, n)
		}
	}
	t.held = slices.DeleteFunc(slices.Clone(t.held), func(n int) bool {
		_, given := slices.BinarySearch(numbers, n)
		return given
	})
	return nil
}

func (t *Tickets) notHeld() error {
	if t.hall.core.gate.closing() {
		return nil
	}
	return fmt.Errorf("arena: release of semaphore %q: %w: all its tickets were released", t.hall.name, ErrNotHeld)
}

// lost is for a ticket that this process does not hold any more: the arena was
// closed, or somebody has taken the process for dead, which only a damaged
// file makes.
func (t *Tickets) lost() error {
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
