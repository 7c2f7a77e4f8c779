package arena

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"lockd/internal/proc"
)

const (
	shortWait = 20 * time.Millisecond
	longWait  = time.Hour
)

// The call's context goes before the handle's patience, and that before the
// arena's.
func TestTimeoutsOfCallHandleAndArena(t *testing.T) {
	patient := testArena(t, &Options{Patience: Patience{Timeout: longWait}})
	hasty := testArena(t, &Options{Patience: Patience{Timeout: shortWait}})
	none := context.Background()
	soon, cancel := context.WithTimeout(none, shortWait)
	defer cancel()
	late, cancelLate := context.WithTimeout(none, longWait)
	defer cancelLate()
	for _, c := range []struct {
		name     string
		a        *Arena
		p        Patience
		ctx      context.Context
		timesOut bool
	}{
		{"the arena's", hasty, Patience{}, none, true},
		{"the handle's, shorter", patient, Patience{Timeout: shortWait}, none, true},
		{"the handle's, longer", hasty, Patience{Timeout: longWait}, none, false},
		{"the handle's, none", hasty, Patience{Timeout: -1}, none, false},
		{"the call's, shorter", patient, Patience{Timeout: longWait}, soon, true},
		{"the call's, longer", hasty, Patience{Timeout: shortWait}, late, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for kind, lock := range map[string]func() (wait func(context.Context) error, release func()){
				"mutex": func() (func(context.Context) error, func()) {
					m := c.a.Mutex("m").With(c.p)
					m.Lock()
					return m.LockContext, m.Unlock
				},
				"rwmutex": func() (func(context.Context) error, func()) {
					m := c.a.RWMutex("rw").With(c.p)
					m.Lock()
					return m.RLockContext, m.Unlock
				},
				"semaphore": func() (func(context.Context) error, func()) {
					s := c.a.Semaphore("s", 1).With(c.p)
					held := acquire(t, s, 1)
					return func(ctx context.Context) error {
						got, err := s.Acquire(ctx, 1)
						if err == nil {
							err = got.Release()
						}
						return err
					}, func() { release(t, held) }
				},
			} {
				wait, release := lock()
				if !c.timesOut {
					ended := proc.MustBlock(t, kind, func() {
						if err := wait(c.ctx); err != nil {
							t.Errorf("%s: %v", kind, err)
						}
					})
					release()
					ended()
					if kind == "mutex" {
						c.a.Mutex("m").Unlock()
					}
					if kind == "rwmutex" {
						c.a.RWMutex("rw").RUnlock()
					}
					continue
				}
				err := wait(c.ctx)
				if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", kind, err)
				}
				release()
			}
		})
	}
}

// A call that waits long says so, and who holds the lock, each time it has
// waited twice as long.
func TestStillWaiting(t *testing.T) {
	a := testArena(t, nil)
	said := make(chan StillWaiting, 100)
	// What was said of the lock before may still come.
	saidOf := func(kind Kind) StillWaiting {
		for {
			if w := <-said; w.Kind == kind {
				return w
			}
		}
	}
	// Only who waits is patient: on a slow machine the holder's call, too, may
	// take long enough to be spoken of.
	p := Patience{WarnAfter: time.Millisecond, OnWait: func(w StillWaiting) { said <- w }}
	holder := proc.Start(t, "actor", []string{a.Path(), "a holder"})
	holder.Expect("ready")
	holder.Send("lock m")
	holder.Expect("held")

	m := a.Mutex("m").With(p)
	ended := proc.MustBlock(t, "lock", func() {
		m.Lock()
		m.Unlock()
	})
	for range 3 {
		w := <-said
		if w.Lock != "m" || w.Kind != KindMutex || w.HolderPID != holder.PID() || w.HolderLabel != "a holder" || w.Waited < p.WarnAfter {
			t.Errorf("%+v", w)
		}
	}
	holder.Send("unlock m")
	holder.Expect("ok")
	ended()

	held := a.RWMutex("rw")
	held.RLock()
	rw := held.With(p)
	ended = proc.MustBlock(t, "lock", func() {
		rw.Lock()
		rw.Unlock()
	})
	if w := saidOf(KindRWMutex); w.HolderPID != os.Getpid() {
		t.Errorf("%+v", w)
	}
	held.RUnlock()
	ended()

	gate := a.Semaphore("s", 1)
	ticket := acquire(t, gate, 1)
	s := gate.With(p)
	ended = proc.MustBlock(t, "acquire", func() { release(t, acquire(t, s, 1)) })
	if w := saidOf(KindSemaphore); w.HolderPID != os.Getpid() {
		t.Errorf("%+v", w)
	}
	release(t, ticket)
	ended()
}

// lineLog is a log whose lines can be waited for.
type lineLog chan string

func (l lineLog) Write(line []byte) (int, error) {
	select {
	case l <- string(line):
	default:
	}
	return len(line), nil
}

// Without a callback it is a line in the log.
func TestStillWaitingIsLogged(t *testing.T) {
	lines := make(lineLog, 1)
	a := testArena(t, &Options{
		Logger: slog.New(slog.NewTextHandler(lines, nil)), Label: "itself",
		Patience: Patience{WarnAfter: time.Millisecond},
	})
	// On a slow machine the holder's call, too, may take long enough to be logged.
	a.Mutex("slow").With(Patience{WarnAfter: -1}).Lock()
	m := a.Mutex("slow")
	ended := proc.MustBlock(t, "lock", func() {
		m.Lock()
		m.Unlock()
	})
	line := <-lines
	for _, want := range []string{"still waiting", "lock=slow", "kind=mutex", "label=itself"} {
		if !strings.Contains(line, want) {
			t.Errorf("no %q in %q", want, line)
		}
	}
	m.Unlock()
	ended()
}
