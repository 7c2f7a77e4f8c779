package arena

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
	"weak"

	"lockd/internal/crash"
	"lockd/robust"
)

// reading is where this process's readers of one name are counted, and where
// those of its goroutines wait that find the gate shut. There is one for each
// cell that this process has, kept until the name has left the slot.
//
// The cell's record is not freed then, but when the reading is collected: a
// goroutine that loaded it may be about to add to the cell. It will not find
// the cell open, and take its addition back.
type reading struct {
	counts, gate *uint64 // the words that the fast paths use

	slot       *slot
	index      uint32
	generation uint32
	cell       *record
	mapping    *mapping // keeps what the others point to
	core       *core

	mu     sync.Mutex
	agent  *waiter    // of those in the list, who sleeps at the futex
	list   waiterList // in order of arrival
	length int

	seen [2]uint64 // the ticker's: owner word and counts at its last look
}

// unread is the reading of a handle that was never used: its word never is open.
var unread = &reading{counts: new(uint64), gate: new(uint64)}

func (l *cell) loadReading() *reading { return (*reading)(atomic.LoadPointer(&l.reading)) }

func (l *cell) replaceReading(old, r *reading) {
	atomic.CompareAndSwapPointer(&l.reading, unsafe.Pointer(old), unsafe.Pointer(r))
}

func (r *reading) isOpen() bool {
	if r.cell == nil {
		return false
	}
	n := r.cell.load()
	return n.isOpen() || n.isFull()
}

// readings are a core's, by slot.
type readings struct {
	mu     sync.Mutex
	bySlot map[uint32]*reading

	forgotten atomic.Uint32 // the header's retired when it was last looked at
	tidying   sync.Once
}

func (s *readings) init() { s.bySlot = make(map[uint32]*reading) }

func (s *readings) of(index uint32) *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bySlot[index]
}

// reading returns where to count a reader of this name.
func (h *handle) reading(ctx context.Context) (*reading, error) {
	c := h.arena.core
	for {
		old := h.cell.loadReading()
		if old.isOpen() {
			return old, nil
		}
		b := h.binding()
		if c.stale(b) {
			if err := h.bind(ctx, b); err != nil {
				return nil, err
			}
			continue
		}
		r, err := c.readingAt(ctx, b)
		if err != nil {
			return nil, err
		}
		if r == nil {
			if err := h.bind(ctx, b); err != nil {
				return nil, err
			}
			continue
		}
		h.cell.replaceReading(old, r)
	}
}

// presentReading returns where this process's readers are counted, if it may
// have any; the handle need not have been used before.
func (h *handle) presentReading() *reading {
	if r := h.cell.loadReading(); r.isOpen() {
		return r
	}
	b := h.binding()
	if h.arena.core.stale(b) {
		return nil
	}
	r := h.arena.core.readings.of(b.index)
	if r == nil || !r.isOpen() {
		return nil
	}
	h.cell.replaceReading(h.cell.loadReading(), r)
	return r
}

// readingAt finds or makes this process's cell in the binding's slot. It is
// nil if the name is not there any more.
func (c *core) readingAt(ctx context.Context, b *binding) (*reading, error) {
	if r := c.readings.of(b.index); r != nil && r.isOpen() {
		return r, nil
	}
	hash := b.slot.hash.Load()
	spare, err := c.claimCell(ctx)
	if err != nil {
		return nil, err
	}
	crash.At("cell.claimed")
	l, err := c.latchStripe(ctx, hash)
	if err != nil {
		c.freeRecord(spare)
		return nil, err
	}
	defer l.release()
	life := slotLife(b.slot.life.Load())
	if c.stale(b) || b.slot.hash.Load() != hash || astray(robust.Word(b.slot.word.Load()), life) {
		c.freeRecord(spare)
		return nil, nil
	}
	c.readings.mu.Lock()
	defer c.readings.mu.Unlock()
	if r := c.readings.bySlot[b.index]; r != nil && c.isMine(r, b) {
		c.freeRecord(spare)
		return r, nil
	}
	record := c.chainCell(b, spare)
	if record != spare {
		c.freeRecord(spare)
	}
	r := c.readingOf(b, record)
	c.readings.bySlot[b.index] = r
	c.readings.tidying.Do(c.forgetAtCollections)
	return r, nil
}

