package arena

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/internal/proc"
)

// Misuse panics, or is an error, and leaves the lock as it was.
func TestRWMisuse(t *testing.T) {
	a, m := testRW(t)
	other := a.RWMutex("another")
	type act struct {
		name string
		do   func()
	}
	all := map[string]act{
		"R": {"RUnlock", m.RUnlock}, "U": {"UUnlock", m.UUnlock}, "X": {"Unlock", m.Unlock},
	}
	for _, held := range []string{"", "R", "U", "X"} {
		for _, way := range modes {
			if way.name == held {
				way.lock(m)
			}
		}
		for mode, release := range all {
			if mode != held {
				mustPanic(t, held+" "+release.name, release.do)
			}
		}
		if held != "X" {
			mustPanic(t, held+" Downgrade", m.Downgrade)
			mustPanic(t, held+" DowngradeToU", m.DowngradeToU)
		}
		if held != "U" {
			mustPanic(t, held+" UDowngrade", m.UDowngrade)
			if err := m.Upgrade(context.Background()); !errors.Is(err, ErrNotHeld) {
				t.Errorf("%s Upgrade: %v", held, err)
			}
		}
		if held != "R" {
			mustPanic(t, held+" TryUpgrade", func() { m.TryUpgrade() })
		}
		if _, err := m.Fence(); (err == nil) != (held == "U" || held == "X") {
			t.Errorf("%s Fence: %v", held, err)
		}
		for _, way := range modes { // still held, and only so
			if got, want := way.try(m), held == "" || together(held, way.name); got != want {
				t.Errorf("held %q: try %s is %v", held, way.name, got)
			} else if got {
				way.unlock(m)
			}
		}
		for _, way := range modes {
			if way.name == held {
				way.unlock(m)
			}
		}
	}
	mustPanic(t, "RUnlock of a name never used", other.RUnlock)
	a.Mutex("a mutex").Lock()
	defer a.Mutex("a mutex").Unlock()
	err := a.RWMutex("a mutex").RLockContext(context.Background())
	if !errors.Is(err, ErrKind) || !strings.Contains(err.Error(), "mutex") || !strings.Contains(err.Error(), "rwmutex") {
		t.Errorf("a mutex as an rwmutex: %v", err)
	}
	if err := a.RWMutex("").RLockContext(context.Background()); !errors.Is(err, ErrName) {
		t.Errorf("no name: %v", err)
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s: %v", what, err)
		}
	}()
	f()
}

// Upgrading and downgrading let nobody in between: a writer that waits gets in
// only afterwards, and readers at once where they may.
func TestRWConversions(t *testing.T) {
	a, m := testRW(t)
	p, writer := startRW(t, a), startRW(t, a)
	m.RLock()
	do(t, p, "U")
	do(t, p, "R?")
	do(t, p, "R-")
	p.Send("U>X") // waits for the reader here
	p.Silent()
	if m.TryRLock() {
		t.Error("a new reader beside an upgrade")
	}
	writer.Send("X")
	writer.Silent()
	m.RUnlock()
	p.Expect("ok")
	writer.Silent()
	do(t, p, "X>U")
	m.RLock() // beside it
	m.RUnlock()
	writer.Silent()
	do(t, p, "U>R")
	writer.Silent() // it waits for the reader now, and keeps others out
	if m.TryRLock() {
		t.Error("a new reader beside a writer that waits")
	}
	do(t, p, "R-")
	writer.Expect("ok")
	reader := proc.MustBlock(t, "RLock", m.RLock)
	do(t, writer, "X>R")
	reader()
	writer.Send("R>X?")
	writer.Expect("refused")
	m.RUnlock()
	do(t, writer, "R>X?")
	if m.TryRLock() {
		t.Error("a reader beside who upgraded")
	}
	do(t, writer, "X-")
}

// Readers that come all the time do not keep a writer out, nor writers readers.
func TestRWStarvation(t *testing.T) {
	for _, many := range []string{"R", "X"} {
		t.Run("many "+many, func(t *testing.T) {
			a, m := testRW(t)
			var crew []*proc.Proc
			for range 3 {
				p := proc.Start(t, "rw-hog", []string{a.Path(), many})
				p.Expect("on")
				crew = append(crew, p)
			}
			one := modes[2]
			if many == "X" {
				one = modes[0]
			}
			var longest, sum time.Duration
			const turns = 200
			for range turns {
				begin := time.Now()
				one.lock(m)
				took := time.Since(begin)
				one.unlock(m)
				longest, sum = max(longest, took), sum+took
			}
			t.Logf("%s among three processes of two %s each: mean %v, longest %v", one.name, many, sum/turns, longest)
			if longest > proc.Soon/4 {
				t.Errorf("waited %v", longest)
			}
			for _, p := range crew {
				p.Send("stop")
				p.Expect("off")
			}
		})
	}
}

