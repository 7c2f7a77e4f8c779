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

// cellShard is a hash table of what there is. Weak pointers cost more than the
// rest of a new name's way through here, so a few cells share one: they are
// made, and go, together. The collector need not look at the table for them.
type cellShard struct {
	mu    sync.Mutex
	refs  []cellRef // a power of two; open addressing
	used  int
	sweep int // at this size
	// collected: the collector has run since the last sweep. A weak pointer
	// could not tell: asked while the collector is at work, it keeps alive.
	collected atomic.Bool

	blocks []weak.Pointer[cellBlock]
	gone   []uint32 // numbers of blocks that serve the next

	// The block that is being filled.
	block  *cellBlock
	number uint32
	taken  uint32
}

// cellBlock is 512 bytes, the largest that the runtime places at a multiple of
// its size: each of its cells has two lines of the processor's cache.
type cellBlock [4]namedCell

// namedCell is a cell and the handle that was made with it, which most programs
// never need a second one of. The first of its two lines is what a lock and an
// unlock read: the handle, what of the binding the fast paths swap, and where
// readers are counted.
type namedCell struct {
	first lockHandle
	cell  cell
}

// lockHandle is what a Mutex and an RWMutex are.
type lockHandle struct{ handle }

// cellRef is where a cell is, and bits of its name's hash; 0 is none.
//
//	hash 63..32 | block 31..3 | which of the block's 2..1 | 1
type cellRef uint64

func newCellRef(hash uint64, block, which uint32) cellRef {
	return cellRef(hash&^(1<<32-1)) | cellRef(block)<<3 | cellRef(which)<<1 | 1
}

func (r cellRef) block() uint32              { return uint32(r) >> 3 }
func (r cellRef) which() uint32              { return uint32(r) >> 1 & uint32(len(cellBlock{})-1) }
func (r cellRef) isLike(hash uint64) bool    { return uint64(r)>>32 == hash>>32 }
func (r cellRef) in(b *cellBlock) *namedCell { return &b[r.which()] }

var (
	_ = [1]struct{}{}[unsafe.Sizeof(cellBlock{})-512]
	_ = [1]struct{}{}[unsafe.Offsetof(namedCell{}.cell)+unsafe.Offsetof(cell{}.own)+unsafe.Offsetof(binding{}.slot)-56]
)

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
		n.first.handle = handle{&n.cell, &a.plain}
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
	return &lockHandle{handle{&n.cell, &a.plain}}
}

// next is the place to look at after i.
func (sh *cellShard) next(i uint64) uint64 { return (i + 1) & uint64(len(sh.refs)-1) }

// place is where to look for a hash first; its upper bits chose the shard.
func (sh *cellShard) place(hash uint64) uint64 { return hash >> 32 & uint64(len(sh.refs)-1) }

func (sh *cellShard) find(hash uint64, kind Kind, name string) *namedCell {
	for i := sh.place(hash); sh.refs[i] != 0; i = sh.next(i) {
		r := sh.refs[i]
		if !r.isLike(hash) {
			continue
		}
		if b := sh.blocks[r.block()].Value(); b != nil {
			if n := r.in(b); n.cell.name == name && n.cell.kind == kind {
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
	if sh.block == nil || sh.taken == uint32(len(sh.block)) {
		sh.begin()
	}
	r := newCellRef(hash, sh.number, sh.taken)
	sh.taken++
	sh.put(r)
	return r.in(sh.block)
}

// begin begins a block.
func (sh *cellShard) begin() {
	sh.block, sh.taken = new(cellBlock), 0
	w := weak.Make(sh.block)
	if n := len(sh.gone); n > 0 {
		sh.number, sh.gone = sh.gone[n-1], sh.gone[:n-1]
		sh.blocks[sh.number] = w
		return
	}
	sh.number = uint32(len(sh.blocks))
	sh.blocks = append(sh.blocks, w)
}

func (sh *cellShard) put(r cellRef) {
	i := sh.place(uint64(r))
	for sh.refs[i] != 0 {
		i = sh.next(i)
	}
	sh.refs[i] = r
	sh.used++
}

// resize makes the table anew, without those whose blocks are gone.
func (sh *cellShard) resize(size int) {
	old := sh.refs
	sh.refs, sh.used = make([]cellRef, size), 0
	for _, r := range old {
		if r != 0 && sh.blocks[r.block()] != (weak.Pointer[cellBlock]{}) {
			sh.put(r)
		}
	}
}

func (sh *cellShard) forget() {
	sh.gone = sh.gone[:0]
	for i := range sh.blocks {
		if sh.blocks[i].Value() == nil {
			sh.blocks[i] = weak.Pointer[cellBlock]{}
			sh.gone = append(sh.gone, uint32(i))
		}
	}
	// What lives is counted by putting it in anew.
	sh.resize(len(sh.refs))
	sh.sweep = firstSweep + 2*sh.used
	size := firstRefs
	for size/4*3 < sh.sweep {
		size *= 2
	}
	if size != len(sh.refs) {
		sh.resize(size)
	}
	sh.collected.Store(false)
	runtime.AddCleanup(new(*cell), func(b *atomic.Bool) { b.Store(true) }, &sh.collected)
}

// each calls f for every cell of an rwmutex that is alive.
func (s *cells) each(f func(*cell)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, r := range sh.refs {
			if r == 0 {
				continue
			}
			if b := sh.blocks[r.block()].Value(); b != nil && r.in(b).cell.kind == KindRWMutex {
				f(&r.in(b).cell)
			}
		}
		sh.mu.Unlock()
	}
}
