package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unsafe"

	"lockd/arena"
	"lockd/futex"
)

// kind is one thing that workers do with an arena. A file that has another
// adds it to kinds.
type kind struct {
	name   string
	weight int     // how often, among the others
	ledger uintptr // bytes that it needs in each arena's ledger
	turn   func(t *turn)
	// sit gives a seat's places in a ledger to a process. The seat's last user
	// is dead, or the same. nil if the kind has no places by seat.
	sit func(part unsafe.Pointer, w who)
}

const maxKinds = 8

// kinds are in the order of their places in a ledger, which all processes of a
// run agree on.
var kinds = []kind{mutexKind, rwmutexKind, semaphoreKind, namesKind, rangesKind, sessionsKind, breaksKind}

const allKinds = "all"

// kindsOf has a bit for each of the kinds that a list names.
func kindsOf(list string) (bits uint64, err error) {
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
		switch {
		case name == allKinds:
			bits |= 1<<len(kinds) - 1
		case i < 0:
			return 0, fmt.Errorf("no kind is called %q", name)
		default:
			bits |= 1 << i
		}
	}
	return bits, nil
}

// turn is one use of one kind in one arena, by one goroutine.
type turn struct {
	*worker
	r       *rand.Rand
	opening *opening
	a       *arena.Arena // the opening's own, or one that is closed meanwhile
	passing bool         // it is closed meanwhile
	part    unsafe.Pointer
	began   int64
	stops   uint32
}

// patience is how long an acquisition may take before it is called stranded. A
// section takes a millisecond or so, a stop a fraction of a second.
const patience = 40 * time.Second

// attempt is the context of one acquisition: mostly a patient one, else one
// that ends soon.
type attempt struct {
	context.Context
	end     func()
	patient bool
}

func (t *turn) attempt() attempt {
	switch n := t.r.IntN(20); {
	case n == 0:
		t.begin()
		ctx, cancel := context.WithCancel(context.Background())
		timer := time.AfterFunc(t.moment(), cancel)
		return attempt{ctx, func() { timer.Stop(); cancel() }, false}
	case n < 4:
		return t.soon()
	default:
		t.begin()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		return attempt{ctx, cancel, true}
	}
}

// soon is an attempt that ends soon.
func (t *turn) soon() attempt {
	t.begin()
	ctx, cancel := context.WithTimeout(context.Background(), t.moment())
	return attempt{ctx, cancel, false}
}

// begin is when an acquisition begins, for recovered.
func (t *turn) begin() {
	t.began, t.stops = futex.Now(), t.board.seats[t.seat].stops.Load()
}

func (t *turn) moment() time.Duration { return time.Duration(t.r.IntN(2000)) * time.Microsecond }

// failed says whether an acquisition failed, and looks whether it may have.
func (t *turn) failed(what string, a attempt, err error, may ...error) bool {
	if err == nil {
		return false
	}
	t.board.seats[t.seat].refused.Add(1)
	switch {
	case errors.Is(err, arena.ErrReplaced):
		t.opening.stale.Store(true)
	case errors.Is(err, arena.ErrClosed) && t.passing:
	case errors.Is(err, arena.ErrTimeout) && errors.Is(err, context.DeadlineExceeded):
		if a.patient {
			t.stranded("%s in %s: %v\n%s", what, t.opening.name, err, t.picture(what))
		}
	case errors.Is(err, context.Canceled) && !a.patient:
	default:
		for _, allowed := range may {
			if errors.Is(err, allowed) {
				return true
			}
		}
		t.violated("%s in %s: %v", what, t.opening.name, err)
	}
	return true
}

// picture is what the file says about a lock.
func (t *turn) picture(name string) string {
	s, err := arena.ReadSnapshot(t.opening.path)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, l := range s.Locks {
		if l.Name == name {
			fmt.Fprintf(&b, "%+v\n", l)
		}
	}
	for _, m := range s.Members {
		fmt.Fprintf(&b, "%+v\n", m)
	}
	return b.String()
}

// entered looks at who is written where only one may be, and was until t came.
func (t *turn) entered(what string, before who) (died bool) {
	if before == 0 {
		return false
	}
	if !before.isDead(t.board) {
		t.violated("%s in %s: %v is there beside %v", what, t.opening.name, before, t.me)
		return false
	}
	t.recovered(before)
	return true
}

// recovered counts an acquisition of what a dead one had. It took from when
// the dead was killed or the heir came, whichever is later.
func (t *turn) recovered(dead who) {
	mine, its := &t.board.seats[t.seat], &t.board.seats[dead.seat()]
	mine.recoveries.Add(1)
	if its.killed.Load() != uint64(dead) || mine.stops.Load() != t.stops {
		return
	}
	took := futex.Now() - max(its.killedAt.Load(), t.began)
	for {
		worst := mine.worst.Load()
		if took <= worst || mine.worst.CompareAndSwap(worst, took) {
			return
		}
	}
}

// dwell is what takes time inside, and for some is the end.
func (t *turn) dwell() {
	switch n := t.r.IntN(1024); {
	case t.way == slow:
		time.Sleep(time.Duration(t.r.IntN(2000)) * time.Microsecond)
	case n == 0 && t.way == calm:
	case n == 0:
		t.killItself()
	case n < 32:
		time.Sleep(time.Duration(t.r.IntN(1000)) * time.Microsecond)
	case n < 256:
		futex.Pause(uint32(t.r.IntN(2000)))
	}
}

func bytesLines(b []byte) func(func(string) bool) {
	return strings.SplitSeq(string(b), "\n")
}
