package robust

import (
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
)

// A vigil is kept at the sentinels of those who are watched, by one goroutine
// (and so one thread) as long as the Watcher is there, once one of them has a
// sentinel. Whose sentinel falls is looked at closely for a while. If that
// proves nothing, the pidfd is watched as it was.
type vigil struct {
	kept    bool          // guarded by the Watcher's mutex
	looking int           // goroutines that look; the same
	control atomic.Uint32 // grows when there is somebody else to watch, or nobody any more
}

// vigilWords is at how many sentinels one goroutine keeps watch: those of the
// most recently met. Each word costs at every sleep.
const vigilWords = 64

// mostLooks is at how many one looks at a time: each takes a thread. If more
// end together their pidfds tell.
const mostLooks = 8

// Of a process that is killed the threads end one after the other, in some
// tens of microseconds each, and need the processor for that: on a busy machine
// they may wait for it a tenth of a second. Who is still there after so long
// sleeps in the kernel, is dumping core or traced; or lives, and only its
// sentinel has ended.
const (
	firstLook  = 40 * time.Microsecond
	lookEvery  = 30 * time.Microsecond
	lookOften  = 20 // times; then half as often each time
	lookRarely = 8 * time.Millisecond
	lookFor    = time.Second
)

// attend has somebody keep the vigil, and look at who is watched now. Called
// with the mutex held.
func (w *Watcher) attend() {
	if !w.vigil.kept {
		w.vigil.kept = true
		w.running.Go(w.keepVigil)
		return
	}
	w.disturb()
}

func (w *Watcher) disturb() {
	w.vigil.control.Add(1)
	futex.WakePrivate(&w.vigil.control, 1)
}

func (w *Watcher) keepVigil() {
	words := make([]futex.Word, 0, 1+vigilWords)
	var woken *atomic.Uint32
	for {
		control := w.vigil.control.Load()
		words = append(words[:0], futex.Word{Addr: &w.vigil.control, Value: control, Private: true})
		var fallen []*watch
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return
		}
		for p := w.ring.older; p != &w.ring && len(words) < cap(words); p = p.older {
			if p.sentinel == nil || p.looked {
				continue
			}
			value := p.sentinel.Load()
			if !Fallen(value) {
				if woken == p.sentinel {
					woken = nil // of a member before: among many it would go round for ever
				}
				words = append(words, futex.Word{Addr: p.sentinel, Value: value})
				continue
			}
			p.looked = true
			if w.vigil.looking < mostLooks {
				w.vigil.looking++
				fallen = append(fallen, p)
				if woken == p.sentinel {
					woken = nil
				}
			}
		}
		w.mu.Unlock()
		if woken != nil {
			passOn(woken) // it is not watched any more, or others are looked at
			woken = nil
		}
		if len(fallen) > 0 {
			for _, p := range fallen[1:] {
				w.running.Go(func() { w.look(p, nil) })
			}
			// To start a goroutine takes the processor from the dying: who is
			// still there after many looks is soon enough for another to keep
			// the vigil.
			relieved := false
			w.look(fallen[0], func() {
				relieved = true
				w.running.Go(w.keepVigil)
			})
			if relieved {
				return
			}
			continue
		}
		index, err := futex.WaitAny(words, 0)
		switch {
		case index > 0:
			woken = words[index].Addr
		case err != nil && !wakeable(err):
			return // no such call, or no such memory any more
		}
	}
}

// passOn wakes another of those who keep watch at a sentinel, in whichever
// process: the kernel has woken one.
func passOn(sentinel *atomic.Uint32) { futex.Wake(sentinel, 1) }

// look looks at one whose sentinel has fallen until it is proven gone. It calls
// takesLong, if there is one, when it has looked often.
func (w *Watcher) look(p *watch, takesLong func()) {
	nap(firstLook)
	looks, pause, began := 0, lookEvery, time.Now()
	for w.watched(p) {
		if judgeDying(p.id) == Gone {
			w.tell(p)
			break
		}
		if time.Since(began) > lookFor {
			break
		}
		nap(pause)
		if looks++; looks >= lookOften {
			pause = min(2*pause, lookRarely)
		}
		if looks == lookOften && takesLong != nil {
			takesLong()
		}
	}
	w.mu.Lock()
	w.vigil.looking--
	w.mu.Unlock()
	passOn(p.sentinel)
}

func (w *Watcher) watched(p *watch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.watches[p.key] == p
}

// nap is a sleep of less than a millisecond, which the runtime's are not.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	unix.Nanosleep(&t, nil)
}

func wakeable(err error) bool {
	return errors.Is(err, futex.ErrChanged) || errors.Is(err, futex.ErrInterrupted)
}
