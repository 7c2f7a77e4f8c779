package arena

import (
	"context"
	"fmt"
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Reading, when the fast path missed. Who finds the gate shut waits in the
// lobby.

// readWaiting takes the lock for reading, however long it takes.
func (h *handle) readWaiting(q request) error {
	c := h.arena.core
	if h.arena.closed.Load() || !c.gate.enter() {
		return h.explain(ErrClosed, 0)
	}
	defer c.gate.leave()
	began := futex.Now()
	for {
		r, err := h.reading(q.ctx)
		if err != nil {
			return h.explain(err, began)
		}
		out := c.tryRead(r)
		for looks := 0; out == busy && multicore && looks < spinLooks; looks++ {
			futex.Pause(spinPauses())
			out = c.tryRead(r)
		}
		if out == busy {
			if err = c.stopped(q); err == nil {
				out, err = c.waitToRead(q, r)
			}
			if err != nil {
				return h.explain(err, began)
			}
		}
		switch out {
		case taken:
			raceReadAcquire(c, r.index)
			return nil
		case full:
			return h.tooManyReaders()
		}
	}
}

// tryRead is one attempt. It looks at the gate first too: additions that have
// to be taken back hold up a writer that drains the cells.
func (c *core) tryRead(r *reading) outcome {
	if r.slot.state.Load() != 0 {
		return busy
	}
	n := counts(r.cell.counts.Add(uint64(oneReader)))
	crash.At("read.added")
	if n.isOpen() && r.slot.state.Load() == 0 {
		return taken
	}
	c.leave(r.slot, r.cell)
	switch {
	case n.isFull():
		return full
	case !n.isOpen():
		return stale
	}
	return busy
}

// tryReadSlow is a try whose fast path missed. It takes the gate from a holder
// that is gone, at most once a millisecond.
func (h *handle) tryReadSlow() bool {
	c := h.arena.core
	if h.arena.closed.Load() || !c.gate.enter() {
		return false
	}
	defer c.gate.leave()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
		r, err := h.reading(ctx)
		cancel()
		if err != nil {
			return false
		}
		switch c.tryRead(r) {
		case taken:
			raceReadAcquire(c, r.index)
			return true
		case full:
			return false
		case busy:
			if !c.mayJudge(&h.cell.judged) || !c.attendGate(r, new(robust.Member), true) {
				return false
			}
		}
	}
}

// mayJudge limits how often failed tries judge.
func (c *core) mayJudge(judged *atomic.Int64) bool {
	last, now := judged.Load(), futex.Now()
	return now-last >= int64(judgeEvery) && judged.CompareAndSwap(last, now)
}

func (h *handle) tooManyReaders() error {
	return fmt.Errorf("arena: lock %q: %w: no more than %d read locks of one process can be counted", h.cell.name, ErrTableFull, peopleMask)
}

// readRelease gives back one read lock.
func (h *handle) readRelease() error {
	c := h.arena.core
	if !c.gate.enter() {
		return nil // closing gives everything back
	}
	defer c.gate.leave()
	r := h.presentReading()
	if r == nil {
		return h.notHeld("read unlock")
	}
	raceReadRelease(c, r.index)
	for {
		n := r.cell.load()
		if !n.isReadFrom() {
			return h.notHeld("read unlock")
		}
		if r.cell.swap(n, n-oneReader) {
			crash.At("read.released")
			c.tellWriter(r.slot, r.cell, n-oneReader)
			return nil
		}
	}
}

func (h *handle) notHeld(what string) error {
	return fmt.Errorf("arena: %s of %q: %w by this process", what, h.cell.name, ErrNotHeld)
}
