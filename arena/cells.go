package arena

import (
	"hash/maphash"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"
)

// cell is what all handles of one name share in this process: where the name
// is. There is one cell a name for as long as any handle of it is alive. That
// is not for economy: were there two, one could go stale while the lock is
// held through the other, and a release through it would find, in the slot
// that it still points to, a word that says "held by this process", but of
// another name.
type cell struct {
	// bound points to the binding in use. An atomic.Pointer would cost the fast
	// paths their inlining: the compiler's budget is 80.
	bound unsafe.Pointer
	// reading points to where the readers of an rwmutex are counted.
	reading unsafe.Pointer
	name    string
	kind    Kind
	judged  atomic.Int64         // when a failed try last judged the owner, CLOCK_MONOTONIC ns
	hall    atomic.Pointer[hall] // of a semaphore
}

func (l *cell) binding() *binding { return (*binding)(atomic.LoadPointer(&l.bound)) }

// rebind replaces a binding that was found to be stale.
func (l *cell) rebind(old, b *binding) {
	atomic.CompareAndSwapPointer(&l.bound, unsafe.Pointer(old), unsafe.Pointer(b))
}

// tenants are, for each slot, the cell of this process that was last bound to
// it. Binding another ends the earlier one's binding: a word that says "held
// by this process" does not say under which name, so no cell may point to a
// slot that this process holds under another. And a cell is kept alive as long
// as its name may be held, so that whoever asks for the name finds it.
type tenants struct {
	segments [maxSegments]atomic.Pointer[tenantSegment]
}

type tenantSegment struct {
	mu    sync.Mutex
	cells [segmentSlots]*cell
}

func (t *tenants) segment(index uint32) *tenantSegment {
	place := &t.segments[index/segmentSlots]
	if s := place.Load(); s != nil {
		return s
	}
	place.CompareAndSwap(nil, new(tenantSegment))
	return place.Load()
}

// install binds the cell to the slot of b, instead of to old. It is false if the
// slot has left b's generation: then another name's cell may be bound to it
// already, and the name has to be looked up again.
func (t *tenants) install(l *cell, old, b *binding) bool {
	s := t.segment(b.index)
	s.mu.Lock()
	defer s.mu.Unlock()
	if life := slotLife(b.slot.life.Load()); !life.isLive() || life.generation() != b.generation {
		return false
	}
	place := &s.cells[b.index%segmentSlots]
	if before := *place; before != nil && before != l {
		if theirs := before.binding(); theirs.index == b.index {
			before.rebind(theirs, unbound)
		}
	}
	*place = l
	l.rebind(old, b)
	return true
}

// cells interns the cells of a core, and keeps none alive. When a shard has
// doubled, and the collector has run, it forgets those that were
// taken. Were it to look before, it would find all alive, and a limit set by
// what it found would grow without end.
type cells struct {
	shards [16]cellShard
}

type cellShard struct {
	mu    sync.Mutex
	named map[cellKey]weak.Pointer[cell]
	sweep int // at this size
	// collected: the collector has run since the last sweep. A weak pointer
	// could not tell: asked while the collector is at work, it keeps alive.
	collected atomic.Bool
}

type cellKey struct {
	kind Kind
	name string
}

const firstSweep = 128

var handleSeed = maphash.MakeSeed()

func (s *cells) init() {
	for i := range s.shards {
		s.shards[i].named = make(map[cellKey]weak.Pointer[cell])
		s.shards[i].sweep = firstSweep
		s.shards[i].collected.Store(true)
	}
}

func (s *cells) named(hash uint64, kind Kind, name string) *cell {
	sh := &s.shards[hash>>60]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	key := cellKey{kind, name}
	if l := sh.named[key].Value(); l != nil {
		return l
	}
	if len(sh.named) >= sh.sweep && sh.collected.Load() {
		sh.forget()
	}
	l := &cell{bound: unsafe.Pointer(unbound), reading: unsafe.Pointer(unread), name: name, kind: kind}
	sh.named[key] = weak.Make(l)
	return l
}

