package arena

import (
	"sync/atomic"

	"lockd/internal/crash"
	"lockd/internal/words"
	"lockd/robust"
)

// MaxTickets is how many tickets a semaphore can have.
const MaxTickets = 1 << 16

// ticketState is a semaphore's slot.state: see words.Tickets.
type ticketState words.Tickets

const (
	capacityMask   = ticketState(words.CapacityMask)
	ticketsAwaited = ticketState(words.Awaited)
	ticketsDrained = ticketState(words.Drained)
	ticketsEnding  = ticketState(words.Ending)
	ticketsLook    = ticketState(words.Look)
)

func (s ticketState) exists() bool               { return words.Tickets(s).Exists() }
func (s ticketState) incarnation() uint32        { return words.Tickets(s).Incarnation() }
func (s ticketState) capacity() int              { return words.Tickets(s).Capacity() }
func (s ticketState) has(flags ticketState) bool { return words.Tickets(s).Has(words.Tickets(flags)) }
func (s ticketState) free() ticketWord           { return ticketWord(words.Tickets(s).Free()) }
func loadTickets(s *slot) ticketState            { return ticketState(s.state.Load()) }
func swapTickets(s *slot, old, n ticketState) bool {
	return s.state.CompareAndSwap(uint64(old), uint64(n))
}

func newTicketState(incarnation uint32, capacity int) ticketState {
	return ticketState(words.NewTickets(incarnation, capacity))
}

// changeTickets sets and clears flags of a semaphore that exists, for who holds
// its latch.
func changeTickets(s *slot, set, clear ticketState) {
	for {
		st := loadTickets(s)
		next := st&^clear | set
		if !st.exists() || next == st {
			return
		}
		if swapTickets(s, st, next) {
			crash.At("semaphore.flagged")
			return
		}
	}
}

// ticketWord is the truth about one ticket: see words.Ticket.
type ticketWord words.Ticket

const ticketGiven = ticketWord(words.Given)

func givenTo(m robust.Member, request uint32) ticketWord {
	return ticketWord(words.GivenTo(m, request))
}

// owner is who holds the ticket or is being given it.
func (w ticketWord) owner() (robust.Member, bool) { return words.Ticket(w).Owner() }

// request is the record that the ticket is being given to, 0 if it is not.
func (w ticketWord) request() uint32 { return words.Ticket(w).Request() }

// The kinds of records that a semaphore has.
//
//	claimed ──queued──▶ wanted ──▶ granted or refused ──▶ free
//	                       └─────▶ withdrawn ──▶ free
//
// A request is claimed before the latch is taken; it becomes wanted under the
// latch and is then in the queue. Who answers it holds the latch and has taken
// it out of the queue before; then its owner frees it. Who withdraws it, which
// needs no latch, leaves it in the queue, where it names nobody, and a holder
// of the latch takes it out and frees it. So a record in a queue is never free.
const (
	recordTickets   = recordKind(words.TicketRecord)
	recordClaimed   = recordKind(words.Reserved)
	recordWanted    = recordKind(words.Wanted)
	recordGranted   = recordKind(words.Granted)
	recordRefused   = recordKind(words.Refused)
	recordWithdrawn = recordKind(words.Withdrawn)
)

// The modes of a request.
const (
	wantTickets   = 0 // refused when the semaphore has become too small
	wantPatiently = 1 // waits until it is large enough
	wantBack      = 2 // that no ticket from count on is held
	wantEnd       = 3 // that all tickets are back, and the semaphore goes
)

// ownerAfterDeath is what a record's owner word becomes when its member has
// died: that of a free record, unless it is in a queue or a tree.
func ownerAfterDeath(owner uint64) uint64 {
	if kindOfRecord(owner).inTree() {
		return uint64(rangeGone)
	}
	return words.AfterDeath(owner)
}

// recordIs returns record i as a T, or nil if there is no such record.
func recordIs[T any](c *core, i uint32) *T {
	if i == 0 || i >= maxSegments*segmentRecords {
		return nil
	}
	r := at[T](c.mapped.Load(), recordOffset(i))
	if r == nil && c.noticeGrowth() {
		r = at[T](c.mapped.Load(), recordOffset(i))
	}
	return r
}

// ticketsAt returns record i if it holds tickets of the slot from first on.
func (c *core) ticketsAt(i, slot uint32, first int) *ticketRecord {
	t := recordIs[ticketRecord](c, i)
	if t == nil || kindOfRecord(t.owner.Load()) != recordTickets || t.slot.Load() != slot || int(t.first.Load()&^markBit) != first {
		return nil
	}
	return t
}

// markBit in first says that a mender has met the record in its chain.
const markBit = 1 << 31

// eachTicket calls f with the tickets of a slot, in order, until f returns
// false. It needs no latch: while a semaphore exists its chain only grows.
func (c *core) eachTicket(index uint32, s *slot, f func(number int, word *atomic.Uint64) bool) {
	first := 0
	for i := s.records.Load(); first < MaxTickets; first += recordTicketCount {
		t := c.ticketsAt(i, index, first)
		if t == nil {
			return
		}
		for k := range t.words {
			if !f(first+k, &t.words[k]) {
				return
			}
		}
		i = t.next.Load()
	}
}
