package arena

import (
	"hash/maphash"
	"sync/atomic"
)

// handleCache gives callers that ask for the same names again the same
// handles, quickly. It maps a name's hash to one place and forgets what stood
// there, so it is bounded, needs no lock, and keeps nothing alive for long.
// Nothing depends on a name having one handle.
type handleCache struct {
	table atomic.Pointer[handleTable]
}

type handleTable struct {
	places []atomic.Pointer[Mutex]
}

// smallCache is what serves an arena of one segment; it grows with the arena
// whose names it serves.
const smallCache = 1024

var handleSeed = maphash.MakeSeed()

func (h *handleCache) mutex(a *Arena, name string) *Mutex {
	hash := maphash.String(handleSeed, name)
	t := h.table.Load()
	if t != nil {
		if m := t.places[hash%uint64(len(t.places))].Load(); m != nil && m.name == name {
			return m
		}
	}
	t = h.fit(a, t)
	m := newMutex(a, name)
	t.places[hash%uint64(len(t.places))].Store(m)
	return m
}

// fit makes the table as large as the arena's number of slots.
func (h *handleCache) fit(a *Arena, t *handleTable) *handleTable {
	size := smallCache
	if !a.closed.Load() {
		for slots := int(a.core.mapping.usable.Load() / segmentSize * segmentSlots); size < slots; {
			size *= 2
		}
	}
	if t != nil && len(t.places) >= size {
		return t
	}
	larger := &handleTable{places: make([]atomic.Pointer[Mutex], size)}
	if t != nil {
		for i := range t.places {
			if m := t.places[i].Load(); m != nil {
				larger.places[maphash.String(handleSeed, m.name)%uint64(size)].Store(m)
			}
		}
	}
	h.table.CompareAndSwap(t, larger)
	return h.table.Load()
}
