package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"lockd/arena"
)

// Mutexes that are taken away from living holders, by any process, all the time.
var breaksKind = kind{name: "breaks", weight: 2, ledger: unsafe.Sizeof([brokenMutexes]plunder{}), turn: breaksTurn}

const brokenMutexes = 2

// plunder is what is known of a section from which holders are robbed. A robbed
// one is inside beside the next, and does not know; it writes nothing that
// could be taken for the next one's. A holder is known by a fence.
type plunder struct {
	entered atomic.Uint64 // the last one to come in
	left    atomic.Uint64 // the last one to go in order, about to release
	begun   atomic.Uint64 // calls of Break
	noticed atomic.Uint64 // releases that said so
	_       [32]byte
}

func raise(to *atomic.Uint64, n uint64) {
	for {
		if now := to.Load(); now >= n || to.CompareAndSwap(now, n) {
			return
		}
	}
}

func breaksTurn(t *turn) {
	i := t.r.IntN(brokenMutexes)
	name := fmt.Sprintf("breaks %d", i)
	s := &(*[brokenMutexes]plunder)(t.part)[i]
	if t.r.IntN(4) == 0 {
		t.rob(name, s)
		return
	}
	m := t.a.Mutex(name)
	try := t.attempt()
	defer try.end()
	if t.r.IntN(4) == 0 {
		if !m.TryLock() {
			return
		}
	} else if t.failed(name, try, m.LockContext(try)) {
		return
	}
	s.use(t, name, m)
}

// rob takes the lock away from whoever holds it. Nobody may hold it, or die
// just then, or it may be held here.
func (t *turn) rob(name string, s *plunder) {
	try := t.soon()
	defer try.end()
	var d arena.Death
	var err error
	for range 16 {
		s.begun.Add(1)
		if d, err = t.a.Break(try, name); !errors.Is(err, arena.ErrNotHeld) {
			break
		}
		runtime.Gosched()
	}
	if t.failed(name, try, err, arena.ErrNotHeld, arena.ErrTableFull, context.DeadlineExceeded) {
		return
	}
	t.board.seats[t.seat].robberies.Add(1)
	if d.Cause != arena.Robbed || d.PID == 0 {
		t.violated("%s in %s: robbed, and it is told: %+v", name, t.opening.name, d)
	}
}

// use goes in and out. As long as the fence is drawn it was held before.
func (s *plunder) use(t *turn, name string, m *arena.Mutex) {
	before, left := s.entered.Load(), s.left.Load()
	_, told := m.Abandoned()
	fence, err := m.Fence()
	robbed := errors.Is(err, arena.ErrNotHeld)
	switch {
	case robbed:
	case err != nil:
		t.violated("%s in %s: fence: %v", name, t.opening.name, err)
	case fence <= before:
		t.violated("%s in %s: fence %d after %d", name, t.opening.name, fence, before)
	case left < before && !told:
		t.violated("%s in %s: %v was not told that the one before was robbed, or died", name, t.opening.name, t.me)
	}
	raise(&s.entered, fence)
	if err := m.MarkConsistent(); err != nil && !errors.Is(err, arena.ErrNotHeld) {
		t.violated("%s in %s: %v", name, t.opening.name, err)
	}
	t.dwell()
	if t.r.IntN(8) == 0 {
		time.Sleep(time.Duration(t.r.IntN(300)) * time.Microsecond) // some time to be robbed
	}
	raise(&s.left, fence)
	last := s.entered.Load()
	err = m.Release()
	switch {
	case errors.Is(err, arena.ErrRobbed):
		if n, begun := s.noticed.Add(1), s.begun.Load(); n > begun {
			t.violated("%s in %s: %d were robbed, by %d robberies", name, t.opening.name, n, begun)
		}
	case err != nil:
		t.violated("%s in %s: %v", name, t.opening.name, err)
	case robbed:
		t.violated("%s in %s: %v was robbed, and is not told", name, t.opening.name, t.me)
	case last != fence:
		t.violated("%s in %s: %v leaves, fence %d, and fence %d is there", name, t.opening.name, t.me, fence, last)
	}
}
