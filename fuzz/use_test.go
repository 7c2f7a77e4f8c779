package fuzz

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/arena"
)

// moment is how long anything may wait in an arena that is not to be believed.
const moment = time.Millisecond

// bounds of one use: it is a hang, or takes too much, beyond these.
const (
	longUse       = 60 * time.Second
	longOperation = 500 // beats of this process
	muchSpace     = 64 << 20
)

// opened are the errors that Open may return for a file, whatever is in it.
var opened = []error{
	arena.ErrNotArena, arena.ErrVersion, arena.ErrLayout, arena.ErrTruncated, arena.ErrDamaged,
	arena.ErrMembersFull, arena.ErrBusy, arena.ErrNoSpace, arena.ErrReplaced,
	arena.ErrNotExist, // as good as: it says that it is of another boot
}

// used are the errors that operations may return for what is in a file.
var used = []error{
	arena.ErrTimeout, arena.ErrNotHeld, arena.ErrRobbed, arena.ErrKind, arena.ErrTableFull, arena.ErrTickets, arena.ErrTooMany,
	arena.ErrSize, arena.ErrDestroyed, arena.ErrNoSemaphore, arena.ErrWasHeld, arena.ErrDamaged, arena.ErrMembersFull,
	arena.ErrDeadlock, arena.ErrMode, context.DeadlineExceeded,
}

func isOneOf(err error, of []error) bool {
	for _, e := range of {
		if errors.Is(err, e) {
			return true
		}
	}
	return err == nil
}

// use opens the arena at a path and does everything with it that does not
// panic by contract, with deadlines. step is called between any two operations.
// It says whether the arena could be opened. If whole is true, the arena is whole: everything that is free can be had.
func use(t testing.TB, path string, step func(), whole bool) (opened bool) {
	t.Helper()
	watchdog := time.AfterFunc(longUse, func() {
		stacks := make([]byte, 1<<20)
		panic("use hangs:\n" + string(stacks[:runtime.Stack(stacks, true)]))
	})
	defer watchdog.Stop()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	u := &user{t: t, step: step, whole: whole}
	stop := u.beat()
	u.use(path)
	stop()
	runtime.ReadMemStats(&after)
	if space := after.TotalAlloc - before.TotalAlloc; space > muchSpace {
		t.Errorf("it took %d MiB", space>>20)
	}
	return u.a != nil
}

type user struct {
	t     testing.TB
	a     *arena.Arena
	step  func()
	last  int64 // beats
	beats atomic.Int64
	whole bool // and so everything is to be had, if it takes a while
	waits sync.WaitGroup
}

// beat counts milliseconds in which this process got to run, so that an
// operation is not called long because the machine is busy.
func (u *user) beat() (stop func()) {
	stopped := make(chan struct{})
	u.waits.Go(func() {
		for {
			select {
			case <-stopped:
				return
			case <-time.After(moment):
				u.beats.Add(1)
			}
		}
	})
	return sync.OnceFunc(func() { close(stopped); u.waits.Wait() })
}

// does looks at what an operation returned, and says whether it was done.
func (u *user) does(what string, err error) bool {
	if took := u.beats.Load() - u.last; took > longOperation && !u.whole {
		u.t.Errorf("%s, which was to take a moment, took %d of %v: %v", what, took, moment, err)
	}
	if u.step != nil {
		u.step()
	}
	u.last = u.beats.Load()
	if !isOneOf(err, used) {
		u.t.Errorf("%s: an error of no known kind: %v", what, err)
	}
	return err == nil
}

func (u *user) use(path string) {
	u.look(path)
	patience := moment
	if u.whole {
		patience = longUse
	}
	a, err := arena.Open(path, &arena.Options{Label: "user", Patience: arena.Patience{Timeout: patience}, MustExist: true, Logger: quiet})
	if err != nil {
		if !isOneOf(err, opened) {
			u.t.Errorf("open: an error of no known kind: %v", err)
		}
		return
	}
	u.a, u.last = a, u.beats.Load()
	defer func() { u.does("close", a.Close()) }()
	for _, name := range []string{"m", "held", "abandoned", strings.Repeat("long", 60), "name 7", "new", strings.Repeat("n", 200)} {
		u.mutex(name)
	}
	for _, name := range []string{"rw", "u", "x", "left", "drains", "new rw"} {
		u.rwmutex(name)
	}
	for name, size := range map[string]int{"s": 0, "full": 2, "shrinks": 0, "ends": 0, "gone": 7, "new s": 11} {
		u.semaphore(name, size)
	}
	for _, name := range []string{"ranges", "new ranges"} {
		u.ranges(name)
	}
	u.session()
	_, err = a.Semaphores()
	u.does("list", err)
	u.look(path)
}

// look is what the inspector does.
func (u *user) look(path string) {
	s, err := arena.ReadSnapshot(path)
	if s != nil {
		s.Problems()
	}
	if !isOneOf(err, opened) {
		u.t.Errorf("snapshot: an error of no known kind: %v", err)
	}
}

