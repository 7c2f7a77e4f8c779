package arena

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
)

// growthPatience bounds the wait for who is growing the file: it may be
// stopped, and there may be idle slots.
const growthPatience = 50 * time.Millisecond

// grow adds one segment to the file, unless it has as many as its limit. The
// space is allocated before the header says that it is there: killed in
// between, the grower leaves a file that is larger than it needs to be. A new
// segment is zeros: empty slots, free records, buckets of no level yet.
//
// had is how many segments there were when the caller found no slot in them:
// with more by now, there is something new to look at.
func (c *core) grow(ctx context.Context, had uint32) (bool, error) {
	if c.noticeGrowth() || c.segments() > had {
		return true, nil
	}
	if c.segments() >= min(c.head.limit.Load(), maxSegments) {
		return false, nil
	}
	patience, cancel := context.WithTimeout(ctx, growthPatience)
	defer cancel()
	l, err := c.acquireLatch(patience, &c.head.growth, growthDoor)
	if err != nil {
		return false, err
	}
	var made bool
	var have uint32
	defer func() {
		l.release()
		if made { // nobody waits for that
			c.mapped.Load().populate(have)
		}
	}()
	if c.noticeGrowth() || c.segments() > had {
		return true, nil
	}
	have = c.segments()
	if have >= min(c.head.limit.Load(), maxSegments) {
		return false, nil
	}
	if err := allocate(c.file, int64(fileSize(have)), segmentSize); err != nil {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			err = noSpace(c.path, segmentSize, err)
		}
		return false, err
	}
	crash.At("grow.allocated")
	if c.head.segments.CompareAndSwap(have, have+1) {
		crash.At("grow.published")
		made = c.noticeGrowth() || c.segments() > have // another goroutine may have noticed
		return made, nil
	}
	return c.noticeGrowth(), nil
}
