package main

//lint:file-ignore SA4006 what follows on each err is left out in the README

import (
	"context"
	"errors"

	"lockd/arena"
)

// kinds is what the README shows of the other kinds, between the markers.
func kinds(ctx context.Context, a *arena.Arena, m *arena.Mutex) error {
	// begin
	rw := a.RWMutex("catalogue")                // sync's, between processes, and ULock: reads beside readers, may Upgrade
	gpus := a.Semaphore("gpu", 4)               // made with 4 numbered tickets; 0 would take it as it is
	t, err := gpus.Acquire(ctx, 2)              // both at once, first come first served; t.Numbers() is [0 1]
	t.ReleaseSome(1)                            // or Release; gpus.Resize(8) while they are held; gpus.Destroy(ctx)
	r := a.Ranges("table.dat")                  // a holder of its own
	err = r.Lock(ctx, arena.Exclusive, 100, 50) // 100 … 149; again in another mode: converts that part
	r.Release(0, 130)                           // what it holds of that; ReleaseAll
	s := a.Session("transfer-42")               // one actor that holds many locks of any kind
	defer s.Close()
	if err = s.Lock(ctx, m); errors.Is(err, arena.ErrDeadlock) { // or RLock, Acquire, LockRange …; LockAll: several in a safe order
		return err // within 50 ms or so, in one of the circle, across processes and kinds; Close gives back what it holds
	}
	// end
	_ = rw
	return err
}

var _ = kinds