// each calls f for every cell of an rwmutex that is alive.
func (s *cells) each(f func(*cell)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for key, w := range sh.named {
			if l := w.Value(); l != nil && key.kind == KindRWMutex {
				f(l)
			}
		}
		sh.mu.Unlock()
	}
}

func (sh *cellShard) forget() {
	before := len(sh.named)
	for key, l := range sh.named {
		if l.Value() == nil {
			delete(sh.named, key)
		}
	}
	if len(sh.named) < before/2 {
		// A map keeps the memory of its largest day.
		smaller := make(map[cellKey]weak.Pointer[cell], len(sh.named))
		maps.Copy(smaller, sh.named)
		sh.named = smaller
	}
	sh.sweep = firstSweep + 2*len(sh.named)
	sh.collected.Store(false)
	runtime.AddCleanup(new(*cell), func(b *atomic.Bool) { b.Store(true) }, &sh.collected)
}

// handleCache gives callers that ask an Arena for the same names again the
// same handles, quickly. A name's hash leads to a bucket of eight places, and
// whoever finds it full takes the place of another: it is bounded, and needs
// no lock.
type handleCache[H any] struct {
	table atomic.Pointer[handleTable[H]]
}

// handleTable has a tag beside each place, some bits of the hash of the name
// that stands there, so that a look-up follows one pointer as a rule. The two
// are not written at once: a tag is a hint.
type handleTable[H any] struct {
	tags   []atomic.Uint32
	places []atomic.Pointer[cached[H]]
}

type cached[H any] struct {
	name   string
	handle H
}

// smallCache is what serves an arena of one segment; it grows with the arena.
const (
	smallCache = 2048
	cacheWays  = 8
)

func waysOf(hash uint64, places int) int { return int(hash) & (places - 1) &^ (cacheWays - 1) }

func tagOf(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// named returns the handle to this name that is there, or puts there what
// wrap makes of a new one.
func (h *handleCache[H]) named(a *Arena, kind Kind, name string, wrap func(handle) H) *H {
	hash := maphash.String(handleSeed, name)
	t := h.table.Load()
	if t != nil {
		tag, bucket := tagOf(hash), waysOf(hash, len(t.places))
		tags := t.tags[bucket : bucket+cacheWays]
		for i := range tags {
			if tags[i].Load() != tag {
				continue
			}
			if e := t.places[bucket+i].Load(); e != nil && e.name == name {
				return &e.handle
			}
		}
	}
	t = h.fit(a, t)
	e := &cached[H]{name, wrap(handle{cell: a.core.cells.named(hash, kind, name), arena: a})}
	t.put(hash, e)
	return &e.handle
}

func (t *handleTable[H]) put(hash uint64, e *cached[H]) {
	bucket := waysOf(hash, len(t.places))
	at := bucket + int(hash>>59)%cacheWays
	for i := bucket; i < bucket+cacheWays; i++ {
		if t.tags[i].Load() == 0 {
			at = i
			break
		}
	}
	t.places[at].Store(e)
	t.tags[at].Store(tagOf(hash))
}

// fit makes the table somewhat larger than the arena's number of slots.
func (h *handleCache[H]) fit(a *Arena, t *handleTable[H]) *handleTable[H] {
	size := smallCache
	for slots := int(a.core.slotCount()); size < slots+slots/4; {
		size *= 2
	}
	if t != nil && len(t.places) >= size {
		return t
	}
	larger := &handleTable[H]{make([]atomic.Uint32, size), make([]atomic.Pointer[cached[H]], size)}
	if t != nil {
		for i := range t.places {
			if e := t.places[i].Load(); e != nil {
				larger.put(maphash.String(handleSeed, e.name), e)
			}
		}
	}
	h.table.CompareAndSwap(t, larger)
	return h.table.Load()
}
