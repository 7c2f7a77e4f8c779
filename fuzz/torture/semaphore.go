package main

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"lockd/arena"
)

var semaphoreKind = kind{name: "semaphore", weight: 3, ledger: unsafe.Sizeof(desks{}), turn: semaphoreTurn}

const (
	fixedTickets = 5
	mostTickets  = 9
)

// desks are who has which ticket of a semaphore that keeps its size, and of
// one that is resized, destroyed and made anew.
type desks struct {
	fixed, elastic [16]atomic.Uint64
}

func semaphoreTurn(t *turn) {
	d := (*desks)(t.part)
	if t.r.IntN(2) == 0 {
		n := 1 + t.r.IntN(fixedTickets)
		t.useTickets("tickets", t.a.Semaphore("tickets", fixedTickets), n, &d.fixed, fixedTickets)
		return
	}
	const name = "elastic tickets"
	s := t.a.Semaphore(name, 0)
	if _, err := s.Tickets(); errors.Is(err, arena.ErrNoSemaphore) || errors.Is(err, arena.ErrDestroyed) {
		s = t.a.Semaphore(name, 1+t.r.IntN(mostTickets))
	}
	may := []error{arena.ErrDestroyed, arena.ErrTooMany, arena.ErrSize, arena.ErrNoSemaphore}
	switch n := t.r.IntN(32); {
	case n == 0:
		try := t.attempt()
		try.patient = false // others may be about to wait for their turn
		t.failed(name, try, s.Destroy(try), may...)
		try.end()
	case n < 4:
		t.failed(name, attempt{}, s.Resize(1+t.r.IntN(mostTickets)), may...)
	case n < 6:
		try := t.attempt()
		t.failed(name, try, s.ResizeWait(try, 1+t.r.IntN(mostTickets)), may...)
		try.end()
	default:
		t.useTickets(name, s, 1+t.r.IntN(3), &d.elastic, mostTickets, may...)
	}
}

// useTickets takes tickets, some of them for longer than the rest.
func (t *turn) useTickets(name string, s *arena.Semaphore, n int, desk *[16]atomic.Uint64, most int, may ...error) {
	try := t.attempt()
	defer try.end()
	var held arena.Tickets
	if t.r.IntN(4) == 0 {
		var ok bool
		if held, ok = s.TryAcquire(n); !ok {
			return
		}
	} else {
		var err error
		if held, err = s.Acquire(try, n); t.failed(name, try, err, may...) {
			return
		}
	}
	numbers := held.Numbers()
	if len(numbers) != n || numbers[n-1] >= most {
		t.violated("%s in %s: asked for %d, got %v", name, t.opening.name, n, numbers)
		return
	}
	for i, number := range numbers {
		if i > 0 && numbers[i-1] >= number {
			t.violated("%s in %s: got %v", name, t.opening.name, numbers)
		}
		t.entered(name, who(desk[number].Swap(uint64(t.me))))
	}
	t.dwell()
	if n > 1 && t.r.IntN(2) == 0 {
		t.give(name, held, numbers[:1], desk)
		numbers = numbers[1:]
		t.dwell()
	}
	t.give(name, held, numbers, desk)
}

func (t *turn) give(name string, held arena.Tickets, numbers []int, desk *[16]atomic.Uint64) {
	for _, n := range numbers {
		if was := who(desk[n].Swap(0)); was != t.me {
			t.violated("%s in %s: %v gives ticket %d back, which %v has", name, t.opening.name, t.me, n, was)
		}
	}
	if err := held.ReleaseSome(numbers...); err != nil {
		t.violated("%s in %s: %v", name, t.opening.name, err)
	}
}
