package robust

import (
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/feature"
)

// obituary collects what a Watcher says.
type obituary struct {
	mu    sync.Mutex
	count map[uint64]int
	news  chan uint64
}

func newObituary() *obituary {
	return &obituary{count: make(map[uint64]int), news: make(chan uint64, 1000)}
}

func (o *obituary) notify(key uint64) {
	o.mu.Lock()
	o.count[key]++
	o.mu.Unlock()
	o.news <- key
}

func (o *obituary) of(key uint64) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count[key]
}

func (o *obituary) await(t testing.TB) uint64 {
	t.Helper()
	select {
	case key := <-o.news:
		return key
	case <-time.After(doneBound):
		t.Fatal("no word of a death")
		return 0
	}
}

// startWatching fails the test if the Watcher leaves anything behind.
func startWatching(t testing.TB, limit int) *Watcher {
	t.Helper()
	skipWithoutPidfd(t)
	before := openPidfds(t)
	w := NewWatcher(limit)
	t.Cleanup(func() {
		w.Close()
		if after := openPidfds(t); after > before {
			t.Errorf("%d pidfds before, %d after", before, after)
		}
		if stacks := allStacks(); strings.Contains(stacks, "robust.(*Watcher).") {
			t.Errorf("goroutines are left:\n%s", stacks)
		}
	})
	return w
}

func allStacks() string {
	stacks := make([]byte, 1<<20)
	return string(stacks[:runtime.Stack(stacks, true)])
}

// os/exec has pidfds of its own for children that have not been reaped.
func openPidfds(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, entry := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + entry.Name()); strings.Contains(target, "pidfd") {
			count++
		}
	}
	return count
}

func watchMust(t testing.TB, w *Watcher, key uint64, id Identity, notify func(uint64)) {
	t.Helper()
	if !w.Watch(key, id, notify) {
		t.Fatalf("%d: cannot watch %+v", key, id)
	}
}

func TestWatcherTellsOfEveryDeath(t *testing.T) {
	w, o := startWatching(t, 100), newObituary()
	children := make([]*child, 24)
	for i := range children {
		children[i] = start(t, "idle", nil)
		watchMust(t, w, uint64(i), children[i].id, o.notify)
	}
	for i := range children {
		if i%3 != 0 {
			children[i].cmd.Process.Kill()
		}
	}
	told := make(map[uint64]bool)
	for len(told) < 16 {
		told[o.await(t)] = true
	}
	w.Close()
	for i := range children {
		if got, dead := o.of(uint64(i)), i%3 != 0; got != 0 != dead || got > 1 {
			t.Errorf("child %d, dead %v: told %d times", i, dead, got)
		}
	}
}

func TestWatcherIsPatientWithLeaderless(t *testing.T) {
	w, o := startWatching(t, 1), newObituary()
	c := start(t, "leaderless", nil)
	watchMust(t, w, 1, c.id, o.notify)
	eventually(t, "the first thread has exited", func() bool { return procState(t, int(c.id.PID)) == "Z" })
	c.tell(t, "still there?")
	var yes bool
	c.answer(t, &yes)
	if o.of(1) != 0 {
		t.Error("told of a death while it answers")
	}
	c.cmd.Process.Kill()
	o.await(t)
}

func TestWatcherOfTheDead(t *testing.T) {
	w, o := startWatching(t, 1), newObituary()
	c := start(t, "idle", nil)
	c.die(t)
	watchMust(t, w, 1, c.id, o.notify)
	o.await(t)
	c.cmd.Wait()
	watchMust(t, w, 1, c.id, o.notify)
	o.await(t)
	if len(w.watches) != 0 {
		t.Errorf("still watched: %d", len(w.watches))
	}
}

func TestWatcherRefuses(t *testing.T) {
	w := startWatching(t, 1)
	never := func(key uint64) { t.Errorf("told of a death: %d", key) }
	foreign := self(t)
	foreign.PIDNS++
	if w.Watch(1, foreign, never) {
		t.Error("watched in another namespace")
	}
	restore := feature.PidfdOpen.SetOff(true)
	if w.Watch(2, self(t), never) {
		t.Error("watched without pidfd_open")
	}
	restore()
	if NewWatcher(0).Watch(3, self(t), never) {
		t.Error("watched with limit 0")
	}
	for key := range uint64(50) {
		w.Watch(100+key, foreign, never)
	}
	if len(w.refused) > w.limit {
		t.Errorf("remembers %d refusals", len(w.refused))
	}
}

