package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"unsafe"

	"lockd/arena"
)

var mutexKind = kind{name: "mutex", weight: 4, ledger: unsafe.Sizeof([mutexes]section{}), turn: mutexTurn}

const mutexes = 3

// section is what a mutex guards, written plainly but for who is inside: two
// numbers that are the same whenever nobody is, unless the last owner ended
// badly, and the highest fence.
type section struct {
	occupant      atomic.Uint64
	first, second uint64
	fence         uint64
	_             [32]byte
}

// owned is a lock whose holder is told of a death.
type owned interface {
	Abandoned() (arena.Death, bool)
	MarkConsistent() error
	Fence() (uint64, error)
}

// enter checks the section on the way in, and repairs it.
func (s *section) enter(t *turn, what string, m owned) {
	before := who(s.occupant.Swap(uint64(t.me)))
	_, abandoned := m.Abandoned()
	if t.entered(what, before) && !abandoned {
		t.violated("%s in %s: %v was not told that %v died", what, t.opening.name, t.me, before)
	}
	if s.first != s.second && !abandoned {
		t.violated("%s in %s: %v found %d and %d, and was not told", what, t.opening.name, t.me, s.first, s.second)
	}
	s.second = s.first
	if abandoned {
		if err := m.MarkConsistent(); err != nil {
			t.violated("%s in %s: %v", what, t.opening.name, err)
		}
	}
	if t.r.IntN(4) > 0 {
		return
	}
	fence, err := m.Fence()
	if err != nil || fence <= s.fence {
		t.violated("%s in %s: fence %d after %d: %v", what, t.opening.name, fence, s.fence, err)
	}
	s.fence = fence
}

// use changes what is guarded.
func (s *section) use(t *turn) {
	s.first++
	t.dwell()
	s.second++
}

func (s *section) leave(t *turn, what string) {
	if now := s.occupant.Swap(0); who(now) != t.me {
		t.violated("%s in %s: %v leaves, and %v is there", what, t.opening.name, t.me, who(now))
	}
}

func mutexTurn(t *turn) {
	i := t.r.IntN(mutexes)
	name := fmt.Sprintf("mutex %d", i)
	s := &(*[mutexes]section)(t.part)[i]
	m := t.a.Mutex(name)
	try := t.attempt()
	defer try.end()
	switch n := t.r.IntN(16); {
	case n == 0:
		t.panicInside(name, m, s, try)
		return
	case n < 4:
		if !m.TryLock() {
			return
		}
	default:
		if t.failed(name, try, m.LockContext(try)) {
			return
		}
	}
	s.enter(t, name, m)
	s.use(t)
	s.leave(t, name)
	if err := m.Release(); err != nil {
		t.violated("%s in %s: %v", name, t.opening.name, err)
	}
}

// panicInside leaves the section half-changed, and the lock abandoned.
func (t *turn) panicInside(name string, m *arena.Mutex, s *section, try attempt) {
	defer func() {
		if p := recover(); p != nil && p != errMeant {
			panic(p)
		}
	}()
	t.failed(name, try, m.Do(try, func(context.Context) error {
		s.enter(t, name, m)
		s.first++
		s.leave(t, name)
		panic(errMeant)
	}))
}

var errMeant = fmt.Errorf("meant to be")

// holdMutex takes a mutex, if it is to be had, and leaves what it guards
// half-changed; whoever comes next must be told.
func (t *turn) holdMutex() bool {
	m := t.a.Mutex("mutex 0")
	if !m.TryLock() {
		return false
	}
	s := &(*[mutexes]section)(t.part)[0]
	s.enter(t, "mutex 0", m)
	s.first++
	s.leave(t, "mutex 0")
	return true
}
