package arena

import (
	"cmp"
	"slices"
	"unsafe"

	"lockd/robust"
)

// sight is an arena's bytes, alive or copied. What is not there reads as zero.
type sight interface {
	word64(at uint64) uint64
	word32(at uint64) uint32
}

// sighting is what sessions hold and wait for, as they and the locks' own
// words say. Nothing is believed that the two do not agree on; what is not
// believed counts as not held, or not waited for, so that it can keep a
// deadlock from being seen, but makes none.
type sighting struct {
	graph    waitGraph
	sessions []seenSession   // the first of graph.actors; the others are requests that no session makes
	members  []robust.Member // of graph.actors
	places   map[uint32]*seenPlace
	remain   []bool  // see stuck; nil: not known yet
	tangle   *tangle // see isTied; nil: not known yet

	from     sight
	requests map[uint32][]*seenRequest           // by slot
	cells    map[uint32]map[robust.Member]counts // by slot
	tickets  map[uint32]map[robust.Member]int    // by slot: those below the capacity
	words    map[uint32][]uint32                 // records of tickets by slot
	pieces   map[uint32][]seenPiece              // by slot
	byRecord map[uint32]int                      // sessions
	asking   map[uint32]*seenRequest             // by the record of the session that asks
	wanting  map[wantedRange]bool                // ranges that sessions wait for
}

// seenSession is a session's records.
type seenSession struct {
	record     uint32
	member     robust.Member
	number     uint32
	wait       sessionWord
	since      uint64
	generation uint32
	evidence   uint32
	holdings   []sessionWord
}

// seenPlace is the slot of a lock.
type seenPlace struct {
	life  slotLife
	word  robust.Word
	state uint64
}

type seenRequest struct {
	session, slot uint32
	member        robust.Member
	count         int
	mode          uint32
	arrival       uint64
}

type seenPiece struct {
	session, holder      uint32
	member               robust.Member
	kind                 recordKind
	first, last, arrival uint64
}

const (
	atSessionWait       = uint64(unsafe.Offsetof(sessionRecord{}.wait))
	atSessionSince      = uint64(unsafe.Offsetof(sessionRecord{}.since))
	atSessionGeneration = uint64(unsafe.Offsetof(sessionRecord{}.generation))
	atSessionNumber     = uint64(unsafe.Offsetof(sessionRecord{}.number))
	atSessionEvidence   = uint64(unsafe.Offsetof(sessionRecord{}.evidence))
	atSessionLabel      = uint64(unsafe.Offsetof(sessionRecord{}.label))
	atHoldingsSession   = uint64(unsafe.Offsetof(holdingsRecord{}.session))
	atHoldingsWords     = uint64(unsafe.Offsetof(holdingsRecord{}.words))
	atRequestSession    = uint64(unsafe.Offsetof(requestRecord{}.session))
	atRecordSlot        = uint64(unsafe.Offsetof(record{}.slot))
	atRecordCount       = uint64(unsafe.Offsetof(record{}.count))
	atRecordCounts      = uint64(unsafe.Offsetof(record{}.counts))
)

// sightAll reads all records once and makes the graph. It is bounded by the
// number of segments, whatever the bytes are.
func sightAll(from sight, segments uint32) *sighting {
	s := &sighting{
		from: from, places: make(map[uint32]*seenPlace), requests: make(map[uint32][]*seenRequest), asking: make(map[uint32]*seenRequest), wanting: make(map[wantedRange]bool),
		cells: make(map[uint32]map[robust.Member]counts), tickets: make(map[uint32]map[robust.Member]int),
		words: make(map[uint32][]uint32), pieces: make(map[uint32][]seenPiece), byRecord: make(map[uint32]int),
	}
	var holdings []uint32
	for i := uint32(1); i < segments*segmentRecords; i++ {
		at := recordStart(i)
		owner := from.word64(at)
		switch kindOfRecord(owner) {
		case recordSession:
			s.seeSession(i, at, owner)
		case recordHoldings:
			holdings = append(holdings, i)
		case recordReaders:
			s.seeCell(at, owner)
		case recordWanted:
			s.seeRequest(at, owner)
		case recordTickets:
			slot := from.word32(at + atRecordSlot)
			s.words[slot] = append(s.words[slot], i)
		case rangeWaitShared, rangeWaitExclusive, rangeShared, rangeExclusive:
			s.seePiece(at, owner)
		}
	}
	for _, i := range holdings {
		s.seeHoldings(recordStart(i))
	}
	s.makeGraph()
	return s
}

