package arena

import (
	"context"
	"errors"
	"testing"
	"time"

	"lockd/internal/proc"
)

// Whoever waits for a latch is stopped with its holder; whoever gives back is not.
func TestSemaphoreReleaseNeedsNoLatch(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("stopped", 2)
	held := acquire(t, s, 2)
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 1)) })
	if err := s.handle.acquire(request{ctx: context.Background(), arena: a}); err != nil {
		t.Fatal(err)
	}
	release(t, held) // returns, though somebody is in the latch
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Acquire(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for the latch: %v", err)
	}
	if _, ok := s.TryAcquire(1); ok {
		t.Error("a try overtook who waits")
	}
	if err := s.handle.release(0); err != nil {
		t.Fatal(err)
	}
	wait()
	expectInUse(t, s, 0)
}

// A newcomer who looked before somebody began to wait, or before the size or
// the semaphore was taken away, and swaps only then, puts the ticket back.
func TestSemaphoreLateNewcomer(t *testing.T) {
	for what, before := range map[string]func(t *testing.T, s *Semaphore) (after func()){
		"somebody waits": func(t *testing.T, s *Semaphore) func() {
			return proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 3)) })
		},
		"it was made smaller": func(t *testing.T, s *Semaphore) func() {
			if err := s.Resize(1); err != nil {
				t.Fatal(err)
			}
			return func() {}
		},
		"it is destroyed": func(t *testing.T, s *Semaphore) func() {
			return proc.MustBlock(t, "Destroy", func() {
				if err := s.Destroy(context.Background()); err != nil {
					t.Error(err)
				}
			})
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := testArena(t, nil).Semaphore("late", 3)
			held := acquire(t, s, 1)
			h := s.hall.Load()
			saw := ticketState(h.state.Load())
			after := before(t, s)
			p := h.places[2]
			if !p.word.CompareAndSwap(h.free, h.self) {
				t.Fatal("ticket 2 is not free")
			}
			if got, ok := h.keep(p, saw); ok {
				t.Errorf("kept ticket %v", got.Numbers())
				p.word.CompareAndSwap(h.self, h.free)
				h.serve()
			}
			expectInUse(t, s, 1)
			release(t, held)
			after()
		})
	}
}

// A panic inside the latch leaves a semaphore that works.
func TestSemaphorePanicInTheLatch(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("panic", 2)
	held := acquire(t, s, 1)
	wait := proc.MustBlock(t, "Acquire", func() { release(t, acquire(t, s, 2)) })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		s.latched(context.Background(), func(d *desk) {
			d.queueHead().Store(0) // half-done
			panic("inside")
		})
	}()
	release(t, held)
	wait()
	expectInUse(t, s, 0)
}