func TestWatcherMeetsAgainForFree(t *testing.T) {
	w := startWatching(t, 2)
	id := self(t)
	never := func(uint64) {}
	watchMust(t, w, 1, id, never)
	watchMust(t, w, 2, id, never)
	defer feature.PidfdOpen.SetOff(true)()
	key := uint64(0)
	if n := testing.AllocsPerRun(100, func() {
		key = key%2 + 1
		watchMust(t, w, key, id, never)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestWatcherDropsTheLeastRecentlyMet(t *testing.T) {
	w, o := startWatching(t, 3), newObituary()
	dropped, kept := start(t, "idle", nil), start(t, "idle", nil)
	before := openPidfds(t)
	watchMust(t, w, 1, kept.id, o.notify)
	watchMust(t, w, 2, dropped.id, o.notify)
	watchMust(t, w, 3, self(t), o.notify)
	watchMust(t, w, 1, kept.id, o.notify)
	watchMust(t, w, 4, self(t), o.notify)
	if got := openPidfds(t) - before; got != 3 {
		t.Errorf("%d pidfds", got)
	}
	dropped.die(t)
	kept.die(t)
	if key := o.await(t); key != 1 {
		t.Errorf("told of %d", key)
	}
	for key := range uint64(200) {
		watchMust(t, w, key, self(t), o.notify)
	}
	if got := openPidfds(t) - before; got != 3 {
		t.Errorf("%d pidfds after many", got)
	}
	w.Close()
	if o.of(2) != 0 {
		t.Error("told of one that was dropped")
	}
}

func TestWatcherForgetsAndReplaces(t *testing.T) {
	w, o := startWatching(t, 8), newObituary()
	first, second := start(t, "idle", nil), start(t, "idle", nil)
	watchMust(t, w, 1, first.id, o.notify)
	watchMust(t, w, 2, first.id, o.notify)
	watchMust(t, w, 3, first.id, o.notify)
	w.Forget(1)
	w.Forget(9)
	watchMust(t, w, 2, second.id, o.notify)
	first.die(t)
	if key := o.await(t); key != 3 {
		t.Errorf("told of %d", key)
	}
	second.die(t)
	if key := o.await(t); key != 2 {
		t.Errorf("told of %d", key)
	}
	w.Close()
	if o.of(1) != 0 || o.of(2) != 1 {
		t.Errorf("told of 1 %d times, of 2 %d times", o.of(1), o.of(2))
	}
}

func TestWatcherIsSilentOnceClosed(t *testing.T) {
	for round := range 20 {
		w, o := startWatching(t, 8), newObituary()
		c := start(t, "idle", nil)
		for key := range uint64(8) {
			watchMust(t, w, key, c.id, o.notify)
		}
		var killer sync.WaitGroup
		killer.Go(func() { c.cmd.Process.Kill() })
		if round%2 == 0 {
			killer.Wait()
		}
		w.Close()
		told := len(o.news)
		killer.Wait()
		c.cmd.Wait()
		if w.Watch(1, c.id, o.notify) {
			t.Error("watched after Close")
		}
		w.Close()
		if len(o.news) != told {
			t.Error("told of a death after Close")
		}
	}
}

// The process has ended and its goroutine knows, but the watch is taken away
// before it gets the mutex.
func TestWatcherForgetsAtTheLastMoment(t *testing.T) {
	w, o := startWatching(t, 1), newObituary()
	c := start(t, "idle", nil)
	watchMust(t, w, 1, c.id, o.notify)
	w.mu.Lock()
	c.die(t)
	eventually(t, "the goroutine wants the mutex", func() bool {
		return strings.Contains(allStacks(), "robust.(*Watcher).finish(")
	})
	w.drop(w.watches[1])
	w.mu.Unlock()
	w.Close()
	if o.of(1) != 0 {
		t.Error("told of one that was forgotten")
	}
}

// A notify of one that is still being waited for may use the Watcher.
func TestWatcherFromNotify(t *testing.T) {
	w, o := startWatching(t, 8), newObituary()
	c := start(t, "idle", nil)
	watchMust(t, w, 1, c.id, func(key uint64) {
		w.Forget(key)
		w.Watch(2, c.id, o.notify)
	})
	c.die(t)
	if key := o.await(t); key != 2 {
		t.Errorf("told of %d", key)
	}
}

func TestWatcherUnderManyHands(t *testing.T) {
	w, o := startWatching(t, 4), newObituary()
	alive, dead := self(t), start(t, "idle", nil)
	dead.dieAndReap(t)
	var hands sync.WaitGroup
	for hand := range 8 {
		hands.Go(func() {
			for i := range uint64(200) {
				key := (i + uint64(hand)) % 6
				switch i % 5 {
				case 0:
					w.Forget(key)
				case 1:
					if i%25 == 1 {
						w.Watch(key, dead.id, o.notify)
					}
				default:
					w.Watch(key, alive, func(uint64) { t.Error("told of our own death") })
				}
			}
		})
	}
	hands.Wait()
	w.Close()
	if len(o.news) != 8*8 {
		t.Errorf("told of the dead %d times", len(o.news))
	}
}

// A waiting goroutine must not be a waiting thread.
func TestWatcherTakesNoThreads(t *testing.T) {
	w := startWatching(t, 500)
	id := self(t)
	before := threads(t)
	for key := range uint64(500) {
		watchMust(t, w, key, id, func(uint64) {})
	}
	if grown := threads(t) - before; grown > 250 { // a busy machine has a few more at a time in system calls
		t.Errorf("%d more threads for 500 watches", grown)
	}
}

func threads(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
