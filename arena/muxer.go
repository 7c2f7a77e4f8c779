package arena

import (
	"runtime"
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

// alarm asks an agent that sleeps, or is about to, to look again at everything:
// it is its private futex word, 1 if it was asked. One that sleeps in a group
// is signalled over a channel instead: a private word for each would double
// what its thread sleeps on, and crowd the kernel's table of this process's
// futexes, which the Go runtime uses too.
type alarm struct {
	atomic.Uint32
	asleep atomic.Pointer[muxSleep]
}

// ring asks. What there is to see must be visible before. Whoever is about to
// sleep says so and then looks at the word; one of the two sees the other.
func (a *alarm) ring() {
	a.Store(1)
	if s := a.asleep.Load(); s != nil {
		s.signal()
		return
	}
	futex.WakePrivate(&a.Uint32, 1)
}

// muxSleep is one agent's sleep in a group.
type muxSleep struct {
	word  *atomic.Uint32
	value uint32
	wake  chan struct{}
	ended atomic.Bool // it is in no list any more; set before the signal
	left  bool        // the agent does not sleep any more; guarded by the muxer's mutex
	group *muxGroup
}

func (s *muxSleep) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// muxGroup is one thread. control is its private futex word: 1 says that the
// sleeps have changed.
type muxGroup struct {
	control atomic.Uint32
	sleeps  []*muxSleep // guarded by the muxer's mutex, as is
	left    int         // how many of them were
}

// sleep sleeps while the word has this value and nudged is 0, in whichever way
// there is. It may return without a reason.
func (x *muxer) sleep(word *atomic.Uint32, value uint32, nudged *alarm) {
	switch {
	case !futex.HasWaitAny():
		x.bounded(word, value)
	case x.enter():
		_, err := futex.WaitAny([]futex.Word{{Addr: word, Value: value}, {Addr: &nudged.Uint32, Private: true}}, 0)
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
func (x *muxer) wait(word *atomic.Uint32, value uint32, nudged *alarm) {
	s := &muxSleep{word: word, value: value, wake: make(chan struct{}, 1)}
	nudged.asleep.Store(s)
	defer nudged.asleep.Store(nil)
	if nudged.Load() != 0 {
		return
	}
	x.mu.Lock()
	g := x.groupWithRoom()
	if g == nil {
		x.mu.Unlock()
		return
	}
	s.group = g
	g.sleeps = append(g.sleeps, s)
	x.mu.Unlock()
	g.look()
	<-s.wake
	if !s.ended.Load() {
		x.leaveGroup(s)
	}
}

// mostLeft is how many of a group's sleeps may be nobody's any more before its
// thread is woken to forget them.
const mostLeft = muxWords / 4

// leaveGroup is for one that was nudged: its thread sleeps on.
func (x *muxer) leaveGroup(s *muxSleep) {
	g := s.group
	x.mu.Lock()
	tidy := false
	if !s.ended.Load() {
		s.left = true
		g.left++
		tidy = g.left == mostLeft || g.left == len(g.sleeps)
	}
	x.mu.Unlock()
	if tidy {
		g.look()
	}
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

// run sleeps for the group until it is empty.
func (x *muxer) run(g *muxGroup) {
	words := make([]futex.Word, 0, 1+muxWords)
	woken, refused := -1, false
	for {
		g.control.Store(0)
		x.mu.Lock()
		signalled := g.drop(woken, x.closed || refused)
		if len(g.sleeps) == 0 {
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
		for _, s := range g.sleeps {
			words = append(words, futex.Word{Addr: s.word, Value: s.value})
		}
		x.mu.Unlock()
		if signalled {
			// They go first: this thread is about to sleep with the processor.
			runtime.Gosched()
		}
		index, err := futex.WaitAny(words, 0)
		refused = err != nil && !wakeable(err)
		if refused {
			time.Sleep(boundedSleep)
		}
		// The sleeps may have grown behind the ones that were slept on, and
		// only this goroutine takes any away, so the index still holds.
		if woken = -1; err == nil && index > 0 {
			woken = index - 1
		}
	}
}

// drop takes out the sleeps that are over, and all if so asked. A wake that hit
// one that nobody sleeps any more is passed on. The muxer's mutex is held.
func (g *muxGroup) drop(woken int, all bool) (signalled bool) {
	kept := g.sleeps[:0]
	for i, s := range g.sleeps {
		over := all || woken == i || s.word.Load() != s.value
		switch {
		case s.left && over:
			futex.Wake(s.word, 1)
		case s.left:
		case over:
			s.ended.Store(true)
			s.signal()
			signalled = true
		default:
			kept = append(kept, s)
		}
	}
	clear(g.sleeps[len(kept):])
	g.sleeps, g.left = kept, 0
	return signalled
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
