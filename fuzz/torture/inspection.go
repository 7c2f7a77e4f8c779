package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"lockd/arena"
)

// stripes is how many latches guard the chains of names; see doc/FORMAT.md.
const stripes = 64

// inspect looks at the arenas when all processes have ended: everything can be
// taken, and nothing of anybody is left.
func (d *director) inspect() {
	for _, a := range arenas {
		path := filepath.Join(d.plan.dir, a.name)
		if err := d.inspectArena(path); err != nil && !errors.Is(err, arena.ErrNotExist) {
			d.found("violation: %s, when all had ended: %v", a.name, err)
		}
	}
}

func (d *director) inspectArena(path string) error {
	a, err := arena.Open(path, &arena.Options{MustExist: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			a.Close()
		}
	}()
	s, err := arena.ReadSnapshot(path)
	if err != nil {
		return err
	}
	for _, l := range s.Locks {
		if err := takeOnce(a, l); err != nil {
			d.found("stranded: %s, when all had ended: %v", path, err)
		}
	}
	// Something new in every stripe, so that what the dead left of its chains is
	// rebuilt.
	for i := range 8 * stripes {
		if err := takeOnce(a, arena.LockInfo{Name: fmt.Sprintf("inspected %d", i), Kind: arena.KindMutex}); err != nil {
			d.found("stranded: %s, when all had ended: %v", path, err)
		}
	}
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if s, err = arena.ReadSnapshot(path); err != nil {
			return err
		}
		if len(s.Members) == 1 {
			break
		}
		if time.Now().After(until) {
			d.found("violation: %s, when all had ended: the dead are not settled: %+v", path, s.Members)
			break
		}
	}
	problems, err := arena.Check(path)
	if err != nil {
		return err
	}
	for _, p := range problems {
		d.found("violation: %s, when all had ended: %v", path, p)
	}
	closed = true
	if err := a.Close(); err != nil {
		return err
	}
	if s, err = arena.ReadSnapshot(path); err != nil {
		return err
	}
	for _, l := range s.Locks {
		if l.Held() || len(l.Waiting) > 0 {
			d.found("violation: %s, when all had ended: left behind: %+v", path, l)
		}
	}
	return nil
}

// takeOnce takes a lock, exclusively, and gives it back in good order.
func takeOnce(a *arena.Arena, l arena.LockInfo) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch l.Kind {
	case arena.KindMutex:
		m := a.Mutex(l.Name)
		if err := m.LockContext(ctx); err != nil {
			return err
		}
		return errors.Join(m.MarkConsistent(), m.Release())
	case arena.KindRWMutex:
		m := a.RWMutex(l.Name)
		if err := m.LockContext(ctx); err != nil {
			return err
		}
		return errors.Join(m.MarkConsistent(), m.Release())
	case arena.KindRanges:
		r := a.Ranges(l.Name)
		if err := r.Lock(ctx, arena.Exclusive, 0, 0); err != nil {
			return err
		}
		return r.ReleaseAll()
	case arena.KindSemaphore:
		s := a.Semaphore(l.Name, 0)
		n, err := s.Tickets()
		if errors.Is(err, arena.ErrNoSemaphore) || errors.Is(err, arena.ErrDestroyed) {
			return nil
		}
		if err != nil {
			return err
		}
		t, err := s.Acquire(ctx, n)
		if errors.Is(err, arena.ErrDestroyed) {
			return nil // the dead had destroyed it as good as done
		}
		if err != nil {
			return err
		}
		return t.Release()
	}
	return nil
}