// isMine tells whether the reading's cell is in the chain of the binding's
// life of the slot. Called with the stripe latched.
func (c *core) isMine(r *reading, b *binding) bool {
	return r.isOpen() || r.generation == b.generation && r.cell.load()>>62 != 0
}

// chainCell puts a cell of ours into the chain: a vacant one that is there, or
// the spare. Called with the stripe latched.
func (c *core) chainCell(b *binding, spare uint32) uint32 {
	s, mine := b.slot, recordOwner(c.member, recordReaders)
	for i, r := range c.chain(b.index, s) {
		owner := r.owner.Load()
		if kindOfRecord(owner) == recordVacant && r.owner.CompareAndSwap(owner, mine) {
			crash.At("cell.moved-in")
			r.generation.Store(b.generation)
			r.counts.Store(uint64(r.load().opened()))
			crash.At("cell.opened")
			return i
		}
	}
	r := c.recordAt(spare)
	r.generation.Store(b.generation)
	r.slot.Store(b.index)
	r.next.Store(s.records.Load())
	r.counts.Store(uint64(r.load().opened()))
	crash.At("cell.filled")
	s.records.Store(spare)
	crash.At("cell.linked")
	return spare
}

func (c *core) readingOf(b *binding, record uint32) *reading {
	r := &reading{
		slot: b.slot, index: b.index, generation: b.generation, cell: c.recordAt(record),
		mapping: c.mapped.Load(), core: c,
	}
	r.counts = at[uint64](c.mapped.Load(), recordOffset(record)+uint64(unsafe.Offsetof(r.cell.counts)))
	r.gate = at[uint64](c.mapped.Load(), slotOffset(b.index)+uint64(unsafe.Offsetof(b.slot.state)))
	if slowOnly {
		r.counts, r.gate = unread.counts, unread.gate
	}
	runtime.AddCleanup(r, freeCell, leftCell{weak.Make(c), record})
	return r
}

// leftCell is a cell that no goroutine of this process can add to any more.
type leftCell struct {
	core   weak.Pointer[core]
	record uint32
}

// freeCell frees the cell if it is out of its chain.
func freeCell(l leftCell) {
	c := l.core.Value()
	if c == nil || !c.gate.enter() {
		return
	}
	defer c.gate.leave()
	r := c.recordAt(l.record)
	if r != nil && r.owner.Load() == recordOwner(c.member, recordReaders) && !r.load().isOpen() && !c.isChained(l.record, r) {
		c.freeRecord(l.record)
	}
}

// freeRecord gives back a record of this process; of none, does nothing.
func (c *core) freeRecord(i uint32) {
	if r := c.recordAt(i); r != nil {
		r.slot.Store(0)
		crash.At("record.detached")
		r.owner.Store(0)
	}
}

// forgetRetired lets go of the readings whose names have left their slots.
func (c *core) forgetRetired() {
	c.readings.mu.Lock()
	defer c.readings.mu.Unlock()
	for i, r := range c.readings.bySlot {
		life := slotLife(r.slot.life.Load())
		if !r.isOpen() && (!life.isLive() || life.generation() != r.generation) {
			delete(c.readings.bySlot, i)
		}
	}
	c.cells.each(func(l *cell) {
		if r := l.loadReading(); r.cell != nil && c.readings.bySlot[r.index] != r {
			l.replaceReading(r, unread)
		}
	})
}

// nudge makes the agent look again: at its counts, the gate, who shut it, and
// its context. What the nudger has to tell must be visible before.
func (r *reading) nudge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.agent != nil {
		r.agent.nudge()
	}
}

// rouse makes every goroutine look whether it should give up.
func (r *reading) rouse() {
	r.nudge()
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := r.list.first; w != nil; w = w.next {
		w.signal()
	}
}

// look does for those who wait what a lost wake or a quiet death would leave
// undone.
func (r *reading) look() (changed bool) {
	w, n := robust.Word(r.slot.word.Load()), r.cell.load()
	now := [2]uint64{uint64(w), uint64(n)}
	changed = now != r.seen
	r.seen = now
	r.mu.Lock()
	noticed := r.length == int(n.waiting())
	r.mu.Unlock()
	switch {
	case changed || !noticed || r.slot.state.Load() == 0:
		r.nudge()
	case !w.IsFree():
		if _, verdict := r.core.judge(w.Owner()); verdict == robust.Gone {
			r.nudge()
		}
	}
	return changed
}
