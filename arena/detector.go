package arena

import (
	"sync"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
)

// The detector of a process looks, for its sessions that have waited long
// enough, whether they wait in a circle, and ends the waiting of one.
//
//	1  load the verdict word; mark the victim that it names, if it is not marked
//	2  read all records (sightAll), take away who can finish (waitGraph.stuck)
//	3  one of ours remains, and lies on a cycle of those who remain: a suspect
//	4  nobody whom the suspicion rests on is gone, else take those away too
//	5  read all records again: everybody whom it rests on still waits and holds
//	   by the same words, and the suspect is one again
//	6  CAS the verdict word to one more, naming the suspect and its wait
//	7  mark the suspect's wait and cancel it; take it away too, and on to the
//	   next suspect, from 3: what was read serves all
//
// Words of sessions carry numbers that do not come back. So between 4 and 5
// there was a moment at which all that was seen was so; a deadlock that was
// there at some moment stays until somebody gives up; and 6 fails if anybody
// was told to give up since 1. So each cycle has exactly one victim, and none
// is made of what only looked like a cycle.
//
// There is no latch whose holder could be stopped or killed: 6 is the whole of
// the decision, and what is left of 7 the next detector does in 1. A victim
// whose process is stopped then keeps its circle until it goes on, and one
// whose process is killed leaves what it held, which ends the circle too.
//
// A victim that got its lock at the same moment keeps it: its verdict is void.
type detector struct {
	core *core
	mu   sync.Mutex

	waits   map[*sessionWait]struct{}
	running bool
	next    int64 // when the goroutine looks next
	hurry   chan struct{}
	quit    chan struct{}
	done    chan struct{}
}

const (
	// detectLast is the longest time between two looks at one wait. Whoever
	// closes a circle finds it at its first look; the later ones are for what
	// was not certain then, and for circles that a killed victim left.
	detectLast = 500 * time.Millisecond

	// detectTries is how often a suspicion is followed up at once that failed
	// because something has changed.
	detectTries = 4

	// lookLasts is how old a second look may be when a verdict rests on it: as
	// long as somebody gives up by himself, the fewer are told in vain.
	lookLasts = 2 * time.Millisecond

	// detectDoubts is how often nobody may be able to tell whether a member of
	// the circle lives, before it counts as alive, as it does to all who wait.
	detectDoubts = 3
)

func (d *detector) init(c *core) {
	d.core = c
	d.waits = make(map[*sessionWait]struct{})
	d.hurry = make(chan struct{}, 1)
	d.quit = make(chan struct{})
}

func (d *detector) enter(w *sessionWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits[w] = struct{}{}
	switch {
	case !d.running:
		d.running = true
		d.done = make(chan struct{})
		go d.run()
	case w.due < d.next:
		select {
		case d.hurry <- struct{}{}:
		default:
		}
	}
}

func (d *detector) leave(w *sessionWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waits, w)
}

// stop is called when nobody waits any more.
func (d *detector) stop() {
	close(d.quit)
	d.mu.Lock()
	running, done := d.running, d.done
	d.mu.Unlock()
	if running {
		<-done
	}
}

func (d *detector) run() {
	defer close(d.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, pause := d.plan()
		if len(due) > 0 {
			d.look(due)
			continue
		}
		if pause < 0 {
			return
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-d.hurry:
		case <-d.quit:
			d.mu.Lock()
			d.running = false
			d.mu.Unlock()
			return
		}
	}
}

// plan returns the waits to look at now, or how long there are none; less than
// 0 ends the goroutine.
func (d *detector) plan() (due []*sessionWait, pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waits) == 0 {
		d.running = false
		return nil, -1
	}
	now := futex.Now()
	d.next = now + int64(detectLast)
	for w := range d.waits {
		if w.due > now {
			d.next = min(d.next, w.due)
			continue
		}
		due = append(due, w)
		w.pause = min(2*w.pause, detectLast)
		w.due = now + int64(w.pause)
		if w.suspectFrom > now {
			w.due = min(w.due, w.suspectFrom)
		}
	}
	return due, time.Duration(d.next - now)
}

// look looks at waits until none of them is a victim.
func (d *detector) look(due []*sessionWait) {
	c := d.core
	if !c.gate.enter() {
		return
	}
	defer c.gate.leave()
	suspects := make(map[uint32]*sessionWait, len(due))
	now := futex.Now()
	for _, w := range due {
		if w.refresh() && w.suspectFrom <= now {
			suspects[w.session.index] = w
		}
	}
	for tries := 0; len(suspects) > 0 && tries < detectTries; {
		victim, found := d.try(suspects)
		switch {
		case victim != nil:
			tries = 0
		case !found:
			return
		default:
			tries++
		}
	}
}

// try is one round. It is found if there was a suspicion, and the victim, the
// last one, is not nil if that was right. Who was judged is a suspect no more.
func (d *detector) try(suspects map[uint32]*sessionWait) (victim *sessionWait, found bool) {
	c := d.core
	last := verdictWord(c.head.verdict.Load())
	c.helpVerdict(last)
	seen := c.sight()
	crash.At("detector.seen")
	return d.conclude(seen, suspects, last)
}

// conclude draws from what was seen after the verdict word was last loaded. All
// its verdicts rest on one second look: it came after the first, and the order
// of verdicts tells whether anybody else has decided since.
func (d *detector) conclude(seen *sighting, suspects map[uint32]*sessionWait, last verdictWord) (victim *sessionWait, found bool) {
	c := d.core
	var again *sighting
	var looked int64
	for i := range seen.sessions {
		x := &seen.sessions[i]
		w := suspects[x.record]
		if w == nil || x.member != c.member || x.wait != w.word {
			continue // the session waits for something else by now
		}
		ring, rest := seen.suspect(i)
		if ring == nil {
			continue
		}
		gone, unknown := d.judge(seen, rest)
		if unknown && w.looks < detectDoubts {
			w.looks++
			delete(suspects, x.record)
			found = true
			continue
		}
		if len(gone) > 0 {
			seen.release(gone)
			if ring, rest = seen.suspect(i); ring == nil {
				continue
			}
		}
		crash.At("detector.suspects")
		if now := futex.Now(); again == nil || now-looked > int64(lookLasts) {
			looked, again = now, c.sight()
		}
		again.release(gone)
		if !variantNoSecondLook && !again.confirms(seen, i, rest) {
			found = true
			continue
		}
		next, decided := c.decide(last, x)
		if !decided {
			return victim, true
		}
		last = next
		crash.At("detector.decided")
		w.convict(seen.deadlock(c, i, ring))
		victim, found = w, true
		delete(suspects, x.record)
		seen.relieve(i)
		if j, there := again.byRecord[x.record]; there {
			again.relieve(j)
		}
	}
	return victim, found
}
