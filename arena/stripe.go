package arena

import (
	"context"
	"sync/atomic"

	"lockd/internal/crash"
	"lockd/robust"
)

// catchUp brings the words and lives of slots with this hash to the same
// generation, the higher of the two, so that no handle that was stale becomes
// good again. Under the latch no eviction is under way, and one that was cut
// short was finished by the rebuild: what is astray now was left so by damage.
func (c *core) catchUp(head *bucket, hash uint64) {
	i := head.Load()
	for steps := uint32(0); i != 0 && steps < c.slotCount(); steps++ {
		s := c.slotAt(i)
		if s == nil {
			return
		}
		life := slotLife(s.life.Load())
		w := robust.Word(s.word.Load())
		switch {
		case s.hash.Load() != hash || !life.isLock() || !astray(w, life):
		case w.Generation() < life.generation():
			s.word.CompareAndSwap(uint64(w), uint64(robust.Free(life.generation())|w.Flags()))
		default:
			if x := c.slotAt(s.extension.Load()); x != nil {
				x.life.CompareAndSwap(uint64(extensionLife(i, life.generation())), uint64(extensionLife(i, w.Generation())))
			}
			if life.kind() == KindRWMutex {
				for _, r := range c.chain(i, s) {
					r.generation.Store(w.Generation())
					if owner := r.owner.Load(); kindOfRecord(owner) == recordVacant {
						r.owner.CompareAndSwap(owner, vacantCell(w.Generation()))
					}
				}
			}
			s.life.CompareAndSwap(uint64(life), uint64(liveLife(w.Generation(), life.length(), life.kind())))
		}
		i = s.next.Load()
	}
}

// latchStripe takes the latch of a hash's stripe and brings its chains up to
// date: rebuilt if its last holder died, spread over as many buckets as the
// table has grown to.
func (c *core) latchStripe(ctx context.Context, hash uint64) (latch, error) {
	number := int(hash % stripeCount)
	s := c.stripeAt(hash)
	l, err := c.acquireLatch(ctx, &s.latch, number)
	if err != nil {
		return l, err
	}
	whole := false
	defer func() {
		if !whole {
			l.spoil()
		}
	}()
	c.freshen(&l, s, uint64(number))
	whole = true
	return l, nil
}

func (c *core) freshen(l *latch, s *stripe, number uint64) {
	c.noticeGrowth()
	level := levelFor(c.segments())
	if had := s.level.Load(); l.rebuild || had < levelFor(1) || had > level {
		c.rebuild(s, number, level)
		l.rebuild = false
	} else if had < level {
		c.spread(s, number, had, level)
	}
}

// spread moves a stripe's chains from the buckets of one level to more. New buckets are zero: only
// this writes them, and after it was cut short the chains are rebuilt.
func (c *core) spread(s *stripe, number uint64, old, level uint32) {
	for b := uint32(number); b < 1<<old; b += stripeCount {
		from := c.bucketAt(b)
		i := from.Load()
		from.Store(0)
		crash.At("spread.detached")
		for steps := 0; i != 0 && steps < maxSegments*segmentSlots; steps++ {
			moved := c.slotAt(i)
			if moved == nil {
				break
			}
			next := moved.next.Load()
			head := c.chainHead(moved.hash.Load(), level)
			moved.next.Store(head.Load())
			head.Store(i)
			crash.At("spread.moved")
			i = next
		}
	}
	s.level.Store(level)
	crash.At("spread.levelled")
}

// rebuild makes a stripe's chains anew from the slots, which are the truth,
// and finishes evictions that were cut short.
func (c *core) rebuild(s *stripe, number uint64, level uint32) {
	for b := uint32(number); b < 1<<level; b += stripeCount {
		c.bucketAt(b).Store(0)
	}
	s.level.Store(level)
	crash.At("rebuild.emptied")
	for i := uint32(1); i < c.slotCount(); i++ {
		t := c.slotAt(i)
		if t == nil {
			break
		}
		life := slotLife(t.life.Load())
		hash := t.hash.Load()
		if !life.isLock() || hash%stripeCount != number {
			continue
		}
		crash.At("rebuild.slot")
		if w := robust.Word(t.word.Load()); astray(w, life) && w.Generation() > life.generation() && !w.Has(robust.Abandoned) {
			if c.evictable(i, t, life) {
				c.emptied(i, t, life, lifeEmpty)
				continue
			}
			c.restore(t, life)
		}
		c.bringUp(t, life) // as is what a robber who was killed has left
		c.tagExtension(i, t)
		head := c.chainHead(hash, level)
		t.next.Store(head.Load())
		head.Store(i)
		crash.At("rebuild.linked")
	}
}

// unlink takes slot i out of its chain, under the stripe's latch.
func (c *core) unlink(i uint32, hash uint64) {
	var link *atomic.Uint32 = c.chainHead(hash, c.stripeAt(hash).level.Load())
	for steps := uint32(0); link != nil && steps < c.slotCount(); steps++ {
		at := link.Load()
		if at == 0 {
			return
		}
		s := c.slotAt(at)
		if s == nil {
			return
		}
		if at == i {
			link.Store(s.next.Load())
			return
		}
		link = &s.next
	}
}
