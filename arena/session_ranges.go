package arena

import (
	"context"
	"fmt"
	"runtime"
)

// ofRanges is the mode of holdings whose ranges have modes of their own.
const ofRanges Mode = 0

// LockRange takes length offsets of a Ranges from start on, as [Ranges.Lock]
// does, and may return ErrDeadlock, as two conversions to exclusive would. The
// session holds for itself, beside what r holds, and once: all that it takes
// under r's name, by whichever handle, is one holder's.
func (s *Session) LockRange(ctx context.Context, r *Ranges, mode Mode, start, length int64) error {
	defer runtime.KeepAlive(s)
	in := s.in
	own, err := in.rangesOf("lock", r)
	if err != nil {
		return err
	}
	what, err := spanOf(mode, start, length)
	if err != nil {
		return r.failed("lock", err)
	}
	if own.lockAtOnce(what) {
		return nil
	}
	if _, err := in.bound(ctx, &own.handle); err != nil {
		return err
	}
	return in.wait(ctx, &own.handle, mode, 1, func(ctx context.Context, _ *sessionWait) error {
		return own.Lock(ctx, mode, start, length)
	})
}

// TryLockRange is LockRange that does not wait.
func (s *Session) TryLockRange(r *Ranges, mode Mode, start, length int64) (bool, error) {
	defer runtime.KeepAlive(s)
	own, err := s.in.rangesOf("try", r)
	if err != nil {
		return false, err
	}
	return own.TryLock(mode, start, length)
}

// ReleaseRange gives back what the session holds of a range; see
// [Ranges.Release].
func (s *Session) ReleaseRange(r *Ranges, start, length int64) error {
	defer runtime.KeepAlive(s)
	own, err := s.in.heldRanges("release", r)
	if err != nil || own == nil {
		return err
	}
	return own.Release(start, length)
}

// ReleaseRanges gives back all that the session holds under the name of r.
func (s *Session) ReleaseRanges(r *Ranges) error {
	defer runtime.KeepAlive(s)
	own, err := s.in.heldRanges("release", r)
	if err != nil || own == nil {
		return err
	}
	return own.ReleaseAll()
}

// rangesOf returns the session's own holder, made when it is first needed.
func (s *session) rangesOf(what string, r *Ranges) (*Ranges, error) {
	own, err := s.heldRanges(what, r)
	if own != nil || err != nil {
		return own, err
	}
	h := s.taken(r.cell, 0, ofRanges, 0)
	if h.more == nil {
		h.more = new(holdMore)
	}
	h.more.ranges = s.arena.rangesFor(r.cell.name, s.index)
	return h.more.ranges.through(r), nil
}

// heldRanges returns the session's own holder, if there is one.
func (s *session) heldRanges(what string, r *Ranges) (*Ranges, error) {
	if err := s.check(what, r.cell.name); err != nil {
		return nil, err
	}
	if r.arena.core != s.core {
		return nil, s.fail(what, r.cell.name, fmt.Errorf("%w: they are of another arena, %s", ErrOptions, r.arena.core.path))
	}
	if h := s.find(&r.handle); h != nil {
		return h.more.ranges.through(r), nil
	}
	return nil, nil
}

// through is the holder with the patience of another handle.
func (r *Ranges) through(by *Ranges) *Ranges {
	if by.own == nil {
		return r
	}
	return r.With(*by.own)
}
