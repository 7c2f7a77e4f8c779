package robust

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/feature"
)

// sharedWords are memory that a child has too, as its descriptor 3.
func sharedWords(t testing.TB) (words []atomic.Uint32, inherited *os.File) {
	t.Helper()
	fd, err := unix.MemfdCreate("sentinels", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, int64(os.Getpagesize()))
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "sentinels")
	t.Cleanup(func() { f.Close() })
	words, unmap := mapWords(fd)
	t.Cleanup(unmap)
	return words, f
}

func mapWords(fd int) (words []atomic.Uint32, unmap func()) {
	b, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	return unsafe.Slice((*atomic.Uint32)(unsafe.Pointer(&b[0])), len(b)/4), func() { unix.Munmap(b) }
}

// sentry posts three sentinels and withdraws one when told to.
func sentry() {
	introduce()
	words, _ := mapWords(3)
	var sentinels [3]*Sentinel
	for i := range sentinels {
		sentinels[i] = PostSentinel(&words[i])
	}
	for _, s := range sentinels {
		<-s.posted
	}
	say(true)
	var which int
	hear(&which)
	sentinels[which].Withdraw()
	say(true)
	hearOut()
}

func startSentry(t testing.TB) (*child, []atomic.Uint32) {
	t.Helper()
	words, inherited := sharedWords(t)
	c := start(t, "sentry", func(cmd *exec.Cmd) { cmd.ExtraFiles = []*os.File{inherited} })
	var posted bool
	c.answer(t, &posted)
	return c, words
}

func TestSentinelFalls(t *testing.T) {
	c, words := startSentry(t)
	if words[0].Load() == 0 {
		t.Skip("needs robust lists, not switched off")
	}
	c.tell(t, 1)
	var withdrawn bool
	c.answer(t, &withdrawn)
	for i, posted := range []bool{true, false, true} {
		if v := words[i].Load(); Fallen(v) || v != 0 != posted {
			t.Errorf("sentinel %d of a living process: %#x", i, v)
		}
	}
	value := words[2].Load()
	woken := make(chan error, 1)
	go func() {
		deadline := futex.Now() + int64(doneBound)
		err := error(nil)
		for words[2].Load() == value && (err == nil || err == futex.ErrInterrupted) {
			err = futex.Wait(&words[2], value, deadline)
		}
		woken <- err
	}()
	c.cmd.Process.Kill()
	if err := <-woken; err != nil && err != futex.ErrChanged {
		t.Fatalf("%v, %#x", err, words[:3])
	}
	eventually(t, "both have fallen", func() bool { return Fallen(words[0].Load()) && Fallen(words[2].Load()) })
	c.cmd.Wait()
	if v := words[1].Load(); v != 0 {
		t.Errorf("the one that was withdrawn: %#x", v)
	}
}

// A thread has one list. Where the C library uses it, its threads keep theirs,
// but for one a sentinel, on which nothing else runs from then on.
func TestSentinelLeavesOtherLists(t *testing.T) {
	words, _ := sharedWords(t)
	before := robustLists(t)
	first := before[os.Getpid()]
	theirs := first != 0
	robustHeads.mu.Lock()
	for h := range robustHeads.inUse {
		theirs = theirs && address(h) != first
	}
	robustHeads.mu.Unlock()
	var posted [3]*Sentinel
	serves := make(map[int]bool)
	for i := range posted {
		posted[i] = PostSentinel(&words[i])
		defer posted[i].Withdraw()
		<-posted[i].posted
		serves[int(words[i].Load()&^sentinelWaiters)] = true
	}
	for tid, list := range robustLists(t) {
		if was, known := before[tid]; known && list != was && !serves[tid] {
			t.Errorf("thread %d had the list %#x and has %#x", tid, was, list)
		}
	}
	if theirs && serves[os.Getpid()] {
		t.Error("the C library's first thread is taken")
	}
}

func robustLists(t testing.TB) map[int]uintptr {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip(err)
	}
	lists := make(map[int]uintptr)
	for _, task := range tasks {
		tid, _ := strconv.Atoi(task.Name())
		var list, size uintptr
		if _, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid),
			uintptr(unsafe.Pointer(&list)), uintptr(unsafe.Pointer(&size))); errno == 0 {
			lists[tid] = list
		}
	}
	return lists
}

// A thread that holds a robust mutex of the C library stays what it is.
func TestSentinelPassesOverHolders(t *testing.T) {
	if len(robustLists(t)) == 0 {
		t.Skip("needs get_robust_list")
	}
	words, _ := sharedWords(t)
	done := make(chan struct{})
	held, list := &robustHead{}, &robustHead{} // not on the goroutine's stack, which moves
	var look func()
	look = func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			go look() // on another, as this one is kept
			<-done
			runtime.UnlockOSThread()
			return
		}
		defer close(done) // and with it the thread ends, list and all
		list.first.Store(address(held))
		held.first.Store(address(list))
		if setRobustList(list) != 0 {
			return
		}
		s := &Sentinel{word: &words[0]}
		if got := s.post(); got != takenThread {
			t.Errorf("with a mutex on the list: %v", got)
		}
		list.first.Store(address(list))
		list.pending = address(held)
		if got := s.post(); got != takenThread {
			t.Errorf("with one about to come or go: %v", got)
		}
		list.pending = 0
		if got := s.post(); got != ownThread {
			t.Errorf("with none: %v", got)
		}
		forget(s.head)
		runtime.KeepAlive(list)
		runtime.KeepAlive(held)
	}
	go look()
	<-done
}