func init() {
	// rw-hog: arena, mode. Two goroutines hold the lock so that it is never
	// free of them, if nobody makes them wait.
	roles["rw-hog"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		m := a.RWMutex("it")
		way := modes[0]
		if args[1] == "X" {
			way = modes[2]
		}
		var quit atomic.Bool
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for !quit.Load() {
					way.lock(m)
					for range 2000 {
						if quit.Load() {
							break
						}
					}
					way.unlock(m)
				}
			})
		}
		proc.Say("on")
		proc.Hear()
		quit.Store(true)
		all.Wait()
		a.Close()
		proc.Say("off")
	}
}

// Contexts that end at about the moment when the lock is granted: an error
// means not held, and nothing is lost either way.
func TestRWCancelRace(t *testing.T) {
	a, m := testRW(t)
	holder := startRW(t, a)
	var held [3]atomic.Int64
	for round := range 40 {
		do(t, holder, "X")
		var all sync.WaitGroup
		for i, way := range modes {
			for k := range 4 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration((round+1)*(k+1)*5)*time.Microsecond)
					defer cancel()
					err := way.wait(m, ctx)
					if err == nil {
						held[i].Add(1)
						way.unlock(m)
					} else if !errors.Is(err, ErrTimeout) {
						t.Error(err)
					}
				})
			}
		}
		do(t, holder, "X-")
		all.Wait()
		if !m.TryLock() {
			t.Fatal("not free after all have gone")
		}
		m.Unlock()
	}
	t.Logf("of 160 each, R %d, U %d, X %d got in", held[0].Load(), held[1].Load(), held[2].Load())
}

// A time-out says who was in the way.
func TestRWTimeoutError(t *testing.T) {
	a, m := testRW(t)
	for _, held := range []string{"R", "X"} {
		holder := startRW(t, a)
		do(t, holder, held)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		err := m.LockContext(ctx)
		cancel()
		var e *TimeoutError
		if !errors.As(err, &e) || e.HolderPID != holder.PID() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beside %s of %d: %v", held, holder.PID(), err)
		}
		ctx, cancel = context.WithCancel(context.Background())
		cancel()
		if err := m.LockContext(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		do(t, holder, held+"-")
	}
}

