package arena

import (
	"sync"
	"sync/atomic"
	"unsafe"
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
	own     binding // the first that it has, beside it in memory
	name    string
	kind    Kind
	mark    atomic.Uint32        // bits of the name's hash; see cellMark
	judged  atomic.Int64         // when a failed try last judged the owner, CLOCK_MONOTONIC ns
	hall    atomic.Pointer[hall] // of a semaphore
}

// cellMark is the bit of a cell's mark that says that its own binding is taken.
const cellMark = 1

func (l *cell) binding() *binding { return (*binding)(atomic.LoadPointer(&l.bound)) }

// rebind replaces a binding that was found to be stale.
func (l *cell) rebind(old, b *binding) {
	atomic.CompareAndSwapPointer(&l.bound, unsafe.Pointer(old), unsafe.Pointer(b))
}

// newBinding makes a binding of what b says. It is no other's, and never changes.
func (l *cell) newBinding(b binding) *binding {
	if mark := l.mark.Load(); mark&cellMark == 0 && l.mark.CompareAndSwap(mark, mark|cellMark) {
		l.own = b
		return &l.own
	}
	return &b
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
