package arena

import (
	"sync"
	"sync/atomic"
	"time"

	"lockd/futex"
)

// muxer bounds the threads that sleep at futexes. Up to directSleepers agents
// sleep by themselves, which is quickest; the words of all others are slept on
// by a few threads, muxWords a thread, which signal the agents over channels.
type muxer struct {
	direct atomic.Int64
	mu     sync.Mutex
	groups []*muxGroup
	closed bool
	ended  sync.WaitGroup
}

const (
	directSleepers = 256
	// muxWords: each word costs at every sleep of its thread, so more threads
	// of fewer words are quicker, and fewer of more words are fewer.
	muxWords = 48

	// boundedSleep is for kernels without futex_waitv, where nothing can wake
	// one sleeper without waking others: he looks again by himself.
	boundedSleep = 20 * time.Millisecond
)

// muxSleep is one agent's sleep in a group.
type muxSleep struct {
	word   *atomic.Uint32
	value  uint32
	nudged *atomic.Uint32
	wake   chan struct{}
}

// muxGroup is one thread. control is its private futex word: 1 says that the
// sleeps have changed, or that a nudge is to be looked for.
type muxGroup struct {
	control atomic.Uint32
	sleeps  []*muxSleep // guarded by the muxer's mutex
}

// sleep sleeps while the word has this value and nudged is 0, in whichever way
// there is. It may return without a reason.
func (x *muxer) sleep(word *atomic.Uint32, value uint32, nudged *atomic.Uint32) {
	switch {
	case !futex.HasWaitAny():
		x.bounded(word, value)
	case x.enter():
		_, err := futex.WaitAny([]futex.Word{{Addr: word, Value: value}, {Addr: nudged, Private: true}}, 0)
		x.leave()
		if err != nil && !wakeable(err) {
			x.bounded(word, value)
		}
	default:
		x.wait(word, value, nudged)
	}
}

// enter says whether this agent may sleep on a thread of its own; if so, it
// calls leave afterwards.
func (x *muxer) enter() bool {
	if x.direct.Add(1) <= directSleepers {
		return true
	}
	x.direct.Add(-1)
	return false
}

func (x *muxer) leave() { x.direct.Add(-1) }

// bounded is a sleep without futex_waitv. Beyond directSleepers it is in Go,
// and a wake goes unnoticed until it is over.
func (x *muxer) bounded(word *atomic.Uint32, value uint32) {
	if !x.enter() {
		time.Sleep(boundedSleep)
		return
	}
	defer x.leave()
	futex.Wait(word, value, futex.Now()+int64(boundedSleep))
}

// wait sleeps while the word has this value and nudged is 0.
func (x *muxer) wait(word *atomic.Uint32, value uint32, nudged *atomic.Uint32) {
	s := &muxSleep{word: word, value: value, nudged: nudged, wake: make(chan struct{}, 1)}
	x.mu.Lock()
	g := x.groupWithRoom()
	if g == nil {
		x.mu.Unlock()
		return
	}
	g.sleeps = append(g.sleeps, s)
	x.mu.Unlock()
	g.look()
	<-s.wake
}

func (x *muxer) groupWithRoom() *muxGroup {
	if x.closed {
		return nil
	}
	for _, g := range x.groups {
		if len(g.sleeps) < muxWords {
			return g
		}
	}
	g := &muxGroup{}
	x.groups = append(x.groups, g)
	x.ended.Go(func() { x.run(g) })
	return g
}

// look makes the group's thread look at its list again.
func (g *muxGroup) look() {
	g.control.Store(1)
	futex.WakePrivate(&g.control, 1)
}

// run sleeps for the group until it is empty. Each sleep takes two words of
// futex_waitv, the lock's and the agent's.
func (x *muxer) run(g *muxGroup) {
	words := make([]futex.Word, 0, 1+2*muxWords)
	woken, refused := -1, false
	for {
		g.control.Store(0)
		x.mu.Lock()
		kept := g.sleeps[:0]
		for i, s := range g.sleeps {
			if x.closed || refused || woken == i || s.word.Load() != s.value || s.nudged.Load() != 0 {
				s.wake <- struct{}{}
				continue
			}
			kept = append(kept, s)
		}
		clear(g.sleeps[len(kept):])
		g.sleeps = kept
		if len(kept) == 0 {
			for i := range x.groups {
				if x.groups[i] == g {
					x.groups = append(x.groups[:i], x.groups[i+1:]...)
					break
				}
			}
			x.mu.Unlock()
			return
		}
		words = append(words[:0], futex.Word{Addr: &g.control, Private: true})
		for _, s := range kept {
			words = append(words, futex.Word{Addr: s.word, Value: s.value}, futex.Word{Addr: s.nudged, Private: true})
		}
		x.mu.Unlock()
		index, err := futex.WaitAny(words, 0)
		refused = err != nil && !wakeable(err)
		if refused {
			time.Sleep(boundedSleep)
		}
		// The sleeps may have grown behind the ones that were slept on, and
		// only this goroutine takes any away, so the index still holds.
		if woken = -1; err == nil && index > 0 {
			woken = (index - 1) / 2
		}
	}
}

// stop ends the groups; nobody sleeps in them any more by then.
func (x *muxer) stop() {
	x.mu.Lock()
	x.closed = true
	for _, g := range x.groups {
		g.look()
	}
	x.mu.Unlock()
	x.ended.Wait()
}
