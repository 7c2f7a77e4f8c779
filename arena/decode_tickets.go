package arena

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"lockd/robust"
)

// SemaphoreState is what a snapshot shows of a semaphore, beside what it shows
// of every lock. The owner word is the latch of its queue there.
type SemaphoreState struct {
	Tickets int
	InUse   int // also those beyond Tickets, after it was made smaller
	Ending  bool
	Holders []TicketHolder // by their lowest ticket
	Queue   []TicketWaiter // in the order in which they are served
}

// TicketHolder is a process that holds tickets.
type TicketHolder struct {
	OwnerInfo
	Numbers []int // ascending
}

// TicketWaiter is a request that waits.
type TicketWaiter struct {
	WaiterInfo
	For RequestKind
	// Tickets is how many are wanted; with ForShrink, how many are to remain.
	Tickets int

	arrival uint64
}

// RequestKind is what a request waits for.
type RequestKind uint8

// What requests wait for; the numbers are the format's.
const (
	ForTickets   RequestKind = wantTickets
	ForTicketsOf RequestKind = wantPatiently // patiently, whatever the size is
	ForShrink    RequestKind = wantBack
	ForEnd       RequestKind = wantEnd
)

func (k RequestKind) String() string {
	switch k {
	case ForTickets:
		return "tickets"
	case ForTicketsOf:
		return "tickets, patiently"
	case ForShrink:
		return "tickets to come back"
	case ForEnd:
		return "the end"
	}
	return fmt.Sprintf("RequestKind(%d)", uint8(k))
}

const (
	atTicketFirst    = uint64(unsafe.Offsetof(ticketRecord{}.first))
	atTicketWords    = uint64(unsafe.Offsetof(ticketRecord{}.words))
	atRequestMode    = uint64(unsafe.Offsetof(requestRecord{}.mode))
	atRequestArrival = uint64(unsafe.Offsetof(requestRecord{}.arrival))
)

// Tickets are decoded by the records, which are the truth, and not by the
// chains, which may be half-made.

func (p picture) addTickets(s *Snapshot, l *LockInfo, record uint32) {
	p.eachSeenTicket(record, func(number int, w ticketWord) {
		if m, held := w.owner(); held {
			l.Semaphore.InUse++
			l.Semaphore.held(s, m, number)
		}
	})
}

func (p picture) addRequest(s *Snapshot, l *LockInfo, record uint32, r seenRecord) {
	at := recordStart(record)
	w := TicketWaiter{
		WaiterInfo: s.waiterInfo(r, 1), For: RequestKind(p.word32(at + atRequestMode)),
		Tickets: int(r.count), arrival: p.word64(at + atRequestArrival),
	}
	l.Semaphore.Queue = append(l.Semaphore.Queue, w)
	l.Waiting = append(l.Waiting, w.WaiterInfo)
	if w.Known && w.Verdict != robust.Gone {
		l.Waiters++
	}
}

func (s *SemaphoreState) order() {
	for k := range s.Holders {
		slices.Sort(s.Holders[k].Numbers)
	}
	slices.SortFunc(s.Holders, func(a, b TicketHolder) int { return cmp.Compare(a.Numbers[0], b.Numbers[0]) })
	slices.SortFunc(s.Queue, func(a, b TicketWaiter) int { return cmp.Compare(a.arrival, b.arrival) })
}

func (p picture) eachSeenTicket(record uint32, f func(number int, w ticketWord)) {
	at := recordStart(record)
	first := int(p.word32(at+atTicketFirst) &^ markBit)
	for k := range recordTicketCount {
		f(first+k, ticketWord(p.word64(at+atTicketWords+uint64(k)*8)))
	}
}

func (s *SemaphoreState) held(from *Snapshot, m robust.Member, number int) {
	for i := range s.Holders {
		if s.Holders[i].Member == m {
			s.Holders[i].Numbers = append(s.Holders[i].Numbers, number)
			return
		}
	}
	h := TicketHolder{OwnerInfo: OwnerInfo{Member: m}, Numbers: []int{number}}
	if e := from.member(m); e != nil {
		h.PID, h.Label, h.Verdict, h.Known = e.PID, e.Label, e.Verdict, true
	}
	s.Holders = append(s.Holders, h)
}

func (s *Snapshot) waiterInfo(r seenRecord, count uint32) WaiterInfo {
	w := WaiterInfo{Member: r.owner, Count: count, Since: r.since}
	if m := s.member(r.owner); m != nil {
		w.Known, w.PID, w.Label, w.Verdict = true, m.PID, m.Label, m.Verdict
	}
	return w
}

// checkTickets looks at a record that only semaphores have, and is false for
// others.
func (c *checker) checkTickets(i uint32, r seenRecord) bool {
	where := fmt.Sprintf("record %d", i)
	words := [2]uint64{uint64(r.owner.Generation)<<16 | uint64(r.owner.Index), uint64(r.slot)<<8 | uint64(r.kind)}
	switch recordKind(r.kind) {
	case recordTickets, recordWithdrawn:
	case recordClaimed, recordWanted, recordGranted, recordRefused:
		if left := c.checkOwner(r.owner, "record-owner", where, words, "owned by"); left != nil {
			left.waits++
			return true
		}
		if recordKind(r.kind) == recordClaimed {
			return true
		}
	default:
		return false
	}
	if !c.isSemaphore(r.slot) {
		c.report(Damage, "record-slot", where, words, "belongs to slot %d, which is no semaphore", r.slot)
		return true
	}
	if recordKind(r.kind) != recordTickets {
		return true
	}
	latch := c.latched[r.slot].word
	severity := Damage
	if !latch.IsFree() || latch.Has(robust.Abandoned) {
		severity = Unsettled
	}
	st := c.latched[r.slot].state
	c.p.eachSeenTicket(i, func(number int, w ticketWord) {
		where, words := fmt.Sprintf("ticket %d of slot %d", number, r.slot), [2]uint64{uint64(w), uint64(st)}
		m, held := w.owner()
		switch {
		case !held && st.exists() && w != st.free():
			c.report(severity, "ticket-word", where, words, "its word %#016x is neither free nor held", uint64(w))
		case !held:
		case w.request() != 0 && severity == Unsettled: // the latch's holder is about to grant it, or to take it back
		default:
			if left := c.checkOwner(m, "ticket-owner", where, words, "held by"); left != nil {
				left.tickets++
			}
		}
	})
	return true
}

func (c *checker) isSemaphore(slot uint32) bool {
	life := c.life(slot)
	return slot != 0 && slot < c.s.slots() && life.isLock() && Kind(life.kind()) == KindSemaphore
}

// checkSemaphore looks whether a semaphore's chain has all its tickets.
func (c *checker) checkSemaphore(l *LockInfo, chain uint32) {
	if l.Semaphore == nil {
		return
	}
	first := 0
	for i := chain; first < MaxTickets && i != 0; first += recordTicketCount {
		r := recordStart(i)
		if recordKind(c.p.word64(r)) != recordTickets || c.p.word32(r+uint64(unsafe.Offsetof(ticketRecord{}.slot))) != l.Slot ||
			int(c.p.word32(r+atTicketFirst)&^markBit) != first {
			break
		}
		i = c.p.word32(r + uint64(unsafe.Offsetof(ticketRecord{}.next)))
	}
	if first < l.Semaphore.Tickets {
		c.report(Damage, "tickets-lost", slotPlace(l.Slot), [2]uint64{uint64(first), uint64(l.Semaphore.Tickets)},
			"%q has %d tickets, of which %d can be found", l.Name, l.Semaphore.Tickets, first)
	}
}
