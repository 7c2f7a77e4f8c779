package arena

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"lockd/internal/proc"
)

func acquire(t testing.TB, s *Semaphore, n int) Tickets {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	got, err := s.Acquire(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func release(t testing.TB, held ...Tickets) {
	t.Helper()
	for _, h := range held {
		if err := h.Release(); err != nil {
			t.Error(err)
		}
	}
}

func expectInUse(t testing.TB, s *Semaphore, want int) {
	t.Helper()
	if got, err := s.InUse(); err != nil || got != want {
		t.Errorf("%d in use (%v), want %d", got, err, want)
	}
}

// Which tickets: the lowest that are free; some or all of them come back.
func TestSemaphoreTickets(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("gpu", 4)
	two := acquire(t, s, 2)
	if got := two.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("tickets %v", got)
	}
	one := acquire(t, s, 1)
	if got := one.Numbers(); !slices.Equal(got, []int{2}) || one.Count() != 1 {
		t.Errorf("tickets %v", got)
	}
	expectInUse(t, s, 3)
	if _, ok := s.TryAcquire(2); ok {
		t.Error("two of one were acquired")
	}
	if err := two.ReleaseSome(1, 0, 2); !errors.Is(err, ErrNotHeld) {
		t.Errorf("released what another holds: %v", err)
	}
	if err := two.ReleaseSome(1, 1); !errors.Is(err, ErrTickets) {
		t.Errorf("released one twice: %v", err)
	}
	if got := two.Numbers(); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("a failed release released: %v", got)
	}
	if err := two.ReleaseSome(0); err != nil {
		t.Error(err)
	}
	if got, ok := s.TryAcquire(2); !ok || !slices.Equal(got.Numbers(), []int{0, 3}) {
		t.Errorf("got %v, %v", got, ok)
	} else {
		release(t, got)
	}
	release(t, two, one)
	for _, gone := range []Tickets{two, one} {
		if err := gone.Release(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("released again: %v", err)
		}
	}
	expectInUse(t, s, 0)
	if n, err := s.Tickets(); n != 4 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
}

func TestSemaphoreTimeout(t *testing.T) {
	a := testArena(t, &Options{Patience: Patience{Timeout: 50 * time.Millisecond}, Label: "me"})
	s := a.Semaphore("slow", 1)
	held := acquire(t, s, 1)
	began := time.Now()
	_, err := s.Acquire(context.Background(), 1)
	var timeout *TimeoutError
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &timeout) {
		t.Fatal(err)
	}
	if timeout.Lock != "slow" || timeout.HolderPID != os.Getpid() || timeout.HolderLabel != "me" {
		t.Errorf("%+v", timeout)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	release(t, held)
}

func TestSemaphoreBadInput(t *testing.T) {
	ctx := context.Background()
	a := testArena(t, nil)
	s := a.Semaphore("four", 4)
	expectInUse(t, s, 0)
	a.Mutex("mutex").Lock()
	defer a.Mutex("mutex").Unlock()
	acquiring := func(s *Semaphore, n int) func() error {
		return func() error {
			_, err := s.Acquire(ctx, n)
			return err
		}
	}
	for _, tc := range []struct {
		what string
		do   func() error
		want error
	}{
		{"acquire none", acquiring(s, 0), ErrTickets},
		{"acquire fewer than none", acquiring(s, -1), ErrTickets},
		{"acquire more than there can be", acquiring(s, MaxTickets+1), ErrTickets},
		{"acquire more than there are", acquiring(s, 5), ErrTooMany},
		{"patiently none", func() error { _, err := s.AcquirePatiently(ctx, 0); return err }, ErrTickets},
		{"resize to none", func() error { return s.Resize(0) }, ErrTickets},
		{"resize to fewer than none", func() error { return s.Resize(-3) }, ErrTickets},
		{"resize to too many", func() error { return s.ResizeWait(ctx, MaxTickets+1) }, ErrTickets},
		{"made with fewer than none", acquiring(a.Semaphore("new", -1), 1), ErrTickets},
		{"made with too many", acquiring(a.Semaphore("new", MaxTickets+1), 1), ErrTickets},
		{"not made", acquiring(a.Semaphore("new", 0), 1), ErrNoSemaphore},
		{"nothing to destroy", func() error { return a.Semaphore("new", 3).Destroy(ctx) }, ErrNoSemaphore},
		{"another size", acquiring(a.Semaphore("four", 5), 1), ErrSize},
		{"resize with another size", func() error { return a.Semaphore("four", 5).Resize(9) }, ErrSize},
		{"no name", acquiring(a.Semaphore("", 5), 1), ErrName},
		{"a mutex", acquiring(a.Semaphore("mutex", 5), 1), ErrKind},
		{"a mutex, any size", acquiring(a.Semaphore("mutex", 0), 1), ErrKind},
		{"as a mutex", func() error { return a.Mutex("four").LockContext(ctx) }, ErrKind},
	} {
		if err := tc.do(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, err, tc.want)
		}
	}
	if got, ok := s.TryAcquire(0); ok || got.Count() != 0 {
		t.Errorf("tried for none: %v, %v", got, ok)
	}
	expectInUse(t, s, 0)
	if n, err := a.Semaphore("four", 0).Tickets(); n != 4 || err != nil {
		t.Errorf("%d tickets, %v", n, err)
	}
	release(t, acquire(t, s, 4))
}

