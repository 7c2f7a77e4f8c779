package arena

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"lockd/internal/proc"
)

// within is a context for what must end.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	t.Cleanup(cancel)
	return ctx
}

func mustLock(t testing.TB, s *Session, l Lockable) {
	t.Helper()
	if err := s.Lock(within(t), l); err != nil {
		t.Fatal(err)
	}
}

// Sessions of one process, each with a lock, want each other's in a circle.
func TestDeadlockOfSessions(t *testing.T) {
	for _, n := range []int{2, 3, 12, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			a := testArena(t, nil)
			sessions := make([]*Session, n)
			for i := range sessions {
				sessions[i] = a.Session(fmt.Sprint("s", i))
				mustLock(t, sessions[i], a.Mutex(fmt.Sprint("m", i)))
			}
			ctx := within(t)
			victims := make(chan error, n)
			var all sync.WaitGroup
			for i, s := range sessions {
				all.Go(func() {
					defer s.Close()
					if err := s.Lock(ctx, a.Mutex(fmt.Sprint("m", (i+1)%n))); err != nil {
						victims <- err
					}
				})
			}
			all.Wait()
			close(victims)
			count := 0
			for err := range victims {
				var e *DeadlockError
				if !errors.As(err, &e) || !errors.Is(err, ErrDeadlock) {
					t.Fatal(err)
				}
				if count++; len(e.Edges) != n {
					t.Errorf("%d edges, not %d: %v", len(e.Edges), n, err)
				}
				if n < 4 {
					t.Log(err)
				}
			}
			if count != 1 {
				t.Errorf("%d victims", count)
			}
		})
	}
}

// Two processes, or one, with two goroutines each: what looks like a cycle of
// processes is none of sessions.
func TestNoDeadlockOfProcesses(t *testing.T) {
	a := testArena(t, nil)
	s1, s2 := a.OpenSession(SessionOptions{Label: "waits", DeadlockAfter: time.Millisecond}), a.Session("holds")
	mustLock(t, s2, a.Mutex("x"))
	wait := proc.MustBlock(t, "lock", func() {
		if err := s1.Lock(within(t), a.Mutex("x")); err != nil {
			t.Error(err)
		}
	})
	s2.Close()
	wait()
	s1.Close()
}