func (s *sighting) seeSession(i uint32, at, owner uint64) {
	x := seenSession{record: i, member: ownerOfRecord(owner), number: s.from.word32(at + atSessionNumber)}
	x.wait = sessionWord(s.from.word64(at + atSessionWait))
	x.since = s.from.word64(at + atSessionSince)
	x.generation = s.from.word32(at + atSessionGeneration)
	x.evidence = s.from.word32(at + atSessionEvidence)
	if sessionWord(s.from.word64(at+atSessionWait)) != x.wait {
		x.wait = 0 // it is just beginning to wait, or has just ended
	}
	s.byRecord[i] = len(s.sessions)
	s.sessions = append(s.sessions, x)
}

func (s *sighting) seeHoldings(at uint64) {
	k, found := s.byRecord[s.from.word32(at+atHoldingsSession)]
	if !found || s.sessions[k].member != ownerOfRecord(s.from.word64(at)) {
		return
	}
	for n := range uint64(holdingsWords) {
		if w := sessionWord(s.from.word64(at + atHoldingsWords + 8*n)); w != 0 {
			s.sessions[k].holdings = append(s.sessions[k].holdings, w)
		}
	}
}

func (s *sighting) seeCell(at, owner uint64) {
	slot := s.from.word32(at + atRecordSlot)
	if s.cells[slot] == nil {
		s.cells[slot] = make(map[robust.Member]counts)
	}
	s.cells[slot][ownerOfRecord(owner)] = counts(s.from.word64(at + atRecordCounts))
}

func (s *sighting) seeRequest(at, owner uint64) {
	r := &seenRequest{
		session: s.from.word32(at + atRequestSession), slot: s.from.word32(at + atRecordSlot), member: ownerOfRecord(owner),
		count: int(s.from.word32(at + atRecordCount)), mode: s.from.word32(at + atRequestMode),
		arrival: s.from.word64(at + atRequestArrival),
	}
	if s.from.word64(at) != owner {
		return // answered
	}
	s.requests[r.slot] = append(s.requests[r.slot], r)
	if r.session != 0 {
		s.asking[r.session] = r
	}
}

// place reads a slot once.
func (s *sighting) place(slot uint32) *seenPlace {
	p := s.places[slot]
	if p == nil {
		at := slotStart(slot)
		p = &seenPlace{slotLife(s.from.word64(at + atSlotLife)), robust.Word(s.from.word64(at)), s.from.word64(at + atSlotState)}
		if slotLife(s.from.word64(at+atSlotLife)) != p.life {
			p.life = lifeEmpty
		}
		s.places[slot] = p
	}
	return p
}

// kind is that of the lock in a slot, 0 if there is none.
func (p *seenPlace) kind() Kind {
	if !p.life.isLock() {
		return 0
	}
	return p.life.kind()
}

// ticketsOf counts the tickets of each member that are not beyond the capacity.
func (s *sighting) ticketsOf(slot uint32) map[robust.Member]int {
	if known := s.tickets[slot]; known != nil {
		return known
	}
	held := make(map[robust.Member]int)
	capacity := ticketState(s.place(slot).state).capacity()
	for _, i := range s.words[slot] {
		at := recordStart(i)
		first := int(s.from.word32(at+atTicketFirst) &^ markBit)
		for k := range recordTicketCount {
			w := ticketWord(s.from.word64(at + atTicketWords + uint64(k)*8))
			if m, owned := w.owner(); owned && w.request() == 0 && first+k < capacity {
				held[m]++
			}
		}
	}
	s.tickets[slot] = held
	return held
}

// byArrival sorts requests into the order in which they are served.
func byArrival(requests []*seenRequest) []*seenRequest {
	slices.SortFunc(requests, func(a, b *seenRequest) int { return cmp.Compare(a.arrival, b.arrival) })
	return requests
}
