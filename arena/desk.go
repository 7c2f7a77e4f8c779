package arena

import (
	"sync/atomic"
	"time"

	"lockd/internal/crash"
	"lockd/robust"
)

// Granting. The slot's owner word is the latch of the queue; nothing else
// needs it: tickets come back without, and go to those who need not wait
// without. So a stopped holder of the latch holds up those who wait, or want
// several tickets, and nobody who gives back.
//
// Who may die where, while granting a request:
//
//	tickets given, request wanted   the mender takes them back
//	request out of the queue        the mender queues it again
//	granted                         it is granted: its owner finds out by the bell,
//	                                or, if that was not rung any more, by its ticker
//
// and between giving back a ticket and looking at the queue: the tickers of
// those who wait look at it.

// desk is a held latch of a semaphore, and what its holder is to do
// afterwards. It is made before the latch is taken.
type desk struct {
	c      *core
	b      *binding
	calls  calls
	cut    bool // the queue, or the chain of tickets, led to what it must not
	mended bool // since the latch was taken
}

// work is what is done under the latch. It must not block or allocate, for
// everybody who waits for tickets waits for it. If it panics, the latch is left
// to the next holder, who rebuilds the queue. It ends with the latch free.
func (d *desk) work(f func()) {
	whole := false
	defer func() {
		if !whole {
			d.c.release(d.b, robust.Abandoned)
		}
	}()
	d.mendIfAbandoned()
	crash.At("semaphore.latched")
	f()
	for {
		crash.At("semaphore.unlatch")
		d.unlatch()
		whole = true
		crash.At("semaphore.unlatched")
		d.c.ring(&d.calls)
		if st := loadTickets(d.b.slot); !st.has(ticketsLook) || !d.c.tryQueue(d.b) {
			return
		}
		whole = false
		d.mendIfAbandoned()
		d.pass(loadTickets(d.b.slot).has(ticketsEnding)) // the end may have been withdrawn
	}
}

func (d *desk) unlatch() {
	raceRelease(d.c, d.b)
	if !d.b.slot.word.CompareAndSwap(d.b.self, d.b.free) {
		d.c.release(d.b, 0)
	}
}

// tryQueue takes the latch of the queue from nobody, or from a dead.
func (c *core) tryQueue(b *binding) bool {
	if b.slot.word.CompareAndSwap(b.free, b.self) || c.try(b, &c.porter.judged) == taken {
		raceAcquire(c, b)
		return true
	}
	return false
}

// serveTickets answers the requests that can be answered, or leaves it to who
// holds the latch. With full it also looks past the first that has to wait.
func (c *core) serveTickets(b *binding, full bool) {
	d := &desk{c: c, b: b}
	if !c.tryQueue(b) {
		c.askToLook(b)
		crash.At("semaphore.look")
		if !c.tryQueue(b) {
			return
		}
	}
	d.work(func() { d.pass(full) })
}

// askToLook sets look, if the slot is still the binding's: without the latch it
// can be another lock's by now, whose state means something else. What is
// swapped was loaded while it was not.
func (c *core) askToLook(b *binding) {
	for {
		st := loadTickets(b.slot)
		if c.stale(b) || !st.exists() || st.has(ticketsLook) || swapTickets(b.slot, st, st|ticketsLook) {
			return
		}
	}
}

// serveSlot is serveTickets for who has no handle.
func (c *core) serveSlot(index uint32, s *slot, full bool) {
	if b := c.ticketBinding(index, s); b != nil {
		c.serveTickets(b, full)
	}
}

func (c *core) ticketBinding(index uint32, s *slot) *binding {
	life := slotLife(s.life.Load())
	if !life.isLive() || life.kind() != KindSemaphore {
		return nil
	}
	b := c.bindingOf(place{index, life.generation(), life.kind(), s})
	return &b
}

// mendIfAbandoned puts right what a dead holder of the latch left half-done.
func (d *desk) mendIfAbandoned() {
	s := d.b.slot
	if !robust.Word(s.word.Load()).Has(robust.Abandoned) {
		return
	}
	d.mend()
	crash.At("semaphore.mended")
	for {
		w := robust.Word(s.word.Load())
		if !w.SameHolding(d.c.self) || s.word.CompareAndSwap(uint64(w), uint64(w&^robust.Abandoned)) {
			break
		}
	}
	crash.At("semaphore.whole")
	d.pass(true)
}

// answer takes a request out of the queue and then says so to its owner,
// unless he has withdrawn it.
func (d *desk) answer(link *atomic.Uint32, i uint32, r *requestRecord, owner uint64, kind recordKind) bool {
	link.Store(r.next.Load())
	crash.At("grant.unlinked")
	m := ownerOfRecord(owner)
	if !r.owner.CompareAndSwap(owner, recordOwner(m, kind)) {
		r.owner.CompareAndSwap(uint64(recordWithdrawn), 0)
		return false
	}
	crash.At("grant.granted")
	d.calls.add(d.c, m, i)
	return true
}

// enqueue puts a claimed request at the end of the queue. The flag goes first:
// see hall.
func (d *desk) enqueue(i uint32, r *requestRecord, n int, mode uint32, flags ticketState) {
	s := d.b.slot
	r.slot.Store(d.b.index)
	r.count.Store(uint32(n))
	r.mode.Store(mode)
	r.next.Store(0)
	r.since.Store(uint64(time.Now().UnixNano()))
	r.arrival.Store(s.fence.Add(1))
	changeTickets(s, flags, 0)
	crash.At("enqueue.flagged")
	r.owner.Store(recordOwner(d.c.member, recordWanted))
	crash.At("enqueue.wanted")
	if end := d.queueEnd(); end != nil {
		end.Store(i)
		s.last.Store(i)
	}
	crash.At("enqueue.linked")
}
