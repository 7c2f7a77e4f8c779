package arena

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// These tests, and those in the files beside this one whose names begin alike,
// show what a review by attack found in the first version. Most call what a
// goroutine would have called next that was slow just there; where that cannot
// be done, the sources have a point at which the test comes in between.

// Windows that are open for a few instructions are held open in a binary that
// has the crash points.
func TestWindows(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	t.Parallel()
	binary := buildWithCrashPoints(t)
	for _, inner := range []string{
		"TestSlowSettler", "TestSettlingOfWhatChanges", "TestTryAfterCutEviction", "TestReleasedBeforeRobbed",
		"TestRobbedOfWhatTheDeadHeld", "TestRobbedMeetsOwnProcess", "TestInsertMeetsSameName",
	} {
		t.Run(inner, func(t *testing.T) {
			if output, err := runInner(t, binary, "", inner); err != nil {
				t.Errorf("%v\n%s", err, output)
			}
		})
	}
}

// Without descriptors a process cannot learn who it is. As a member without a
// pid it would write words that look free.
func TestAttachWithoutDescriptors(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	p := proc.Start(t, "short of descriptors", []string{a.Path()})
	if got := p.Next(); !strings.Contains(got, unix.EMFILE.Error()) {
		t.Errorf("attaching without a descriptor left: %s", got)
	}
}

func init() {
	roles["short of descriptors"] = func(args []string) {
		proc.Say("%v", attachShort(args[0]))
	}
}

func attachShort(path string) error {
	f, err := openExisting(path)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	p, err := preambleOf(f, path, &st)
	if err != nil {
		return err
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	_, err = attach(f, path, idOf(&st), p, &Options{Logger: quiet})
	return err
}

// The file has grown between the look at its size and the look at its header.
func TestOpenWhileTheFileGrows(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	f, err := openExisting(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var before unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &before); err != nil {
		t.Fatal(err)
	}
	if grown, err := a.core.grow(context.Background(), a.core.segments()); !grown {
		t.Fatal("the file does not grow: ", err)
	}
	if p, err := preambleOf(f, a.Path(), &before); err != nil || p.segments != 2 {
		t.Errorf("%d segments, %v", p.segments, err)
	}
}

// While the header is copied it comes to say that there is one more segment.
func TestSnapshotWhileTheFileGrows(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	if grown, err := a.core.grow(context.Background(), a.core.segments()); !grown {
		t.Fatal("the file does not grow: ", err)
	}
	done := make(chan struct{})
	var growing sync.WaitGroup
	growing.Go(func() {
		for segments := uint32(1); ; segments ^= 3 {
			select {
			case <-done:
				a.core.head.segments.Store(2)
				return
			default:
				a.core.head.segments.Store(segments)
			}
		}
	})
	for range 300 {
		if s, err := ReadSnapshot(a.Path()); err != nil {
			t.Errorf("with %d segments: %v", s.Segments, err)
			break
		}
	}
	close(done)
	growing.Wait()
}

// One opening leaves everything to the heirs of its descriptor, while another
// opening of the same process is still there.
func TestLeaveInheritedByOneOfTwo(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	o := &Options{ByteOnly: true, Logger: quiet}
	first, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.LeaveInherited(); err != nil {
		t.Fatal(err)
	}
	if second.Mutex("a").TryLock() {
		t.Error("the other opening can still lock")
	}
	var closing error
	if err := recovered(func() { closing = second.Close() }); err != nil || !errors.Is(closing, ErrClosed) {
		t.Errorf("Close of the other: %v; panic: %v", closing, err)
	}
}

// Asking for handles while the arena closes is no data race. Only the race
// detector can fail this.
func TestHandlesWhileClosing(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	for range 20 {
		a, err := Open(path, &Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		asking, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for i := range 200 {
				a.Mutex(strconv.Itoa(i))
				if i == 20 {
					close(asking)
				}
			}
		}()
		<-asking
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}
}

// A member's entry that changes while it is judged, as LeaveInherited changes
// it, is that of somebody who lives.
func TestJudgingAnEntryThatChanges(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	startActor(t, a.Path(), "owner").must("held", "lock a")
	c := a.core
	p, _ := c.find(hashName(c.head.seed.Load(), "a"), "a")
	owner := robust.Word(p.slot.word.Load()).Owner()
	state := &c.memberAt(owner.Index).state
	was := state.Load()
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			state.Store(was ^ flagLeftInOrder<<40)
			futex.Pause(8)
			state.Store(was)
			futex.Pause(8)
		}
	}()
	for i := range 5000 {
		if _, verdict := c.judge(owner); verdict == robust.Gone {
			t.Errorf("judgement %d: gone", i)
			break
		}
	}
	over.Store(true)
	<-done
}

// A waker that was slow clears the W of a sleeper it does not know of. The
// lock is hardly ever free when the sleeper's ticker looks.
func TestSleeperWithoutW(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	m := a.Mutex("busy")
	m.Lock()
	sleeper := startActor(t, a.Path(), "sleeper")
	sleeper.Send("lock busy")
	word := &m.binding().slot.word
	for {
		w := word.Load()
		if robust.Word(w).Has(robust.Waiters) && procState(sleeper.PID()) == "S" {
			if word.CompareAndSwap(w, w&^uint64(robust.Waiters|robust.Starved)) {
				break
			}
		}
		runtime.Gosched()
	}
	deadline := time.After(proc.Soon)
	for {
		m.Unlock()
		if !m.TryLock() {
			sleeper.Expect("held")
			return
		}
		select {
		case <-time.After(5 * time.Millisecond): // the holder's work
		case <-deadline:
			m.Unlock()
			t.Fatal("sleeps on, though the lock was let go many times")
		}
	}
}
