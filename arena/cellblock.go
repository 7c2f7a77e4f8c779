package arena

import (
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"
)

// cells interns the cells of a core, and keeps none alive. When a shard has
// doubled, and the collector has run, it forgets those that were
// taken. Were it to look before, it would find all alive, and a limit set by
// what it found would grow without end.
type cells struct {
	shards [16]cellShard
}

// cellShard is a hash table of weak pointers. Each costs more than the rest of
// a new name's way through here, so a few cells share one: they are made, and
// go, together.
type cellShard struct {
	mu    sync.Mutex
	refs  []cellRef // a power of two; open addressing
	used  int
	sweep int // at this size
	// collected: the collector has run since the last sweep. A weak pointer
	// could not tell: asked while the collector is at work, it keeps alive.
	collected atomic.Bool

	// The block that is being filled.
	block *cellBlock
	weak  weak.Pointer[cellBlock]
	taken int
}

// cellBlock is 512 bytes, the largest that the runtime places at a multiple of
// its size: each of its cells has two lines of the processor's cache.
type cellBlock [4]namedCell

// namedCell is a cell and the handle that was made with it, which most programs
// never need a second one of.
type namedCell struct {
	first lockHandle
	cell  cell
}

// lockHandle is what a Mutex and an RWMutex are.
type lockHandle struct{ handle }

type cellRef struct {
	block weak.Pointer[cellBlock]
	hash  uint64 // but for the lowest bits, which say which of the block's
}

const whichCell = uint64(len(cellBlock{}) - 1)

const (
	firstRefs  = 64
	firstSweep = 128
)

var handleSeed = maphash.MakeSeed()

func (s *cells) init() {
	for i := range s.shards {
		s.shards[i].refs = make([]cellRef, firstRefs)
		s.shards[i].sweep = firstSweep
		s.shards[i].collected.Store(true)
	}
}

// of returns the cell of a name. If it is a new one, its handle is the opening's.
func (s *cells) of(a *Arena, hash uint64, kind Kind, name string) *namedCell {
	sh := &s.shards[hash>>60]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n := sh.find(hash, kind, name)
	if n == nil {
		n = sh.add(hash)
		n.first.handle = handle{cell: &n.cell, arena: a}
		n.cell.name, n.cell.kind = name, kind
		n.cell.mark.Store(uint32(hash) &^ cellMark)
		n.cell.bound, n.cell.reading = unsafe.Pointer(unbound), unsafe.Pointer(unread)
	}
	return n
}

// cell is for handles that are not kept.
func (a *Arena) cell(kind Kind, name string) *cell {
	return &a.core.cells.of(a, maphash.String(handleSeed, name), kind, name).cell
}

func (n *namedCell) handleFor(a *Arena) *lockHandle {
	if n.first.arena == a {
		return &n.first
	}
	return &lockHandle{handle{cell: &n.cell, arena: a}}
}

// next is the place to look at after i.
func (sh *cellShard) next(i uint64) uint64 { return (i + 1) & uint64(len(sh.refs)-1) }

// place is where to look for a hash first.
func (sh *cellShard) place(hash uint64) uint64 { return hash >> 2 & uint64(len(sh.refs)-1) }

var noBlock weak.Pointer[cellBlock]

func (sh *cellShard) find(hash uint64, kind Kind, name string) *namedCell {
	for i := sh.place(hash); sh.refs[i].block != noBlock; i = sh.next(i) {
		if (sh.refs[i].hash^hash)&^whichCell != 0 {
			continue
		}
		if b := sh.refs[i].block.Value(); b != nil {
			if n := &b[sh.refs[i].hash&whichCell]; n.cell.name == name && n.cell.kind == kind {
				return n
			}
		}
	}
	return nil
}

// add makes room for one more.
func (sh *cellShard) add(hash uint64) *namedCell {
	if sh.used >= sh.sweep && sh.collected.Load() {
		sh.forget()
	} else if sh.used >= len(sh.refs)/4*3 {
		sh.resize(2 * len(sh.refs))
	}
	if sh.block == nil || sh.taken == len(sh.block) {
		sh.block, sh.taken = new(cellBlock), 0
		sh.weak = weak.Make(sh.block)
	}
	sh.put(cellRef{sh.weak, hash&^whichCell | uint64(sh.taken)})
	sh.taken++
	return &sh.block[sh.taken-1]
}

func (sh *cellShard) put(r cellRef) {
	i := sh.place(r.hash)
	for sh.refs[i].block != noBlock {
		i = sh.next(i)
	}
	sh.refs[i] = r
	sh.used++
}

// resize makes the table anew.
func (sh *cellShard) resize(size int) {
	old := sh.refs
	sh.refs, sh.used = make([]cellRef, size), 0
	for _, r := range old {
		if r.block != noBlock {
			sh.put(r)
		}
	}
}

func (sh *cellShard) forget() {
	alive := 0
	for i := range sh.refs {
		r := &sh.refs[i]
		if r.block != noBlock && r.block.Value() == nil {
			*r = cellRef{}
		} else if r.block != noBlock {
			alive++
		}
	}
	sh.sweep = firstSweep + 2*alive
	size := firstRefs
	for size/4*3 < sh.sweep {
		size *= 2
	}
	sh.resize(size)
	sh.collected.Store(false)
	runtime.AddCleanup(new(*cell), func(b *atomic.Bool) { b.Store(true) }, &sh.collected)
}

// each calls f for every cell of an rwmutex that is alive.
func (s *cells) each(f func(*cell)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, r := range sh.refs {
			if r.block == noBlock {
				continue
			}
			if b := r.block.Value(); b != nil && b[r.hash&whichCell].cell.kind == KindRWMutex {
				f(&b[r.hash&whichCell].cell)
			}
		}
		sh.mu.Unlock()
	}
}
