package arena

import (
	"sync"
	"time"

	"lockd/futex"
)

// lot is where the goroutines of this process wait: a queue for each slot
// that somebody in this process waits for, and only as long as somebody does.
type lot struct {
	shards [64]lotShard
}

// lotKey is a slot in one generation: under its next name others wait.
type lotKey struct {
	index      uint32
	generation uint32
}

type lotShard struct {
	mu     sync.Mutex
	queues map[lotKey]*queue
	_      [40]byte
}

// queue holds the goroutines of this process that wait for one slot. At most
// one of them, the agent, tries for the lock and sleeps at the futex on behalf
// of all; the others are parked in Go and cost no thread.
//
// If the list is not empty, there is an agent, or a goroutine of this process
// holds the lock with L in its word and appoints the agent when it releases.
type queue struct {
	key   lotKey
	slot  *slot
	users int // guarded by the shard

	mu     sync.Mutex
	agent  *waiter
	list   waiterList
	count  int    // agent and list
	record uint32 // what the inspector sees of this queue
	turns  int    // releases in a row that went to goroutines of this process

	// nudged is the agent's. It is on the heap, as the kernel's view of it needs.
	nudged alarm

	seen uint64 // the ticker's: the word at its last look
}

// waiter is one waiting goroutine. granted and the links are guarded by the
// queue's mutex.
type waiter struct {
	wake       chan struct{}
	since      int64 // CLOCK_MONOTONIC, ns
	granted    bool  // the lock was handed over to it
	parked     bool  // an agent that sleeps in Go, not at the futex
	next, prev *waiter

	// nudged is a readers' agent's: one can be let in, and have a successor,
	// before it has noticed.
	nudged alarm
}

func newWaiter() *waiter {
	return &waiter{wake: make(chan struct{}, 1), since: futex.Now()}
}

// nudge makes a readers' agent look again.
func (w *waiter) nudge() {
	w.nudged.ring()
}

type waiterList struct{ first, last *waiter }

func (l *waiterList) push(w *waiter) {
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
}

func (l *waiterList) remove(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.next, w.prev = nil, nil
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *waiter) waited() time.Duration { return time.Duration(futex.Now() - w.since) }

func (l *lot) init() {
	for i := range l.shards {
		l.shards[i].queues = make(map[lotKey]*queue)
	}
}

func (l *lot) shard(key lotKey) *lotShard { return &l.shards[key.index%uint32(len(l.shards))] }

// enter returns the queue of a slot, to be left by leave.
func (l *lot) enter(key lotKey, s *slot) *queue {
	sh := l.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	q := sh.queues[key]
	if q == nil {
		q = &queue{key: key, slot: s}
		sh.queues[key] = q
	}
	q.users++
	return q
}

func (l *lot) leave(q *queue) {
	sh := l.shard(q.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(sh.queues, q.key)
	}
}

// find returns the queue of a slot if there is one, to be left by leave.
func (l *lot) find(key lotKey) *queue {
	sh := l.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	q := sh.queues[key]
	if q != nil {
		q.users++
	}
	return q
}

// all calls f for each queue; f must not enter the lot.
func (l *lot) all(f func(*queue)) {
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		for _, q := range sh.queues {
			f(q)
		}
		sh.mu.Unlock()
	}
}

// nudgeAll makes every agent look again.
func (l *lot) nudgeAll() { l.all((*queue).nudge) }

// nudge makes the agent look again: at the word, at its owner's life, at its
// context. What the nudger has to tell must be visible before.
func (q *queue) nudge() {
	q.nudged.ring()
	q.mu.Lock()
	if q.agent != nil {
		q.agent.signal()
	}
	q.mu.Unlock()
}

// rouse makes every goroutine look whether it should give up: the agent may
// be one that never does.
func (q *queue) rouse() {
	q.nudge()
	q.mu.Lock()
	for w := q.list.first; w != nil; w = w.next {
		w.signal()
	}
	q.mu.Unlock()
}

// appoint makes the longest waiting goroutine the agent, if there is none,
// and wakes the agent. Called with mu held.
func (q *queue) appoint() {
	if q.agent == nil && q.list.first != nil {
		q.agent = q.list.first
		q.list.remove(q.agent)
	}
	if q.agent != nil {
		q.agent.signal()
	}
}
