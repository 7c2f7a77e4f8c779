package arena

import (
	"sync"
	"time"

	"lockd/internal/crash"
	"lockd/robust"
)

// ticker bounds every sleep of this process: while anybody sleeps, one
// goroutine looks at all the words that this process waits for. It wakes its
// own sleepers where the word is free, since their wake may have gone to a
// process that died; it judges owners whose death no pidfd tells; it says S
// for those whom a busy lock passes by. It looks often at first and less often
// at words that do not change.
//
// A sleeper in another process is that process's business: nobody's flag and
// nobody's wake is needed to find a free lock.
type ticker struct {
	c        *core
	mu       sync.Mutex
	sleepers int
	slow     bool // it looks less often than at first
	hurry    chan struct{}
	quit     chan struct{}
	running  bool
	done     chan struct{}
}

const (
	tickFirst = 20 * time.Millisecond
	tickLast  = 250 * time.Millisecond
)

func (t *ticker) init(c *core) {
	t.c = c
	t.hurry = make(chan struct{}, 1)
	t.quit = make(chan struct{})
}

// newcomer counts a goroutine that is about to wait; gone takes it back.
func (t *ticker) newcomer() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sleepers++
	if !t.running && !variantNoTicks {
		t.running = true
		t.done = make(chan struct{})
		go t.run()
		return
	}
	// To wake the ticker costs a switch between threads, so only if it sleeps long.
	if !t.slow {
		return
	}
	select {
	case t.hurry <- struct{}{}:
	default:
	}
}

func (t *ticker) gone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sleepers--
}

func (t *ticker) stop() {
	close(t.quit)
	t.mu.Lock()
	running := t.running
	t.mu.Unlock()
	if running {
		<-t.done
	}
}

// finished ends the goroutine when nobody waits any more.
func (t *ticker) finished() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sleepers > 0 {
		return false
	}
	t.running, t.slow = false, false
	close(t.done)
	return true
}

func (t *ticker) run() {
	interval := tickFirst
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		select {
		case <-t.quit:
			close(t.done)
			return
		case <-t.hurry:
			// Who has just come gets his first look soon.
			if interval > tickFirst {
				interval = tickFirst
				timer.Reset(interval)
				t.setSlow(false)
			}
			continue
		case <-timer.C:
		}
		if t.finished() {
			return
		}
		if t.tick() {
			interval = tickFirst
		} else {
			interval = min(2*interval, tickLast)
		}
		t.setSlow(interval > tickFirst)
		timer.Reset(interval)
	}
}

func (t *ticker) setSlow(slow bool) {
	t.mu.Lock()
	t.slow = slow
	t.mu.Unlock()
}

// tick looks at every queue and says whether any word has changed.
func (t *ticker) tick() bool {
	c := t.c
	if c.checkReplaced() {
		c.rouseAll()
	}
	var queues []*queue
	c.lot.all(func(q *queue) { queues = append(queues, q) })
	changed := false
	gone := make(map[robust.Member]bool) // one owner may hold what many wait for
	for _, q := range queues {
		if c.look(q, gone) {
			changed = true
		}
	}
	for _, d := range c.dozers.list() {
		if d.look() {
			changed = true
		}
	}
	c.tendTickets()
	c.tendRanges()
	return changed
}

// look does for one queue what a lost wake, a quiet death or a busy lock would
// leave undone. A queue that its last waiter has just left is harmless to look at.
func (c *core) look(q *queue, gone map[robust.Member]bool) (changed bool) {
	w := robust.Word(q.slot.word.Load())
	changed = uint64(w) != q.seen
	q.seen = uint64(w)

	ours := w.SameHolding(c.self)
	q.mu.Lock()
	agent := q.agent
	parked := agent != nil && agent.parked
	if agent == nil && !(ours && w.Has(robust.Local)) {
		q.appoint()
	}
	q.mu.Unlock()

	switch {
	case w.IsFree(), slotLife(q.slot.life.Load()).generation() != q.key.generation:
		q.nudge()
	case agent == nil:
	case parked != ours, !ours && !w.Has(robust.Waiters):
		// It sleeps where no release will wake it: the word changed hands, or
		// lost its W to a waker that was slow to clear it.
		q.nudge()
	case ours:
	case changed:
		if agent.waited() > starvation && w.Has(robust.Waiters) && !w.Has(robust.Starved) {
			q.slot.word.CompareAndSwap(uint64(w), uint64(w|robust.Starved))
			crash.At("tick.starved")
		}
	default:
		owner := w.Owner()
		dead, known := gone[owner]
		if !known && !variantWatchPastOwner {
			_, verdict := c.judge(owner)
			dead = verdict == robust.Gone
			gone[owner] = dead
		}
		if dead {
			q.nudge()
		}
	}
	return changed
}
