package arena

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
)

// Range is the offsets from Start on, Length of them; 0 is all up to 2^63 − 1,
// the last offset there is.
type Range struct {
	Start, Length int64
	Mode          Mode // Exclusive or Shared
}

// Ranges is a holder of ranges of offsets, 0 to 2^63 − 1, under a name that all
// holders share: byte ranges of a file, records of a table, tracks. Each call
// of [Arena.Ranges] makes a holder of its own, in this process and among all,
// as each open(2) makes a description of its own for fcntl(2)'s F_OFD_SETLK.
// What one holder holds it holds once: asking for a part again, in either
// mode, converts that part, pieces that touch become one, and a release of a
// part of a piece leaves the rest.
//
// A release happens before an acquisition that had to wait for it returns, in
// any process. Requests that overlap are served in the order in which they
// arrive, unless both are shared; those that do not overlap do not wait for
// each other. A request need not queue behind one that waits, directly, for
// what its own holder has; nor for what the holder has already in part.
//
// When the process dies, however it dies, its ranges go free. Nobody is told:
// what a range stands for is not called half-changed. Garbage collection
// releases nothing; a holder that is collected while it holds is reported in
// the log.
//
// A Ranges may be used by several goroutines at once, which then are one holder.
type Ranges struct {
	handle
	holder *rangeHolder
	origin *Ranges // what With was called of: the holder is there as long as that is
}

// Ranges returns a new holder of the ranges of this name, 1 to MaxName bytes
// without NUL. It never fails: what is wrong with the name shows when the
// holder is first used.
func (a *Arena) Ranges(name string) *Ranges {
	r := a.rangesFor(name, 0)
	r.holder.where = maker(1)
	return r
}

// rangesFor makes the holder of a session, which is given by its record.
// A session tells itself of what it has lost.
func (a *Arena) rangesFor(name string, session uint32) *Ranges {
	c := a.core
	r := &Ranges{
		handle: handle{a.cell(KindRanges, name), &a.plain},
		holder: &rangeHolder{core: c, name: name, number: c.ranges.numbers.take(), session: session},
	}
	runtime.AddCleanup(r, (*rangeHolder).leaked, r.holder)
	return r
}

// With returns a handle to the same holder whose calls have this patience.
func (r *Ranges) With(p Patience) *Ranges {
	return &Ranges{handle: r.with(p), holder: r.holder, origin: r}
}

// span is a range with both ends in it, and the held kind that it is asked for as.
type span struct {
	first, last uint64
	kind        recordKind
}

func spanOf(mode Mode, start, length int64) (span, error) {
	s := span{uint64(start), maxOffset, rangeExclusive}
	if mode == Shared {
		s.kind = rangeShared
	}
	switch {
	case mode != Shared && mode != Exclusive:
		return s, fmt.Errorf("%w: mode %d is neither Exclusive nor Shared", ErrRange, uint8(mode))
	case start < 0 || length < 0:
		return s, fmt.Errorf("%w: start %d and length %d cannot be negative", ErrRange, start, length)
	case s.first+uint64(length) > maxOffset+1:
		return s, fmt.Errorf("%w: %d offsets from %d on end beyond 2^63", ErrRange, length, start)
	case length > 0:
		s.last = s.first + uint64(length) - 1
	}
	return s, nil
}

func rangeOf(mode Mode, first, last uint64) Range {
	r := Range{Start: int64(first), Mode: mode}
	if last < maxOffset {
		r.Length = int64(last - first + 1)
	}
	return r
}

// Lock takes length offsets from start on in a mode, length 0 all up to the end,
// waiting until the context ends or the handle's Patience is over. What
// the holder holds of them already is converted: to shared at once, and nobody
// gets in between; to exclusive when nobody else holds any of it, and until
// then it is held as it was. Two holders that wait to make exclusive what both
// hold shared wait for each other.
//
// If nobody is in the way Lock may succeed with a context that has ended.
// Errors: a *TimeoutError, which is ErrTimeout and context.DeadlineExceeded;
// context.Canceled, or the context's cause, wrapped; ErrRange, ErrName,
// ErrKind, ErrTableFull, ErrClosed, ErrReplaced. With any of them the holder
// holds what it held before.
func (r *Ranges) Lock(ctx context.Context, mode Mode, start, length int64) error {
	s, err := spanOf(mode, start, length)
	if err != nil {
		return r.failed("lock", err)
	}
	if r.lockAtOnce(s) {
		return nil
	}
	defer runtime.KeepAlive(r)
	return r.lockSlow(ctx, s)
}

