package arena

import (
	"sync/atomic"

	"lockd/robust"
)

// MaxTickets is how many tickets a semaphore can have.
const MaxTickets = 1 << 16

// ticketState is a semaphore's slot.state: what exists, and three flags that
// are derived from the queue.
//
//	63          32  27    26     25      24      23       0
//	| incarnation | look | end | drain | await | capacity |    0: no semaphore
//
// All but look is written under the slot's latch.
type ticketState uint64

const (
	capacityMask   ticketState = 1<<24 - 1
	ticketsAwaited ticketState = 1 << 24 // a request waits that the capacity suffices for: newcomers queue
	ticketsDrained ticketState = 1 << 25 // somebody waits for tickets to come back, not for tickets
	ticketsEnding  ticketState = 1 << 26 // somebody destroys it: requests are refused
	// ticketsLook is set by who has something for the latch's holder to do, and
	// found the latch taken: who frees the latch looks again.
	ticketsLook ticketState = 1 << 27
)

func (s ticketState) exists() bool               { return s.incarnation() != 0 }
func (s ticketState) incarnation() uint32        { return uint32(s >> 32) }
func (s ticketState) capacity() int              { return int(s & capacityMask) }
func (s ticketState) has(flags ticketState) bool { return s&flags != 0 }
func loadTickets(s *slot) ticketState            { return ticketState(s.state.Load()) }
func swapTickets(s *slot, old, n ticketState) bool {
	return s.state.CompareAndSwap(uint64(old), uint64(n))
}

func newTicketState(incarnation uint32, capacity int) ticketState {
	return ticketState(incarnation)<<32 | ticketState(capacity)
}

// changeTickets sets and clears flags of a semaphore that exists, for who holds
// its latch.
func changeTickets(s *slot, set, clear ticketState) {
	for {
		st := loadTickets(s)
		next := st&^clear | set
		if !st.exists() || next == st || swapTickets(s, st, next) {
			return
		}
	}
}

// ticketWord is the truth about one ticket.
//
//	63          48 47    32 31 30       0
//	| generation | member | 0 | pid     |   held by the member
//	| generation | member | 1 | request |   being given to a request of the member; its when that is granted
//	| 1 | 15 bits of the incarnation | 48 ones |   free
//	| 0 |   closed: the semaphore is being destroyed
//
// Free is not 0, and unlike what any other record has at that place: a swap
// from it that comes late, after the record was given to something else,
// misses. Every change is one CAS on the exact word; from free by who takes
// the ticket, to free by who held it or, once, by whoever proves him gone.
type ticketWord uint64

const (
	ticketNobody            = 0xffff
	ticketGiven  ticketWord = 1 << 31
)

func (s ticketState) free() ticketWord {
	return 1<<63 | ticketWord(s.incarnation()&0x7fff)<<48 | 1<<48 - 1
}

func givenTo(m robust.Member, request uint32) ticketWord {
	return ticketWord(robust.Held(m, 0)) | ticketGiven | ticketWord(request)
}

// owner is who holds the ticket or is being given it.
func (w ticketWord) owner() (robust.Member, bool) {
	m := robust.Member{Index: uint16(w >> 32), Generation: uint16(w >> 48)}
	return m, w != 0 && m.Index != ticketNobody
}

// request is the record that the ticket is being given to, 0 if it is not.
func (w ticketWord) request() uint32 {
	if _, held := w.owner(); !held || w&ticketGiven == 0 {
		return 0
	}
	return uint32(w &^ ticketGiven)
}

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
	recordTickets   recordKind = 16
	recordClaimed   recordKind = 17
	recordWanted    recordKind = 18
	recordGranted   recordKind = 19
	recordRefused   recordKind = 20
	recordWithdrawn recordKind = 21
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
	switch kind := kindOfRecord(owner); {
	case kind == recordWanted:
		return uint64(recordWithdrawn)
	case kind.inTree():
		return uint64(rangeGone)
	}
	return 0
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