// Close gives back what is held in every mode, wakes who waits, and afterwards
// no handle takes anything.
func TestRWClose(t *testing.T) {
	for _, held := range modes {
		t.Run(held.name, func(t *testing.T) {
			path := testPath(t)
			watcher, err := Open(path, &Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer watcher.Close()
			p := proc.Start(t, "rw-closer", []string{path, held.name})
			p.Expect("held")
			m := watcher.RWMutex("it")
			var wait func()
			if held.name != "R" {
				wait = proc.MustBlock(t, "ULock", m.ULock)
			} else {
				wait = proc.MustBlock(t, "Lock", m.Lock)
			}
			p.Send("close")
			p.Expect("true")
			wait()
			if d, ok := m.Abandoned(); ok != (held.name == "X") || ok && d.Cause != Closed {
				t.Errorf("abandoned: %v, %+v", ok, d)
			}
			m.MarkConsistent()
			if held.name != "R" {
				m.UUnlock()
			} else {
				m.Unlock()
			}
			p.Send("after")
			p.Expect("closed")
		})
	}
}

func init() {
	roles["rw-closer"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		m := a.RWMutex("it")
		for _, way := range modes {
			if way.name == args[1] {
				way.lock(m)
				if way.name == "R" {
					m.RLock()
				}
				ended := make(chan error)
				go func() { ended <- m.LockContext(context.Background()) }()
				proc.Say("held")
				proc.Hear()
				err := a.Close()
				proc.Say("%v", errors.Is(err, ErrWasHeld) && errors.Is(<-ended, ErrClosed))
				proc.Hear()
				way.unlock(m) // does nothing
				m.RUnlock()
				for _, again := range modes {
					if again.try(m) {
						proc.Say("%s after Close", again.name)
					}
					if err := again.wait(m, context.Background()); !errors.Is(err, ErrClosed) {
						proc.Say("%s after Close: %v", again.name, err)
					}
				}
				func() {
					defer func() { proc.Say("closed"); recover() }()
					m.RLock()
					proc.Say("RLock after Close")
				}()
			}
		}
	}
}

// More names than there are slots or records: idle ones make room, those in
// use keep theirs, and a handle to a name that was gone meanwhile works.
func TestRWEviction(t *testing.T) {
	a, keep := testRW(t)
	keep.RLock()
	kept := a.RWMutex("kept upgradable")
	kept.ULock()
	first := a.RWMutex("name 0")
	for i := range 3000 {
		m := a.RWMutex(fmt.Sprintf("name %d", i))
		m.RLock()
		if i%5 == 0 && !m.TryUpgrade() {
			t.Fatalf("name %d cannot be upgraded", i)
		} else if i%5 == 0 {
			m.Unlock()
		} else {
			m.RUnlock()
		}
	}
	first.RLock()
	if a.RWMutex("name 0").TryLock() {
		t.Error("a writer beside a reader through an old handle")
	}
	first.RUnlock()
	if keep.TryLock() || kept.TryULock() {
		t.Error("taken from who holds it")
	}
	kept.UUnlock()
	keep.RUnlock()
	keep.Lock()
	keep.Unlock()
}

// Processes that come and go share few cells.
func TestRWCellsAreReused(t *testing.T) {
	a, m := testRW(t)
	m.RLock()
	m.RUnlock()
	for range 10 {
		p := startRW(t, a)
		do(t, p, "R")
		p.Kill()
		a.core.settleDead()
	}
	cells := 0
	b := m.binding()
	for range a.core.chain(b.index, b.slot) {
		cells++
	}
	if cells != 2 {
		t.Errorf("%d cells for two readers at a time", cells)
	}
}

// A panic in Do leaves the lock abandoned, in RDo it is merely given back.
func TestRWDo(t *testing.T) {
	_, m := testRW(t)
	boom := func(context.Context) error { panic("boom") }
	func() {
		defer func() { recover() }()
		m.RDo(context.Background(), boom)
	}()
	m.ULock()
	if _, ok := m.Abandoned(); ok {
		t.Error("abandoned by a reader")
	}
	m.UUnlock()
	func() {
		defer func() { recover() }()
		m.Do(context.Background(), boom)
	}()
	m.RLock()
	if d, ok := m.Abandoned(); !ok || d.Cause != Panicked {
		t.Errorf("not abandoned by a panic: %v %+v", ok, d)
	}
	m.RUnlock()
	if err := m.Do(context.Background(), func(context.Context) error { return m.MarkConsistent() }); err != nil {
		t.Error(err)
	}
	l := m.RLocker()
	l.Lock()
	l.Unlock()
}

// Readers that wait for a writer get in before the next one, and writers that
// wait for readers before the next of those.
func TestRWTurns(t *testing.T) {
	a, m := testRW(t)
	writer, reader := startRW(t, a), startRW(t, a)
	for range 5 {
		m.Lock()
		writer.Send("X")
		writer.Silent()
		reader.Send("R")
		reader.Silent()
		m.Unlock()
		reader.Expect("ok")
		writer.Silent()
		later := make(chan bool)
		go func() {
			m.RLock()
			close(later)
		}()
		select {
		case <-later:
			t.Fatal("a reader passed a writer that waits")
		case <-time.After(proc.StillBlocks / 10):
		}
		do(t, reader, "R-")
		writer.Expect("ok")
		do(t, writer, "X-")
		<-later
		m.RUnlock()
	}
}

// Closing one of several openings wakes who waits through it, in any mode.
func TestRWCloseOneOpening(t *testing.T) {
	a, m := testRW(t)
	for _, way := range modes {
		b, err := Open(a.Path(), &Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		m.Lock()
		wait := proc.MustBlock(t, way.name, func() {
			if err := way.wait(b.RWMutex("it"), context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", way.name, err)
			}
		})
		b.Close()
		wait()
		m.Unlock()
		m.RLock() // a writer that waits for readers
		if b, err = Open(a.Path(), &Options{Logger: quiet}); err != nil {
			t.Fatal(err)
		}
		wait = proc.MustBlock(t, "X", func() {
			if err := b.RWMutex("it").LockContext(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("X beside a reader: %v", err)
			}
		})
		b.Close()
		wait()
		m.RUnlock()
	}
}
