package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
)

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
	free := -1 // not counted yet
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
			if free < 0 {
				free = d.countFree(st)
			}
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
	if d.cut && !d.mended {
		d.mend()
		d.pass(true)
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
	crash.At("semaphore.forgotten")
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
// of those it has taken. There is room for them in held.
func (d *desk) take(n int, st ticketState, held []heldTicket) []heldTicket {
	if d.countFree(st) < n {
		return nil
	}
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		if number >= st.capacity() {
			return false
		}
		if word.Load() == uint64(st.free()) && word.CompareAndSwap(uint64(st.free()), uint64(d.c.self)) {
			crash.At("semaphore.taken")
			held = append(held, heldTicket{number, word})
		}
		return len(held) < n
	})
	if len(held) == n {
		return held
	}
	for _, h := range held {
		h.word.CompareAndSwap(uint64(d.c.self), uint64(st.free()))
		crash.At("semaphore.untaken")
	}
	return nil
}

// countFree counts the free tickets. If it does not come to all that there
// are, the chain has to be mended.
func (d *desk) countFree(st ticketState) int {
	free, seen := 0, 0
	d.c.eachTicket(d.b.index, d.b.slot, func(number int, word *atomic.Uint64) bool {
		seen = number + 1
		if number < st.capacity() && word.Load() == uint64(st.free()) {
			free++
		}
		return seen < st.capacity()
	})
	d.cut = d.cut || seen < st.capacity()
	return free
}

// isShort tells whether tickets are lost, for good as it seems.
func (d *desk) isShort(st ticketState) bool {
	if d.cut && !d.mended {
		d.mend()
		d.pass(true)
	}
	d.cut = false
	d.countFree(st)
	return d.cut
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
