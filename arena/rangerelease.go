package arena

import (
	"context"
	"errors"

	"lockd/futex"
)

// tryLock looks for the dead at most once a millisecond.
func (r *Ranges) tryLock(s span) (bool, error) {
	c := r.arena.core
	if r.arena.closed.Load() || !c.gate.enter() {
		return false, r.failed("try", ErrClosed)
	}
	defer c.gate.leave()
	ctx, cancel := context.WithTimeout(context.Background(), tryPatience)
	defer cancel()
	w := &rangeWait{span: s}
	for again := false; ; again = true {
		taken := false
		err := r.latched(request{ctx: ctx, arena: r.arena}, func(d *rangeDesk) (enough bool) {
			if taken, enough = d.lock(r.holder, s); enough && !taken {
				w.n = 0
				q := r.holder.claim(s)
				walk := d.walk(&d.walks[0], q.first, q.last)
				for i, p := d.next(walk); i != 0; i, p = d.next(walk) {
					if p := claimOf(p); d.bars(p, q) {
						w.meet(p.member())
					}
				}
			}
			return enough
		})
		switch {
		case errors.Is(err, context.DeadlineExceeded): // somebody is stopped who has the latch
			return false, nil
		case err != nil:
			return false, r.failed("try", err)
		case taken || again:
			return taken, nil
		}
		last, now := r.cell.judged.Load(), futex.Now()
		if now-last < int64(judgeEvery) || !r.cell.judged.CompareAndSwap(last, now) || !c.reapRanges(r.binding(), w.met[:w.n]) {
			return false, nil
		}
	}
}

func (r *Ranges) releaseSlow(s span) error {
	c := r.arena.core
	if !c.gate.enter() {
		return nil
	}
	defer c.gate.leave()
	err := r.latched(request{ctx: context.Background(), unfailing: true}, func(d *rangeDesk) bool {
		return d.release(r.holder, s.first, s.last)
	})
	if err != nil && !c.gate.closing() {
		return r.failed("release", err)
	}
	return nil
}

func (r *Ranges) releaseAll() error {
	c, h := r.arena.core, r.holder
	if !c.gate.enter() {
		return nil
	}
	defer c.gate.leave()
	if err := r.handle.acquire(request{ctx: context.Background(), unfailing: true}); err != nil {
		if c.gate.closing() {
			return nil
		}
		return r.failed("release", err)
	}
	r.inside(func(d *rangeDesk) {
		for n := len(h.pieces); n > 0 && len(h.pieces) > 0; n-- {
			i := h.pieces[len(h.pieces)-1]
			p := c.rangeAt(i)
			if p == nil || !h.owns(i, p) {
				h.pieces = h.pieces[:len(h.pieces)-1] // only a damaged file takes it away
				continue
			}
			d.freed(p.first.Load(), p.last.Load())
			d.discard(h, i, p)
		}
		h.giveBackSpares()
	})
	return nil
}

func (r *Ranges) held() []Range {
	c, h := r.arena.core, r.holder
	if !c.gate.enter() {
		return nil
	}
	defer c.gate.leave()
	for room := firstPieces; ; {
		all := make([]Range, 0, room)
		if r.handle.acquire(request{ctx: context.Background(), unfailing: true}) != nil {
			return nil
		}
		fits := false
		r.inside(func(*rangeDesk) {
			if room = len(h.pieces); room <= cap(all) {
				fits, all = true, h.held(all)
			}
		})
		if fits {
			sortRanges(all)
			return all
		}
	}
}
