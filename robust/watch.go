package robust

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
)

// retryAfter keeps a peer that cannot be watched from costing a system call
// each time it is met.
const retryAfter = 100 * time.Millisecond

// Watcher tells when processes end. It keeps a pidfd of each in Go's network
// poller: a goroutine for each, but no thread. Its methods may be called by
// several goroutines at once.
type Watcher struct {
	limit   int
	running sync.WaitGroup

	mu      sync.Mutex // guards all below, and the links of every watch
	watches map[uint64]*watch
	refused map[uint64]refusal
	ring    watch // its neighbours: the most (older) and the least (newer) recently met
	closed  bool
	vigil   vigil
}

type watch struct {
	key          uint64
	id           Identity
	sentinel     *atomic.Uint32 // may be nil
	looked       bool           // at the sentinel, since it has fallen
	notify       func(key uint64)
	pidfd        *os.File
	newer, older *watch
}

type refusal struct {
	id    Identity
	until time.Time
}

// NewWatcher returns a Watcher that keeps at most limit pidfds; of more
// processes the least recently met are dropped, unnoticed: a Watcher makes
// waiting short, it is not what ends it. With a limit below 1 it watches
// nothing.
func NewWatcher(limit int) *Watcher {
	w := &Watcher{
		limit:   limit,
		watches: make(map[uint64]*watch),
		refused: make(map[uint64]refusal),
	}
	w.ring.newer, w.ring.older = &w.ring, &w.ring
	return w
}

// Watch sees to it that notify is called with key, once and in a goroutine of
// its own, when the process is proven gone; at once if it is already. The
// proof is that of [JudgePID], so a call to execve goes unnoticed. With the
// call the watch ends: whoever calls Watch for the same process again is
// notified again.
//
// Watching what is being watched already only marks it as recently met, makes
// no system call, allocates nothing and keeps the first notify. The same key
// with another identity replaces the watch.
//
// Watch returns false if the process cannot be watched (another pid
// namespace, no pidfd_open, no spare descriptor, or w is closed), and does
// not try that one again for 100 ms. The caller then has to look by itself
// from time to time.
func (w *Watcher) Watch(key uint64, id Identity, notify func(key uint64)) bool {
	return w.WatchSentinel(key, id, nil, notify)
}

// WatchSentinel is Watch of a process that may have posted a sentinel at this
// word, which stays mapped until [Watcher.Close] has returned. The proof is
// then that of [JudgeFallen] for a process whose sentinel has fallen, so the
// news comes sooner. While a Watcher has such watches it takes one thread.
func (w *Watcher) WatchSentinel(key uint64, id Identity, sentinel *atomic.Uint32, notify func(key uint64)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	if p, ok := w.watches[key]; ok {
		if p.id == id {
			w.unlink(p)
			w.link(p)
			return true
		}
		w.drop(p)
	}
	if w.closed || w.limit < 1 {
		return false
	}
	if r, ok := w.refused[key]; ok {
		if r.id == id && time.Now().Before(r.until) {
			return false
		}
		delete(w.refused, key)
	}

	fd, verdict := openJudged(id, unix.PIDFD_NONBLOCK)
	switch {
	case verdict == Gone:
		w.running.Go(func() { notify(key) })
		return true
	case verdict == Unknown || !w.start(&watch{key: key, id: id, sentinel: sentinel, notify: notify}, fd):
		w.refuse(key, id)
		return false
	}
	return true
}

// Forget ends the watch of key, if there is one. A notify whose turn has
// already come is not held back.
func (w *Watcher) Forget(key uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.watches[key]; ok {
		w.drop(p)
	}
	delete(w.refused, key)
}

// Close ends all watches and closes their pidfds. It waits for every call of
// notify that has begun (notify must not call Close) and none begins after
// it. Watch returns false from then on; closing again does nothing.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.closed = true
	for _, p := range w.watches {
		w.drop(p)
	}
	clear(w.refused)
	w.disturb()
	w.mu.Unlock()
	w.running.Wait()
}

// start owns fd from here on.
func (w *Watcher) start(p *watch, fd int) bool {
	file := os.NewFile(uintptr(fd), "pidfd")
	conn, err := file.SyscallConn()
	if err != nil || file.SetReadDeadline(time.Time{}) != nil { // not taken by the poller
		file.Close()
		return false
	}
	if len(w.watches) == w.limit {
		w.drop(w.ring.newer)
	}
	p.pidfd = file
	w.watches[p.key] = p
	w.link(p)
	if p.sentinel != nil && canTellExited() && futex.HasWaitAny() {
		w.attend()
	}
	w.running.Go(func() {
		verdict := Unknown
		conn.Read(func(fd uintptr) bool {
			verdict = pollPidfd(int(fd))
			return verdict != Alive
		})
		if verdict == Gone {
			w.tell(p)
		} else if w.finish(p) {
			p.pidfd.Close()
		}
	})
	return true
}

// tell says that p's process is gone, if that is still wanted. Whoever waits
// for the news goes first.
func (w *Watcher) tell(p *watch) {
	if w.finish(p) {
		p.notify(p.key)
		p.pidfd.Close()
	}
}

// finish ends p and reports whether it was still wanted: of drop and the
// process's end, whichever gets the mutex first decides whether notify is
// called.
func (w *Watcher) finish(p *watch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watches[p.key] != p {
		return false
	}
	delete(w.watches, p.key)
	w.unlink(p)
	return true
}

// drop is called with mu held. Closing wakes the goroutine and waits until it
// has left the poller, for which it does not need mu.
func (w *Watcher) drop(p *watch) {
	delete(w.watches, p.key)
	w.unlink(p)
	p.pidfd.Close()
}

func (w *Watcher) refuse(key uint64, id Identity) {
	if len(w.refused) >= max(w.limit, 1) {
		clear(w.refused)
	}
	w.refused[key] = refusal{id, time.Now().Add(retryAfter)}
}

func (w *Watcher) link(p *watch) {
	p.newer, p.older = &w.ring, w.ring.older
	p.newer.older, p.older.newer = p, p
}

func (w *Watcher) unlink(p *watch) {
	p.newer.older, p.older.newer = p.older, p.newer
}
