package fuzz

import (
	"context"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lockd/arena"
	"lockd/internal/proc"
)

// openings are those that one process has of one arena; it is one member, so
// what it took through one it may give back through another. Models of all
// kinds have them, and a name that all use.
type openings struct {
	path string
	all  [3]*arena.Arena
}

// short is for what must fail in the end, long for what must not. tryPatience is
// that of a try, which gives up for a latch that is held: that long this process
// may not get to run on a loaded machine.
const (
	short       = 200 * time.Microsecond
	long        = proc.Soon
	tryPatience = 10 * time.Millisecond
)

// tries says whether a try that may succeed did; one that was not let run for so
// long is made again.
func tries(may bool, try func() bool) bool {
	for {
		began := time.Now()
		if got := try(); got || !may || time.Since(began) < tryPatience {
			return got
		}
	}
}

func open(t *rapid.T, path string) *openings {
	o := &openings{path: path}
	o.reopen(t, 0)
	return o
}

func (o *openings) reopen(t *rapid.T, i int) {
	a, err := arena.Open(o.path, &arena.Options{MaxLocks: 1, Logger: quiet, Label: "model"})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	o.all[i] = a
}

// any is one of those that are open.
func (o *openings) any(t *rapid.T) *arena.Arena {
	var open []int
	for i, a := range o.all {
		if a != nil {
			open = append(open, i)
		}
	}
	return o.all[rapid.SampledFrom(open).Draw(t, "opening")]
}

// toggle opens or closes one of them. If it was the last, lost is called with
// what Close said, before there is a new one.
func (o *openings) toggle(t *rapid.T, lost func(error)) {
	i := rapid.IntRange(0, len(o.all)-1).Draw(t, "which")
	if o.all[i] == nil {
		o.reopen(t, i)
		return
	}
	err := o.all[i].Close()
	if again := o.all[i].Close(); !errors.Is(again, arena.ErrClosed) {
		t.Fatalf("closed again: %v", again)
	}
	o.all[i] = nil
	for _, a := range o.all {
		if a != nil {
			if err != nil {
				t.Fatalf("close of one opening: %v", err)
			}
			return
		}
	}
	lost(err)
	o.reopen(t, i)
}

func (o *openings) close() {
	for _, a := range o.all {
		if a != nil {
			a.Close()
		}
	}
	if err := arena.Remove(o.path); err != nil {
		panic(err)
	}
}

// crowd uses many other names, so that idle ones lose their slots.
func (o *openings) crowd(t *rapid.T) {
	a := o.any(t)
	from := rapid.IntRange(0, 3000).Draw(t, "from")
	for i := range rapid.IntRange(1, 200).Draw(t, "names") {
		m := a.Mutex("crowd " + string(rune(0x100+from+i)))
		if err := m.LockContext(context.Background()); err != nil {
			t.Fatal(err)
		}
		m.Unlock()
	}
}

// timesOut calls an operation that cannot come about, with a context that has
// ended or soon ends.
func timesOut(t *rapid.T, what string, f func(context.Context) error) {
	wait := rapid.SampledFrom([]time.Duration{0, short}).Draw(t, "wait")
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%s: %v, must time out", what, err)
	}
}

// comesAbout calls one that can.
func comesAbout(t *rapid.T, what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// is fails unless err is what it must be; nil must be nil.
func is(t *rapid.T, what string, err, want error) {
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Fatalf("%s: %v, must be: %v", what, err, want)
	}
}

func notHeldUnless(held bool) error {
	if held {
		return nil
	}
	return arena.ErrNotHeld
}

// panics says what f panics with.
func panics(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok {
				panic(r)
			}
		}
	}()
	f()
	return nil
}

// modelPath is a place where the arenas of a model may be, one after the other.
func modelPath(t testing.TB) string { return shmPath(t) }
