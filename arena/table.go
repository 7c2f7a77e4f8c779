package arena

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"lockd/internal/crash"
	"lockd/internal/words"
	"lockd/robust"
)

// The name directory. A name's hash chooses a stripe (its low six bits) and,
// with as many more bits as the stripe's level says, a bucket; the bucket's
// chain runs through slot indices.
//
// Looking up takes no latch: it walks the chain, at most walkLimit steps, and
// believes a slot only if it was live, in one generation, before and after the
// name was compared. Walking past a slot that is just being moved can end in
// another chain or at nothing; then the name is looked for again under the
// stripe's latch, which whoever adds to, takes from or moves a chain of the
// stripe holds. So one name is never in two slots.
//
// Who may die where, while inserting:
//
//	claimed, not published   a settler empties the slot
//	live, not in its chain   the latch is abandoned: the rebuild links it
//	in its chain             inserted
const walkLimit = 64

// levelFor is log2 of the buckets that serve this many segments.
func levelFor(segments uint32) uint32 {
	return uint32(bits.Len32(segments*segmentBuckets)) - 1
}

// chainHead is the bucket of a hash at a level, nil if the level is damaged.
func (c *core) chainHead(hash uint64, level uint32) *bucket {
	if level > levelFor(maxSegments) {
		return nil
	}
	return c.bucketAt(bucketNumber(hash, level))
}

// bucketNumber is the number of the bucket of a hash at a level.
func bucketNumber(hash uint64, level uint32) uint32 { return uint32(hash & (1<<level - 1)) }

// latchedHead is the bucket of a hash whose stripe was brought up to date, under
// its latch. The level is believed only as far as it can be right.
func (c *core) latchedHead(hash uint64) *bucket {
	level := c.stripeAt(hash).level.Load()
	return c.chainHead(hash, min(max(level, levelFor(1)), levelFor(c.segments())))
}

// place is where a name is: a slot and the generation that it is there in.
type place struct {
	index      uint32
	generation uint32
	kind       Kind
	slot       *slot
}

// find looks a name up without a latch.
func (c *core) find(hash uint64, name string) (place, bool) {
	head := c.chainHead(hash, c.stripeAt(hash).level.Load())
	if head == nil {
		return place{}, false
	}
	return c.walk(head, hash, name, walkLimit)
}

func (c *core) walk(head *bucket, hash uint64, name string, steps int) (place, bool) {
	for i := head.Load(); i != 0 && steps > 0; steps-- {
		s := c.slotAt(i)
		if s == nil {
			break
		}
		if p, ok := c.match(i, s, hash, name); ok {
			return p, true
		}
		i = s.next.Load()
	}
	return place{}, false
}

func (c *core) match(i uint32, s *slot, hash uint64, name string) (place, bool) {
	life := slotLife(s.life.Load())
	if s.hash.Load() != hash || !life.isLock() || life.length() != len(name) {
		return place{}, false
	}
	var x *extension
	if len(name) > inlineName {
		x = c.extensionAt(s.extension.Load())
	}
	if !sameName(s, x, name) {
		return place{}, false
	}
	if astray(robust.Word(s.word.Load()), life) || slotLife(s.life.Load()) != life {
		return place{}, false
	}
	return place{i, life.generation(), life.kind(), s}, true
}

func astray(w robust.Word, life slotLife) bool { return words.Astray(w, words.Life(life)) }

// lookup finds the slot of a name, or makes one of this kind.
func (c *core) lookup(ctx context.Context, name string, kind Kind) (place, error) {
	if err := checkName(name); err != nil {
		return place{}, err
	}
	hash := hashName(c.head.seed.Load(), name)
	p, ok := c.find(hash, name)
	if !ok {
		var err error
		if p, err = c.insert(ctx, hash, name, kind); err != nil {
			return place{}, err
		}
	}
	if p.kind != kind {
		return place{}, fmt.Errorf("arena: %w: %q is a %v here, asked for as a %v", ErrKind, name, p.kind, kind)
	}
	return p, nil
}