// A large semaphore takes records from as many segments as it needs, and all
// its tickets are there once.
func TestSemaphoreLarge(t *testing.T) {
	a := testArena(t, nil)
	s := a.Semaphore("large", 1)
	expectInUse(t, s, 0)
	if err := s.Resize(10_000); err != nil {
		t.Fatal(err)
	}
	seen := make(map[int]bool)
	var held []Tickets
	for range 5000 {
		h := acquire(t, s, 1)
		seen[h.Numbers()[0]] = true
		held = append(held, h)
	}
	h := acquire(t, s, 5000)
	for _, n := range h.Numbers() {
		seen[n] = true
	}
	if len(seen) != 10_000 {
		t.Errorf("%d different tickets", len(seen))
	}
	if _, ok := s.TryAcquire(1); ok {
		t.Error("one more")
	}
	expectInUse(t, s, 10_000)
	release(t, append(held, h)...)
	if err := s.Destroy(context.Background()); err != nil {
		t.Fatal(err)
	}
	expectNoRequests(t, a.Path())
	expectNoTickets(t, a.Path())
}

func TestSemaphoreSnapshot(t *testing.T) {
	a := testArena(t, &Options{Label: "me"})
	s := a.Semaphore("queue", 4)
	mine := acquire(t, s, 1)
	p, q := startTicketWaiter(t, a, 2), startTicketWaiter(t, a, 3)
	for i, w := range []*proc.Proc{p, q} {
		w.Expect("ready")
		w.Send("acquire")
		if i == 0 {
			w.Expect("got [1 2]")
		}
	}
	untilQueued(t, s, 1)
	snapshot, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	l := snapshot.Locks[0]
	if l.Semaphore == nil || l.Kind != KindSemaphore || l.Name != "queue" || l.Waiters != 1 {
		t.Fatalf("%+v", l)
	}
	st := l.Semaphore
	if st.Tickets != 4 || st.InUse != 3 || st.Ending || len(st.Holders) != 2 || len(st.Queue) != 1 {
		t.Fatalf("%+v", st)
	}
	if h := st.Holders[0]; int(h.PID) != os.Getpid() || h.Label != "me" || !slices.Equal(h.Numbers, []int{0}) {
		t.Errorf("%+v", h)
	}
	if h := st.Holders[1]; int(h.PID) != p.PID() || !slices.Equal(h.Numbers, []int{1, 2}) {
		t.Errorf("%+v", h)
	}
	if w := st.Queue[0]; int(w.PID) != q.PID() || w.For != ForTickets || w.Tickets != 3 || w.Since.IsZero() {
		t.Errorf("%+v", w)
	}
	release(t, mine)
	p.Send("release")
	p.Expect("released")
	q.Expect("got [0 1 2]")
	if all, err := a.Semaphores(); err != nil || !slices.Equal(all, []SemaphoreInfo{{"queue", 4, 3}}) {
		t.Errorf("%v, %v", all, err)
	}
}
