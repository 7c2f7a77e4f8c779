package arena

import "sync/atomic"

// sight looks at the living arena.
func (c *core) sight() *sighting {
	c.noticeGrowth()
	return sightAll(living{c.mapped.Load()}, c.segments())
}

// living is the sight of an arena in use.
type living struct{ m *mapping }

func (v living) word64(offset uint64) uint64 {
	if w := at[atomic.Uint64](v.m, offset); w != nil {
		return w.Load()
	}
	return 0
}

func (v living) word32(offset uint64) uint32 {
	if w := at[atomic.Uint32](v.m, offset); w != nil {
		return w.Load()
	}
	return 0
}
