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
	s := b.slot
	if !c.tryQueue(b) {
		changeTickets(s, ticketsLook, 0)
		crash.At("semaphore.look")
		if !c.tryQueue(b) {
			return
		}
	}
	d := &desk{c: c, b: b}
	d.work(func() { d.pass(full) })
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

// pass answers what can be answered, in order, up to the first request that
// has to wait. A full pass also takes out what was withdrawn behind that one
// and makes the flags anew.
func (d *desk) pass(full bool) {
	s := d.b.slot
	changeTickets(s, 0, ticketsLook)
	if full {
		d.tidy()
	}
	st := loadTickets(s)
	free := d.countFree(st)
	var flags ticketState
	d.eachRequest(func(link *atomic.Uint32, i uint32, r *requestRecord) bool {
		owner := r.owner.Load()
		n := int(r.count.Load())
		if kindOfRecord(owner) == recordWithdrawn {
			d.drop(link, r)
			return true
		}
		switch mode := r.mode.Load(); {
		case mode == wantEnd:
			if d.endSemaphore(st) {
				return false
			}
			flags |= ticketsDrained
		case mode == wantBack && n < st.capacity():
			d.answer(link, i, r, owner, recordRefused)
		case mode == wantBack && !d.anyHeld(n):
			d.answer(link, i, r, owner, recordGranted)
		case mode == wantBack:
			flags |= ticketsDrained
		case st.has(ticketsEnding) || n < 1 || n > MaxTickets || n > st.capacity() && mode != wantPatiently:
			d.answer(link, i, r, owner, recordRefused)
		case n > st.capacity(): // waits for another size, and holds up nobody
		case flags.has(ticketsAwaited):
		default:
			given := free >= n && d.give(i, owner, n, st)
			switch {
			case !given:
				flags |= ticketsAwaited
			case d.answer(link, i, r, owner, recordGranted):
				free -= n
			default:
				d.takeBack(i, owner, n, st)
			}
		}
		return full || st.has(ticketsDrained) || !flags.has(ticketsAwaited)
	})
	if d.cut {
		d.cut = false
		d.mend()
		changeTickets(s, ticketsLook, 0)
		return
	}
	// What was not looked at keeps its flag.
	changeTickets(s, flags, (ticketsAwaited|ticketsDrained)&^flags)
}

// tidy takes withdrawn requests out of the queue, and ends the ending if its
// destroyer has gone.
func (d *desk) tidy() {
	ending := ticketState(0)
	d.eachRequest(func(link *atomic.Uint32, i uint32, r *requestRecord) bool {
		if kindOfRecord(r.owner.Load()) == recordWithdrawn {
			d.drop(link, r)
		} else if r.mode.Load() == wantEnd {
			ending = ticketsEnding
		}
		return true
	})
	changeTickets(d.b.slot, ending, ticketsEnding&^ending)
}

// drop takes a withdrawn request out of the queue and frees its record.
func (d *desk) drop(link *atomic.Uint32, r *requestRecord) {
	link.Store(r.next.Load())
	crash.At("semaphore.dropped")
	r.owner.CompareAndSwap(uint64(recordWithdrawn), 0)
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

// give gives n tickets to a request that is about to be granted. It is false,
// and nothing has changed, if they are not to be had: a newcomer who has not
// seen yet that somebody waits has one in his hand, and will look at the queue
// when he has put it back.
func (d *desk) give(i uint32, owner uint64, n int, st ticketState) bool {
	given := uint64(givenTo(ownerOfRecord(owner), i))
	left := n
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		if number >= st.capacity() {
			return false
		}
		if word.Load() == uint64(st.free()) && word.CompareAndSwap(uint64(st.free()), given) {
			crash.At("grant.given")
			left--
		}
		return left > 0
	})
	if left > 0 {
		d.takeBack(i, owner, n-left, st)
	}
	return left == 0
}

// takeBack takes n tickets back that were given to a request which is not granted.
func (d *desk) takeBack(i uint32, owner uint64, n int, st ticketState) {
	given := uint64(givenTo(ownerOfRecord(owner), i))
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		if n > 0 && word.CompareAndSwap(given, uint64(st.free())) {
			crash.At("grant.takenback")
			n--
		}
		return n > 0 && number < st.capacity()
	})
}

// take takes n tickets for this process. Killed half-way, it is a dead holder
// of those it has taken.
func (d *desk) take(n int, st ticketState, numbers []int) []int {
	if d.countFree(st) < n {
		return numbers
	}
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		if number >= st.capacity() {
			return false
		}
		if word.Load() == uint64(st.free()) && word.CompareAndSwap(uint64(st.free()), uint64(d.c.self)) {
			crash.At("semaphore.taken")
			numbers = append(numbers, number)
		}
		return len(numbers) < n
	})
	if len(numbers) == n {
		return numbers
	}
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		if len(numbers) > 0 && numbers[0] == number {
			word.CompareAndSwap(uint64(d.c.self), uint64(st.free()))
			numbers = numbers[1:]
		}
		return len(numbers) > 0
	})
	return nil
}

// endSemaphore destroys the semaphore if all its tickets are back. Each is
// closed first, which a newcomer who is about to undo his swap prevents; so
// nobody can have a ticket of a record that is freed.
func (d *desk) endSemaphore(st ticketState) bool {
	s := d.b.slot
	closed := true
	d.c.eachTicket(d.b.index, s, func(_ int, word *atomic.Uint64) bool {
		closed = word.CompareAndSwap(uint64(st.free()), 0)
		return closed
	})
	if !closed {
		d.c.eachTicket(d.b.index, s, func(_ int, word *atomic.Uint64) bool {
			return word.CompareAndSwap(0, uint64(st.free()))
		})
		return false
	}
	crash.At("end.closed")
	for !swapTickets(s, loadTickets(s), 0) {
	}
	crash.At("end.ended")
	d.eachRequest(func(link *atomic.Uint32, i uint32, r *requestRecord) bool {
		owner := r.owner.Load()
		link.Store(r.next.Load())
		d.finish(i, r, owner)
		return true
	})
	i := s.records.Swap(0)
	for first := 0; ; first += recordTicketCount {
		t := d.c.ticketsAt(i, d.b.index, first)
		if t == nil {
			return true
		}
		i = t.next.Load()
		freeTickets(t)
		crash.At("end.freed")
	}
}

// finish answers a request, which is in no queue, to a semaphore that is gone.
func (d *desk) finish(i uint32, r *requestRecord, owner uint64) {
	kind := recordRefused
	if r.mode.Load() == wantEnd {
		kind = recordGranted
	}
	var none atomic.Uint32
	none.Store(i)
	d.answer(&none, i, r, owner, kind)
}

func (d *desk) countFree(st ticketState) int {
	free := 0
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		if number < st.capacity() && word.Load() == uint64(st.free()) {
			free++
		}
		return number < st.capacity()
	})
	return free
}

// anyHeld tells whether a ticket from number from on is held.
func (d *desk) anyHeld(from int) bool {
	held := false
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		_, owned := ticketWord(word.Load()).owner()
		held = number >= from && owned
		return !held
	})
	return held
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