func (u *user) soon() (context.Context, context.CancelFunc) {
	if u.whole {
		return context.WithTimeout(context.Background(), longUse)
	}
	return context.WithTimeout(context.Background(), moment)
}

// endless is for what has no deadline: it may wait until the arena is closed,
// for who holds a latch in a file that is not to be believed.
func (u *user) endless(what string, f func() error) {
	if u.whole {
		u.does(what, f())
		return
	}
	done := make(chan error, 1)
	u.waits.Go(func() { done <- f() })
	select {
	case err := <-done:
		u.does(what, err)
	case <-time.After(10 * moment):
		u.does(what, nil)
	}
}

func (u *user) mutex(name string) {
	ctx, cancel := u.soon()
	defer cancel()
	m := u.a.Mutex(name)
	if !m.TryLock() && !u.does("lock", m.LockContext(ctx)) {
		if u.whole {
			u.t.Errorf("%q is not to be had", name)
		}
		_, err := u.a.Break(ctx, name)
		u.does("break", err)
		return
	}
	m.Abandoned()
	_, err := m.Fence()
	u.does("fence", err)
	u.does("mark", m.MarkConsistent())
	u.does("release", m.Release())
	u.does("do", m.Do(ctx, func(context.Context) error { return nil }))
}

func (u *user) rwmutex(name string) {
	ctx, cancel := u.soon()
	defer cancel()
	m := u.a.RWMutex(name)
	if m.TryRLock() {
		u.does("read release", m.RRelease())
	}
	if u.does("read", m.RLockContext(ctx)) {
		m.Abandoned()
		u.does("read release", m.RRelease())
	}
	ctx, cancel = u.soon()
	defer cancel()
	if m.TryULock() || u.does("upgradable", m.ULockContext(ctx)) {
		if u.does("upgrade", m.Upgrade(ctx)) {
			u.does("mark", m.MarkConsistent())
			u.does("release", m.Release())
		} else {
			u.does("upgradable release", m.URelease())
		}
	}
	ctx, cancel = u.soon()
	defer cancel()
	if m.TryLock() || u.does("write", m.LockContext(ctx)) {
		u.does("release", m.Release())
	} else if u.whole {
		u.t.Errorf("%q is not to be had", name)
	}
}

func (u *user) semaphore(name string, size int) {
	s := u.a.Semaphore(name, size)
	_, err := s.Tickets()
	u.does("tickets", err)
	_, err = s.InUse()
	u.does("in use", err)
	ctx, cancel := u.soon()
	defer cancel()
	if t, err := s.Acquire(ctx, 1); u.does("acquire", err) {
		t.Numbers()
		u.does("release", t.Release())
	}
	if t, ok := s.TryAcquire(2); ok {
		u.does("release some", t.ReleaseSome(t.Numbers()...))
	}
	u.does("resize", s.Resize(9))
	u.does("resize", s.ResizeWait(ctx, 4))
	u.does("destroy", s.Destroy(ctx))
}

func (u *user) ranges(name string) {
	r := u.a.Ranges(name)
	for i, mode := range []arena.Mode{arena.Shared, arena.Exclusive, arena.Shared} {
		ctx, cancel := u.soon()
		if !u.does("take", r.Lock(ctx, mode, int64(15*i), 500)) && u.whole {
			u.t.Errorf("%q is not to be had", name)
		}
		cancel()
	}
	_, err := r.TryLock(arena.Exclusive, 1000, 1<<41)
	u.does("try", err)
	u.endless("held", func() error { r.Held(); return nil })
	u.endless("release", func() error { return r.Release(20, 7) })
	u.endless("release all", r.ReleaseAll)
}

func (u *user) session() {
	s := u.a.OpenSession(arena.SessionOptions{Label: "user", Trace: true, DeadlockAfter: moment / 8})
	r := u.a.Ranges("ranges")
	for _, take := range []func(context.Context) error{
		func(ctx context.Context) error { return s.Lock(ctx, u.a.Mutex("m")) },
		func(ctx context.Context) error { return s.RLock(ctx, u.a.RWMutex("rw")) },
		func(ctx context.Context) error { return s.Upgrade(ctx, u.a.RWMutex("rw")) },
		func(ctx context.Context) error { _, err := s.Acquire(ctx, u.a.Semaphore("s", 0), 1); return err },
		func(ctx context.Context) error { return s.LockRange(ctx, r, arena.Exclusive, 0, 12) },
		func(ctx context.Context) error {
			return s.LockAll(ctx, arena.Exclusively(u.a.Mutex("new")), arena.Upgradably(u.a.RWMutex("u")))
		},
	} {
		ctx, cancel := u.soon()
		u.does("session", take(ctx))
		cancel()
	}
	u.endless("session's end", func() error {
		s.Held()
		return errors.Join(s.ReleaseRanges(r), s.Close())
	})
}

// put makes a file of bytes.
func put(t testing.TB, path string, bytes []byte) {
	t.Helper()
	if err := os.WriteFile(path, bytes, 0o600); err != nil {
		t.Fatal(err)
	}
}