func TestSentinelSwitchedOff(t *testing.T) {
	turnOff(t, feature.RobustList, true)
	var word atomic.Uint32
	s := PostSentinel(&word)
	<-s.posted
	if v := word.Load(); v != 0 {
		t.Errorf("%#x", v)
	}
	s.Withdraw()
}

// Posting and withdrawing many times leaves no threads, and not many heads.
func TestSentinelsComeAndGo(t *testing.T) {
	words, _ := sharedWords(t)
	cycle := func() {
		var posted []*Sentinel
		for i := range 4 {
			posted = append(posted, PostSentinel(&words[i]))
		}
		for _, s := range posted {
			s.Withdraw()
		}
		for i := range 4 {
			if v := words[i].Load(); v != 0 {
				t.Errorf("%#x is left", v)
			}
		}
	}
	cycle()
	before := threads(t)
	for range 100 {
		cycle()
	}
	eventually(t, "threads have ended", func() bool { return threads(t) < before+20 })
}

// With a sentinel that fell while its process lives, nothing is told until the
// process ends.
func TestWatcherOfTheFallen(t *testing.T) {
	c, words := startSentry(t)
	w, o := startWatching(t, 4), newObituary()
	if !w.WatchSentinel(1, c.id, &words[0], o.notify) {
		t.Fatal("cannot watch")
	}
	words[0].Store(sentinelFallen)
	futex.Wake(&words[0], futex.All)
	if canTellExited() && futex.HasWaitAny() {
		eventually(t, "it was looked at", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.watches[1].looked && w.vigil.looking == 0
		})
	}
	if o.of(1) != 0 {
		t.Fatal("told of a death")
	}
	c.cmd.Process.Kill()
	o.await(t)
}

func TestWatcherOfSentinels(t *testing.T) {
	for _, off := range []*feature.Feature{nil, feature.ProcessMrelease, feature.FutexWaitv} {
		t.Run("without="+off.String(), func(t *testing.T) {
			if off != nil {
				turnOff(t, off, true)
			}
			w, o := startWatching(t, 100), newObituary()
			var children []*child
			for i := range 12 {
				c, words := startSentry(t)
				if !w.WatchSentinel(uint64(i), c.id, &words[i%3], o.notify) {
					t.Fatal("cannot watch")
				}
				children = append(children, c)
			}
			for _, c := range children[:11] {
				c.cmd.Process.Kill()
			}
			told := make(map[uint64]bool)
			for len(told) < 11 {
				told[o.await(t)] = true
			}
			w.Close()
			for i := range children {
				if got := o.of(uint64(i)); got != 1 && i < 11 || got != 0 && i == 11 {
					t.Errorf("child %d: told %d times", i, got)
				}
			}
		})
	}
}

func TestJudgeFallenTable(t *testing.T) {
	skipWithoutPidfd(t)
	c := start(t, "idle", nil)
	held := func() Verdict { return Alive }
	expect(t, "alive", JudgeFallen(c.id, held, false), Alive)
	expect(t, "alive, byte free", JudgeFallen(c.id, func() Verdict { return Gone }, false), Gone)
	foreign := c.id
	foreign.PIDNS++
	expect(t, "another namespace", JudgeFallen(foreign, nil, false), Unknown)
	began := time.Now()
	c.cmd.Process.Kill()
	for JudgeFallen(c.id, held, false) != Gone {
		if time.Since(began) > doneBound {
			t.Fatal("killed, and still not gone")
		}
	}
	expect(t, "gone, by the byte alone", JudgeFallen(c.id, held, true), Alive)
	c.cmd.Wait()
	expect(t, "reaped", JudgeFallen(c.id, held, false), Gone)
}

// A wake at a sentinel that has not fallen, as one meant for the entry's last
// member, ends with who gets it: passed on among many it would never end.
func TestWatcherKeepsStrayWake(t *testing.T) {
	c, words := startSentry(t)
	if words[0].Load() == 0 || !canTellExited() || !futex.HasWaitAny() {
		t.Skip("needs robust lists, process_mrelease and futex_waitv")
	}
	w, o := startWatching(t, 4), newObituary()
	if !w.WatchSentinel(1, c.id, &words[0], o.notify) {
		t.Fatal("cannot watch")
	}
	// The stray wake is not for the other sleeper; one that is passed on is for
	// all. It falls asleep elsewhere, and is moved here.
	const (
		wait, wake, requeue = 9, 10, 4 // FUTEX_WAIT_BITSET and so on
		stray, other        = 1, 2     // bits
	)
	door := &words[len(words)-1]
	woken := make(chan struct{})
	go func() {
		defer close(woken)
		for futexCall(door, wait, 0, 0, nil, other) == -1 {
		}
	}()
	eventually(t, "the other sleeps", func() bool { return futexCall(door, requeue, 0, 1, &words[0], 0) == 1 })
	for range 2 { // the second time it has done what it does with the first
		eventually(t, "the watcher is woken", func() bool { return futexCall(&words[0], wake, 1, 0, nil, stray) == 1 })
	}
	w.Close()
	eventually(t, "the other is awake", func() bool {
		// After a signal it sleeps where it began.
		if futexCall(&words[0], wake, 1, 0, nil, other) == 1 || futexCall(door, wake, 1, 0, nil, other) == 1 {
			<-woken
			return true
		}
		select {
		case <-woken:
			t.Error("the wake was passed on")
			return true
		default:
			return false
		}
	})
}

// futexCall returns what futex(2) does, or -1 with an error.
func futexCall(word *atomic.Uint32, op, value, value2 uintptr, word2 *atomic.Uint32, value3 uintptr) int {
	n, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), op, value, value2, uintptr(unsafe.Pointer(word2)), value3)
	if errno != 0 {
		return -1
	}
	return int(n)
}
