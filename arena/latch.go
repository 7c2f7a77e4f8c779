package arena

import (
	"context"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// A latch is an owner word that guards derived fields for a moment. Its slot
// generation is 0, so a free latch is 0. When its holder dies the next one
// takes it with A set, which means: rebuild what it guards from the slots.
//
// Inside a latch nothing allocates, blocks or calls out. Those who wait sleep
// with a bound, so an eaten wake costs one bound; a holder that is stopped
// holds up new names of one stripe, never a lock that exists.
type latchDoors struct {
	doors [stripeCount + 2]chan struct{} // one goroutine of this process at a time

	// inserting are the doors of insert, outside of those of the latches.
	inserting [stripeCount]chan struct{}
}

const (
	growthDoor  = stripeCount
	settlerDoor = stripeCount + 1

	latchBound = 10 * time.Millisecond
	latchSpins = 20
)

func (d *latchDoors) init() {
	for i := range d.doors {
		d.doors[i] = make(chan struct{}, 1)
	}
	for i := range d.inserting {
		d.inserting[i] = make(chan struct{}, 1)
	}
}

// latch is a held latch.
type latch struct {
	c       *core
	word    *atomic.Uint64
	door    chan struct{}
	rebuild bool // what it guards may be half-changed
	whole   bool // what it guards is whole again: end may release
}

// acquireLatch waits for a latch until the context ends or the arena closes.
func (c *core) acquireLatch(ctx context.Context, word *atomic.Uint64, door int) (latch, error) {
	l := latch{c: c, word: word, door: c.latches.doors[door]}
	select {
	case l.door <- struct{}{}:
	default:
		select {
		case l.door <- struct{}{}:
		case <-ctx.Done():
			return latch{}, ctx.Err()
		}
	}
	for spins := 0; ; spins++ {
		taken, w := l.try(spins >= latchSpins)
		if taken {
			crash.At("latch.held")
			return l, nil
		}
		if err := ctx.Err(); err != nil {
			<-l.door
			return latch{}, err
		}
		if c.gate.closing() {
			<-l.door
			return latch{}, ErrClosed
		}
		if w.IsFree() {
			continue // just freed, or just lost to another
		}
		if spins < latchSpins {
			futex.Pause(spinPauses())
			continue
		}
		if w.Has(robust.Waiters) || word.CompareAndSwap(uint64(w), uint64(w|robust.Waiters)) {
			crash.At("latch.sleep")
			futex.Wait(futex.Low(word), (w | robust.Waiters).Low(), futex.Now()+int64(latchBound))
		}
	}
}

// tryLatch takes a latch if nobody living holds it.
func (c *core) tryLatch(word *atomic.Uint64, door int) (latch, bool) {
	l := latch{c: c, word: word, door: c.latches.doors[door]}
	select {
	case l.door <- struct{}{}:
	default:
		return latch{}, false
	}
	taken, _ := l.try(true)
	if !taken {
		<-l.door
	}
	return l, taken
}

// try takes the latch from nobody or, if it shall judge, from a member that is
// gone.
func (l *latch) try(judge bool) (bool, robust.Word) {
	w := robust.Word(l.word.Load())
	if w.IsFree() {
		if !l.word.CompareAndSwap(uint64(w), uint64(w.Taken(l.c.self))) {
			return false, robust.Word(l.word.Load())
		}
		l.rebuild = w.Has(robust.Abandoned)
		return true, w
	}
	if !judge {
		return false, w
	}
	if _, verdict := l.c.judge(w.Owner()); verdict == robust.Gone {
		if l.word.CompareAndSwap(uint64(w), uint64(w.Reclaimed(l.c.self))) {
			crash.At("latch.reclaimed")
			l.rebuild = true
			return true, w
		}
	}
	return false, w
}

// release frees the latch. What it guards is whole again.
func (l *latch) release() {
	crash.At("latch.release")
	l.drop(0)
}

// end is deferred by whoever changes what the latch guards: it releases if the
// change was finished, and leaves the rebuilding to the next holder if a panic
// cut it short.
func (l *latch) end() {
	if l.whole {
		l.release()
		return
	}
	l.spoil()
}

// spoil frees the latch and leaves the rebuilding to the next holder.
func (l *latch) spoil() { l.drop(robust.Abandoned) }

func (l *latch) drop(flags robust.Word) {
	for {
		w := robust.Word(l.word.Load())
		if !w.SameHolding(l.c.self) {
			break // the file is damaged, or the arena retired: there is nothing to free
		}
		if l.word.CompareAndSwap(uint64(w), uint64(flags)) {
			crash.At("latch.freed")
			if w.Has(robust.Waiters) {
				futex.Wake(futex.Low(l.word), futex.All)
			}
			break
		}
	}
	<-l.door
}