// TryLock takes a range as Lock does if nobody living is in the way, and says
// whether it did. It does not wait. A failed TryLock orders nothing in memory.
// It may fail for no longer than a millisecond after the death of who is in
// the way is provable.
func (r *Ranges) TryLock(mode Mode, start, length int64) (bool, error) {
	s, err := spanOf(mode, start, length)
	if err != nil {
		return false, r.failed("try", err)
	}
	if r.lockAtOnce(s) {
		return true, nil
	}
	defer runtime.KeepAlive(r)
	return r.tryLock(s)
}

// Release gives back what the holder holds of length offsets from start on,
// length 0 all up to the end; what it does not hold there is passed over. It
// waits for nobody but the processor, unless a process was stopped in the
// microsecond in which it changes the same Ranges. To give back the middle of a
// piece takes room for one more: if there is none it returns ErrTableFull, and
// nothing has changed. After the arena was closed, which gave all back, it
// does nothing.
func (r *Ranges) Release(start, length int64) error {
	s, err := spanOf(Exclusive, start, length)
	if err != nil {
		return r.failed("release", err)
	}
	if r.releaseAtOnce(s) {
		return nil
	}
	defer runtime.KeepAlive(r)
	return r.releaseSlow(s)
}

// ReleaseAll gives back all that the holder holds. It needs no room; else it is
// like Release.
func (r *Ranges) ReleaseAll() error {
	defer runtime.KeepAlive(r)
	return r.releaseAll()
}

// Held returns what the holder holds, in order, as it was at one moment.
func (r *Ranges) Held() []Range {
	defer runtime.KeepAlive(r)
	return r.held()
}

// Do runs f while it holds a range, waiting for it as Lock does. It returns f's
// error, or why the range could not be had. Afterwards, and also if f panics or
// ends its goroutine, the range is given back, all of it.
func (r *Ranges) Do(ctx context.Context, mode Mode, start, length int64, f func(context.Context) error) (err error) {
	if err := r.Lock(ctx, mode, start, length); err != nil {
		return err
	}
	defer func() {
		if e := r.Release(start, length); e != nil && err == nil {
			err = e
		}
	}()
	return f(ctx)
}

// lockAtOnce is the way of who need not wait for anything.
func (r *Ranges) lockAtOnce(s span) (done bool) {
	c, h := r.arena.core, r.holder
	if r.arena.closed.Load() || !c.gate.enter() {
		return false
	}
	defer c.gate.leave()
	b := r.binding()
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		return false
	}
	raceAcquire(c, b)
	d := &h.desk
	whole := false
	d.c = c
	defer d.unlessWhole(&whole, b)
	d.at(c, b)
	if h.has(2) {
		done, _ = d.lock(h, s)
	}
	whole = true
	d.leave()
	runtime.KeepAlive(r) // its clean-up uses what this does
	return done
}

// lock takes a range if nobody is in the way, and if the holder has what that
// takes.
func (d *rangeDesk) lock(h *rangeHolder, s span) (taken, enough bool) {
	v := d.survey(h.claim(s), h)
	if need := 1 + min(1, v.own); !h.has(need) {
		return false, false
	}
	if v.barred {
		return false, true
	}
	d.hold(h, s, v.own > 0, 0)
	return true, true
}

func (r *Ranges) releaseAtOnce(s span) (done bool) {
	c, h := r.arena.core, r.holder
	if !c.gate.enter() {
		return true
	}
	defer c.gate.leave()
	b := r.binding()
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		return false
	}
	raceAcquire(c, b)
	d := &h.desk
	whole := false
	d.c = c
	defer d.unlessWhole(&whole, b)
	d.at(c, b)
	done = d.release(h, s.first, s.last)
	whole = true
	d.leave()
	runtime.KeepAlive(r) // its clean-up uses what this does
	return done
}
