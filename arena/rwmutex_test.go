package arena

import (
	"context"
	"errors"
	"testing"
	"time"

	"lockd/internal/proc"
)

// mode is a way to hold an rwmutex.
type mode struct {
	name         string
	lock, unlock func(*RWMutex)
	try          func(*RWMutex) bool
	wait         func(*RWMutex, context.Context) error
	release      func(*RWMutex) error
}

var modes = []mode{
	{"R", (*RWMutex).RLock, (*RWMutex).RUnlock, (*RWMutex).TryRLock, (*RWMutex).RLockContext, (*RWMutex).RRelease},
	{"U", (*RWMutex).ULock, (*RWMutex).UUnlock, (*RWMutex).TryULock, (*RWMutex).ULockContext, (*RWMutex).URelease},
	{"X", (*RWMutex).Lock, (*RWMutex).Unlock, (*RWMutex).TryLock, (*RWMutex).LockContext, (*RWMutex).Release},
}

// together tells whether the lock can be held in both ways at once.
func together(a, b string) bool { return a == "R" && b != "X" || b == "R" && a != "X" }

// Each way of taking the lock beside each way of holding it, within a process.
func TestRWModes(t *testing.T) {
	a := testArena(t, nil)
	for _, held := range modes {
		for _, wanted := range modes {
			t.Run(held.name+wanted.name, func(t *testing.T) {
				m := a.RWMutex("modes")
				held.lock(m)
				ok := together(held.name, wanted.name)
				if got := wanted.try(m); got != ok {
					t.Fatalf("try beside a holder: %v", got)
				} else if got {
					wanted.unlock(m)
				}
				ctx, cancel := context.WithTimeout(context.Background(), proc.StillBlocks)
				err := wanted.wait(m, ctx)
				cancel()
				if ok && err != nil || !ok && !errors.Is(err, ErrTimeout) {
					t.Fatalf("waiting beside a holder: %v", err)
				}
				if ok {
					wanted.unlock(m)
					held.unlock(m)
					return
				}
				wait := proc.MustBlock(t, "lock", func() { wanted.lock(m) })
				held.unlock(m)
				wait()
				wanted.unlock(m)
				begin := time.Now()
				if !modes[2].try(m) {
					t.Error("not free afterwards", time.Since(begin))
				}
				m.Unlock()
			})
		}
	}
}
