package words

import "lockd/robust"

// Tickets is a semaphore's state: what exists, and flags that are derived from
// the queue.
//
//	63          32  27    26     25      24      23       0
//	| incarnation | look | end | drain | await | capacity |    0: no semaphore
//
// All but look is written under the slot's latch.
type Tickets uint64

// What Tickets are made of.
const (
	CapacityMask Tickets = 1<<24 - 1
	Awaited      Tickets = 1 << 24 // a request waits that the capacity suffices for: newcomers queue
	Drained      Tickets = 1 << 25 // somebody waits for tickets to come back, not for tickets
	Ending       Tickets = 1 << 26 // somebody destroys it: requests are refused
	Look         Tickets = 1 << 27 // who frees the latch looks again
)

// NewTickets is the state of a semaphore that nobody waits for.
func NewTickets(incarnation uint32, capacity int) Tickets {
	return Tickets(incarnation)<<32 | Tickets(capacity)
}

// Exists tells whether there is a semaphore.
func (s Tickets) Exists() bool { return s.Incarnation() != 0 }

// Incarnation tells semaphores of one name apart.
func (s Tickets) Incarnation() uint32 { return uint32(s >> 32) }

// Capacity is how many tickets are given out.
func (s Tickets) Capacity() int { return int(s & CapacityMask) }

// Has tells whether any of the flags is set.
func (s Tickets) Has(flags Tickets) bool { return s&flags != 0 }

// Free is the word of a free ticket.
func (s Tickets) Free() Ticket {
	return 1<<63 | Ticket(s.Incarnation()&0x7fff)<<48 | 1<<48 - 1
}

// Ticket is the truth about one ticket.
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
type Ticket uint64

const nobody = 0xffff

// Given marks a ticket that is being given to a request.
const Given Ticket = 1 << 31

// GivenTo is the word of a ticket that is being given to a member's request.
func GivenTo(m robust.Member, request uint32) Ticket {
	return Ticket(robust.Held(m, 0)) | Given | Ticket(request)
}

// Owner is who holds the ticket or is being given it.
func (w Ticket) Owner() (robust.Member, bool) {
	m := robust.Member{Index: uint16(w >> 32), Generation: uint16(w >> 48)}
	return m, w != 0 && m.Index != nobody
}

// Request is the record that the ticket is being given to, 0 if it is not.
func (w Ticket) Request() uint32 {
	if _, held := w.Owner(); !held || w&Given == 0 {
		return 0
	}
	return uint32(w &^ Given)
}

// Kind is what a record is.
type Kind uint8

// The kinds of records that a semaphore has; see package arena.
const (
	TicketRecord Kind = 16
	Reserved     Kind = 17 // claimed, not in the queue yet
	Wanted       Kind = 18
	Granted      Kind = 19
	Refused      Kind = 20
	Withdrawn    Kind = 21
)

// OwnerOf is the owner word of a member's record of this kind.
func OwnerOf(m robust.Member, kind Kind) uint64 {
	return uint64(m.Generation)<<48 | uint64(m.Index)<<32 | uint64(kind)
}

// MemberOf is whose record it is.
func MemberOf(owner uint64) robust.Member {
	return robust.Member{Index: uint16(owner >> 32), Generation: uint16(owner >> 48)}
}

// KindOf is what a record is.
func KindOf(owner uint64) Kind { return Kind(owner) }

// AfterDeath is what a record's owner word becomes when its member has died:
// that of a free record, unless it is in a queue.
func AfterDeath(owner uint64) uint64 {
	if KindOf(owner) == Wanted {
		return uint64(Withdrawn)
	}
	return 0
}
