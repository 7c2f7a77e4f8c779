package arena

import (
	"strconv"
	"time"

	"lockd/internal/crash"
	"lockd/robust"
)

// Cause is how a holding ended badly.
type Cause uint32

// The causes; the numbers are the format's.
const (
	Died     Cause = 1 // the process ended, or called execve, holding it
	Panicked Cause = 2 // a panic, or the goroutine's end, inside Do
	Closed   Cause = 3 // the process closed the arena holding it
	Robbed   Cause = 4 // an operator took it away
)

func (c Cause) String() string {
	switch c {
	case Died:
		return "died"
	case Panicked:
		return "panicked"
	case Closed:
		return "closed"
	case Robbed:
		return "robbed"
	}
	return "cause " + strconv.Itoa(int(c))
}

// Death says how the last owner of an abandoned lock ended.
type Death struct {
	PID   int    // in the pid namespace of the dead
	Label string // the first bytes of its Options.Label
	When  time.Time
	Cause Cause
	Count int // how often the lock was abandoned since its name came into the table
}

// Abandoned tells the holder of the lock whether the last owner ended badly
// while it held it, or an owner before that and nobody has called
// MarkConsistent since. What the lock protects may be half-changed then. It is
// false, too, if this process does not hold the lock.
//
// The notice stays with the lock, through any number of owners, until one of
// them calls MarkConsistent.
func (m *Mutex) Abandoned() (Death, bool) { return m.abandoned() }

func (h *handle) abandoned() (d Death, abandoned bool) {
	h.held("look at", func(c *core, b *binding) bool {
		d, abandoned = deathOf(b.slot)
		return true
	})
	return d, abandoned
}

// deathOf is called by who keeps others from reclaiming the slot.
func deathOf(s *slot) (Death, bool) {
	if !robust.Word(s.word.Load()).Has(robust.Abandoned) {
		return Death{}, false
	}
	return loadDeath(s), true
}

// MarkConsistent says that what the lock protects is whole again, so that the
// next owner is told nothing. Only the holder may; otherwise it returns
// ErrNotHeld, or ErrClosed.
func (m *Mutex) MarkConsistent() error { return m.markConsistent() }

func (h *handle) markConsistent() error {
	return h.held("marking", func(c *core, b *binding) bool {
		for {
			w := robust.Word(b.slot.word.Load())
			if !w.SameHolding(c.self) {
				return false
			}
			if b.slot.word.CompareAndSwap(uint64(w), uint64(w&^robust.Abandoned)) {
				crash.At("mark.marked")
				return true
			}
		}
	})
}

// Fence draws a number that is larger than any drawn before under this name in
// this arena, for storage that refuses a writer with an older number: a holder
// that was robbed or whose file was replaced. Only the holder may draw;
// otherwise it returns ErrNotHeld, or ErrClosed.
//
// A name that left the table and came back goes on above the arena's highest,
// and a new arena file above the time of its creation in nanoseconds, so that
// numbers grow over the life of many files, unless the clock is set back.
func (m *Mutex) Fence() (uint64, error) { return m.drawFence() }

func (h *handle) drawFence() (uint64, error) {
	var fence uint64
	err := h.held("fence", func(c *core, b *binding) bool {
		fence = b.slot.fence.Add(1)
		crash.At("fence.drawn")
		return robust.Word(b.slot.word.Load()).SameHolding(c.self)
	})
	if err != nil {
		return 0, err
	}
	return fence, nil
}

// storeDeath is called by who holds the slot.
func storeDeath(s *slot, cause Cause, pid uint32, label string) {
	s.deadPID.Store(pid)
	crash.At("death.begun")
	s.deadCause.Store(uint32(cause))
	s.deadWhen.Store(uint64(time.Now().UnixNano()))
	storeText(s.deadLabel[:], label)
	s.abandonments.Add(1)
}

// loadDeath is called by who holds the slot.
func loadDeath(s *slot) Death {
	return Death{
		PID: int(s.deadPID.Load()), Label: loadText(s.deadLabel[:]),
		When:  time.Unix(0, int64(s.deadWhen.Load())),
		Cause: Cause(s.deadCause.Load()), Count: int(s.abandonments.Load()),
	}
}
