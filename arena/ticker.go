package arena

import (
	"sync"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// ticker bounds every sleep of this process: while anybody sleeps, one
// goroutine looks at all the words that this process waits for. It wakes its
// own sleepers where the word is free, since their wake may have gone to a
// process that died; it judges owners whose death no pidfd tells; it says S
// for those whom a busy lock passes by. It looks often at first and less often
// at words that do not change, and seldom if they all are held by living owners
// whose end it will be told of: see doze.
//
// A sleeper in another process is that process's business: nobody's flag and
// nobody's wake is needed to find a free lock.
type ticker struct {
	c        *core
	mu       sync.Mutex
	sleepers int
	slow     bool        // it looks less often than at first
	dozing   atomic.Bool // it looks seldom, or may be about to
	looks    int         // at how many things in the last tick
	hurry    chan struct{}
	quit     chan struct{}
	running  bool
	done     chan struct{}
}

const (
	tickFirst = 20 * time.Millisecond
	tickLast  = 250 * time.Millisecond
	// tickDozing is between two ticks for those who doze, which they do once
	// they have waited for dozeAfter.
	tickDozing = 4 * time.Second
	dozeAfter  = 2 * time.Second
	// tickEach is how much more there is between two ticks for each thing that
	// is looked at, which takes some tenths of a microsecond: so looking takes
	// some hundredths of the time at most, however many wait.
	tickEach = 5 * time.Microsecond
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
	if t.slow || t.dozing.Load() {
		t.hasten()
	}
}

// stir is for who is about to sleep on what the ticker may not have looked at,
// or has reason to want a look soon.
func (t *ticker) stir() {
	if t.dozing.Load() {
		t.hasten()
	}
}

func (t *ticker) hasten() {
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
	t.dozing.Store(false)
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
			if interval > t.first() {
				interval = t.first()
				timer.Reset(interval)
				t.setSlow(false)
			}
			continue
		case <-timer.C:
		}
		if t.finished() {
			return
		}
		// Whoever goes to sleep and does not see this is seen by the tick.
		t.dozing.Store(true)
		changed, dozing := t.tick()
		t.dozing.Store(dozing)
		switch {
		case changed:
			interval = t.first()
		case dozing && variantDozeOn:
			interval = time.Hour
		case dozing:
			interval = tickDozing
		default:
			interval = min(2*interval, tickLast)
		}
		t.setSlow(interval > t.first())
		timer.Reset(interval)
	}
}

// first is the shortest time between two ticks.
func (t *ticker) first() time.Duration {
	return min(max(tickFirst, time.Duration(t.looks)*tickEach), tickLast)
}

func (t *ticker) setSlow(slow bool) {
	t.mu.Lock()
	t.slow = slow
	t.mu.Unlock()
}

// tick looks at every queue and says whether any word has changed, and if not,
// whether all who wait doze.
func (t *ticker) tick() (changed, dozing bool) {
	c := t.c
	if c.checkReplaced() {
		c.rouseAll()
	}
	var queues []*queue
	c.lot.all(func(q *queue) { queues = append(queues, q) })
	dozing = true
	gone := make(map[robust.Member]bool) // one owner may hold what many wait for
	for _, q := range queues {
		moved, dozes := c.look(q, gone)
		changed = changed || moved
		dozing = dozing && dozes
	}
	dozers := c.dozers.list()
	t.looks = len(queues) + len(dozers)
	for _, d := range dozers {
		if d.look() {
			changed = true
		}
	}
	c.tendTickets()
	c.tendRanges()
	return changed, dozing && !changed && len(gone) < watchLimit && len(dozers) == 0 && c.porter.isIdle()
}

// look does for one queue what a lost wake, a quiet death or a busy lock would
// leave undone. A queue that its last waiter has just left is harmless to look at.
func (c *core) look(q *queue, gone map[robust.Member]bool) (changed, dozes bool) {
	w := robust.Word(q.slot.word.Load())
	changed = uint64(w&^robust.Dozing) != q.seen
	q.seen = uint64(w &^ robust.Dozing)

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
		} else {
			dozes = c.doze(q, w, agent)
		}
	}
	return changed, dozes
}

// doze sees to it that a long sleep needs no look for a while, and says whether
// it did. The owner's death will be told, by a pidfd or his sentinel. And
// whoever ends the holding, by release, by taking it over, by robbery, sees D in
// the word that he swaps, and wakes all: so a wake is not lost with one who was
// killed, and all look who holds it then, and watch him. If he is killed before
// that he is the owner whose death is told.
//
// What no pidfd tells is found out by a tick all the same. Where sleeps are
// bounded nobody dozes: each would stir the ticker when it begins anew.
func (c *core) doze(q *queue, w robust.Word, agent *waiter) bool {
	if agent.waited() < dozeAfter || !futex.HasWaitAny() || !c.watch(w.Owner()) {
		return false
	}
	return c.addFlags(q.slot, w, robust.Dozing)
}

// wakeDozing wakes all who sleep on a word that was w, if any of them doze, and
// says whether there was anybody.
func (c *core) wakeDozing(s *slot, w robust.Word) bool {
	if !w.Has(robust.Dozing) || variantDozeOn {
		return false
	}
	n := futex.Wake(futex.Low(&s.word), futex.All)
	crash.At("wake.all")
	return n > 0
}