// insert makes a slot for a name that was not found, or finds that somebody
// else has. The slot is claimed before the latch is taken, for claiming may
// evict, grow or settle; so that not everybody who wants the same names claims
// slots for them, one goroutine a stripe inserts at a time in each process.
func (c *core) insert(ctx context.Context, hash uint64, name string, kind Kind) (place, error) {
	door := c.latches.inserting[hash%stripeCount]
	select {
	case door <- struct{}{}:
	default:
		select {
		case door <- struct{}{}:
		case <-ctx.Done():
			return place{}, ctx.Err()
		case <-c.gate.closed:
			return place{}, ErrClosed
		}
	}
	defer func() { <-door }()
	if p, ok := c.find(hash, name); ok {
		return p, nil
	}
	slots := 1
	if len(name) > inlineName {
		slots = 2
	}
	both, err := c.claimSlots(ctx, slots)
	if errors.Is(err, ErrTableFull) {
		if p, ok := c.findLatched(ctx, hash, name); ok {
			return p, nil
		}
	}
	if err != nil {
		return place{}, err
	}
	claimed, rest := both[0], both[1]
	crash.At("insert.claimed")
	p, inserted, err := c.insertClaimed(ctx, hash, name, kind, claimed, rest)
	if !inserted {
		c.unclaim(claimed)
		c.unclaim(rest)
	}
	return p, err
}

// findLatched looks the name up under its stripe's latch: a walk without it
// can miss a name whose chain is just being moved.
func (c *core) findLatched(ctx context.Context, hash uint64, name string) (place, bool) {
	l, err := c.latchStripe(ctx, hash)
	if err != nil {
		return place{}, false
	}
	defer l.end()
	p, ok := c.walkLatched(hash, name)
	l.whole = true
	return p, ok
}

// walkLatched is the walk that does not miss. The stripe's latch is held.
func (c *core) walkLatched(hash uint64, name string) (place, bool) {
	head := c.latchedHead(hash)
	c.catchUp(head, hash)
	return c.walk(head, hash, name, maxSegments*segmentSlots)
}

// insertClaimed puts the name into the claimed slots, unless it is found to be
// in the table by now.
func (c *core) insertClaimed(ctx context.Context, hash uint64, name string, kind Kind, claimed, rest uint32) (p place, inserted bool, err error) {
	l, err := c.latchStripe(ctx, hash)
	if err != nil {
		return place{}, false, err
	}
	defer l.end()
	p, ok := c.walkLatched(hash, name)
	if ok && !variantInsertUnlooked {
		l.whole = true
		return p, false, nil
	}
	p = c.fill(claimed, rest, hash, name, kind)
	crash.At("insert.live")
	head := c.latchedHead(hash)
	change(&p.slot.next, head.Load())
	crash.At("insert.pointed")
	head.Store(claimed)
	crash.At("insert.linked")
	l.whole = true
	return p, true, nil
}

// fill writes a claimed slot and publishes it. Its new generation makes every
// handle to its earlier names miss.
func (c *core) fill(claimed, rest uint32, hash uint64, name string, kind Kind) place {
	s := c.slotAt(claimed)
	generation := robust.Word(s.word.Load()).Generation() + 1
	if variantReuseGeneration && generation > 2 {
		generation -= 2
	}
	var x *extension
	if rest != 0 {
		x = c.extensionAt(rest)
	}
	s.hash.Store(hash)
	change(&s.extension, rest)
	storeName(s, x, name)
	crash.At("insert.named")
	change(&s.records, 0)
	change64(&s.state, 0)
	change(&s.deadPID, 0)
	change(&s.deadCause, 0)
	change(&s.abandonments, 0)
	change(&s.last, 0)
	change64(&s.deadWhen, 0)
	s.fence.Store(c.head.fenceHigh.Load())
	s.inserted.Store(c.uptime())
	crash.At("insert.filled")
	// The word first: settleClaim looks for an extension of its generation only.
	s.word.Store(uint64(robust.Free(generation)))
	crash.At("insert.generation")
	if x != nil {
		x.life.Store(uint64(extensionLife(claimed, generation)))
	}
	crash.At("insert.word")
	s.life.Store(uint64(liveLife(generation, len(name), kind)))
	return place{claimed, generation, kind, s}
}

// slotCount is one more than the highest slot index.
func (c *core) slotCount() uint32 { return c.segments() * segmentSlots }
