package arena

import (
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// Granting. The slot's owner word is the latch of the queue; nothing else
// needs it: tickets come back without, and go to those who need not wait
// without. So a stopped holder of the latch holds up those who wait, and
// nobody who gives back.
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
// afterwards.
type desk struct {
	c    *core
	b    *binding
	rung [8]answer
	n    int
	cut  bool // the queue led to what is no request
}

// answer names whose request was answered.
type answer struct {
	member  robust.Member
	request uint32
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
		if !loadTickets(d.b.slot).has(ticketsLook) || !d.c.tryQueue(d.b) {
			break
		}
		whole = false
		d.mendIfAbandoned()
		d.pass(true)
	}
	d.ring()
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
	if !c.tryQueue(b) {
		c.askToLook(b)
		crash.At("semaphore.look")
		if !c.tryQueue(b) {
			return
		}
	}
	d := &desk{c: c, b: b}
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
	return c.bindingOf(place{index, life.generation(), life.kind(), s})
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
	d.pass(true)
}

// queueHead is where the queue begins, nil if there is no semaphore.
func (d *desk) queueHead() *atomic.Uint32 {
	if t := d.c.ticketsAt(d.b.slot.records.Load(), d.b.index, 0); t != nil {
		return &t.queue
	}
	return nil
}

// eachRequest calls f with the requests in the queue; f says whether to go on.
// A link to what is no request, which only damage makes, ends the queue; it is
// made anew after the pass.
func (d *desk) eachRequest(f func(link *atomic.Uint32, i uint32, r *requestRecord) bool) {
	link := d.queueHead()
	for steps := d.c.segments() * segmentRecords; link != nil && steps > 0; steps-- {
		i := link.Load()
		if i == 0 {
			return
		}
		r := recordIs[requestRecord](d.c, i)
		if !isQueued(r, d.b.index) {
			link.Store(0)
			d.cut = true
			return
		}
		if !f(link, i, r) {
			return
		}
		if link.Load() == i { // f left it in the queue
			link = &r.next
		}
	}
}

func isQueued(r *requestRecord, slot uint32) bool {
	if r == nil || r.slot.Load() != slot {
		return false
	}
	kind := kindOfRecord(r.owner.Load())
	return kind == recordWanted || kind == recordWithdrawn
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
	if d.n == len(d.rung) {
		d.ring()
	}
	d.rung[d.n] = answer{m, i}
	d.n++
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
	end := d.queueHead()
	d.eachRequest(func(_ *atomic.Uint32, _ uint32, last *requestRecord) bool {
		end = &last.next
		return true
	})
	if end != nil {
		end.Store(i)
	}
	crash.At("enqueue.linked")
}

// ring tells the owners of answered requests: this process's over channels,
// others by their member's bell.
func (d *desk) ring() {
	c := d.c
	for k, a := range d.rung[:d.n] {
		if a.member == c.member {
			c.porter.signalRequest(a.request)
			continue
		}
		again := false
		for _, before := range d.rung[:k] {
			again = again || before.member == a.member
		}
		e := c.memberAt(a.member.Index)
		if again || e == nil {
			continue
		}
		e.bell.Add(1)
		crash.At("grant.rung")
		futex.Wake(&e.bell, futex.All)
	}
	d.n = 0
}
