//go:build linux && (amd64 || arm64)

package futex

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// cancelRace is a goroutine that sleeps on a slot's word and a private one,
// and another that ends the sleep at any moment before, while, or after it
// begins.
type cancelRace struct {
	words    []Word
	target   int                       // the word that ends the sleep
	cancel   func(word *atomic.Uint32) // stores 1 there and wakes
	patience time.Duration

	ready, finished  atomic.Int64 // the round that the sleeper, the canceller has come to
	slept, lost, bad int
}

func newCancelRace(target int, patience time.Duration, cancel func(*atomic.Uint32)) *cancelRace {
	return &cancelRace{
		words:    []Word{{Addr: new(atomic.Uint32)}, {Addr: new(atomic.Uint32), Private: true}},
		target:   target,
		cancel:   cancel,
		patience: patience,
	}
}

// run stops early when a wake was lost.
func (r *cancelRace) run(rounds int64) {
	go func() {
		longest := PausesPer(12 * time.Microsecond)
		for round := range rounds {
			if reach(&r.ready, round+1); r.ready.Load() < 0 {
				return
			}
			Pause(rand.Uint32N(longest))
			r.cancel(r.words[r.target].Addr)
			r.finished.Store(round + 1)
		}
	}()
	for round := range rounds {
		r.ready.Store(round + 1)
		r.sleep()
		reach(&r.finished, round+1)
		if r.lost > 0 {
			break
		}
		r.words[r.target].Addr.Store(0)
	}
	r.ready.Store(-1)
}

func (r *cancelRace) sleep() {
	deadline := Now() + int64(r.patience)
	for r.words[r.target].Addr.Load() == 0 {
		index, err := WaitAny(r.words, deadline)
		switch {
		case err == nil && index == r.target:
			r.slept++
		case err == nil:
			r.bad++
		case err == ErrTimedOut:
			r.lost++
			return
		}
	}
}

// reach spins until the other side has come to a round, or has given up.
func reach(at *atomic.Int64, round int64) {
	for i := 1; ; i++ {
		if now := at.Load(); now >= round || now < 0 {
			return
		}
		if Pause(4); i%64 == 0 {
			runtime.Gosched()
		}
	}
}

func TestCancelRace(t *testing.T) {
	needWaitAny(t)
	rounds := int64(60_000)
	if testing.Short() {
		rounds = 5_000
	}
	for target, wake := range []func(*atomic.Uint32, int) int{Wake, WakePrivate} {
		t.Run([]string{"slot", "private"}[target], func(t *testing.T) {
			r := newCancelRace(target, surelyDone, func(word *atomic.Uint32) {
				word.Store(1)
				wake(word, 1)
			})
			r.run(rounds)
			t.Logf("%d of %d were asleep", r.slept, rounds)
			if r.lost != 0 || r.bad != 0 {
				t.Errorf("%d wakes lost, %d through the wrong word", r.lost, r.bad)
			}
			if r.slept == 0 {
				t.Error("nobody ever slept: nothing was tested")
			}
		})
	}
}

// The race has to notice cancellers that are wrong.
func TestCancelRaceNotices(t *testing.T) {
	needWaitAny(t)
	for name, broken := range map[string]func(word *atomic.Uint32){
		"wakes before it stores": func(word *atomic.Uint32) {
			WakePrivate(word, 1)
			for until := Now() + int64(time.Millisecond); Now() < until; {
				runtime.Gosched()
			}
			word.Store(1)
		},
		"wakes the shared word": func(word *atomic.Uint32) {
			word.Store(1)
			Wake(word, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCancelRace(1, 5*stillBlocked, broken)
			r.run(10_000)
			if r.lost == 0 {
				t.Error("no wake was lost")
			}
		})
	}
}
