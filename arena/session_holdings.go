package arena

import (
	"cmp"
	"runtime"
	"slices"
	"sync/atomic"

	"lockd/internal/crash"
)

// holdings are what a session holds, and the words that show it.
//
// A word is written right after its lock was taken and zeroed right before it
// is given back. So what a word says that its session holds it does hold, and
// a process that is killed in between leaves a lock that no session holds.
type holdings struct {
	list    []hold
	byCell  map[*cell]int // places in list, once it is long
	free    []*atomic.Uint64
	records []uint32
	order   uint64
}

// hold is one lock, however often the session has entered it.
type hold struct {
	cell    *cell
	word    *atomic.Uint64 // nil: not shown
	more    *holdMore      // of tickets, and of sessions that trace
	order   uint64         // rises from one to the next
	slot    uint32
	depth   uint32    // entries in all
	entries [4]uint16 // by mode
	mode    Mode
}

type holdMore struct {
	tickets []Tickets
	ranges  *Ranges // the session's own holder
	where   string  // in the source
}

// maxEntries bounds how often a session may enter one lock.
const maxEntries = 1<<16 - 1

// longList is from how many on holdings are looked up in a map.
const longList = 24

func (s *holdings) find(l *cell) int {
	if s.byCell != nil {
		if i, found := s.byCell[l]; found {
			return i
		}
		return -1
	}
	for i := len(s.list) - 1; i >= 0; i-- {
		if s.list[i].cell == l {
			return i
		}
	}
	return -1
}

func (s *session) find(h *handle) *hold {
	if i := s.held.find(h.cell); i >= 0 {
		return &s.held.list[i]
	}
	return nil
}

// taken notes and shows a lock that was just taken.
func (s *session) taken(l *cell, slot uint32, mode Mode, count int) *hold {
	crash.At("session.taken")
	k := &s.held
	k.order++
	n := len(k.list)
	if n == cap(k.list) {
		k.list = slices.Grow(k.list, 8)
	}
	k.list = k.list[:n+1]
	h := &k.list[n] // field by field, which is quicker than a whole
	h.cell, h.order, h.slot, h.depth, h.mode = l, k.order, slot, 1, mode
	h.word, h.more, h.entries = nil, nil, [4]uint16{}
	h.entries[mode&3] = 1
	if n := len(k.free); n > 0 && mode != ofRanges {
		h.word = k.free[n-1]
		k.free = k.free[:n-1]
	}
	s.display(h, count)
	if s.options.Trace || len(k.list) > longList {
		s.noteLong(h)
	}
	return h
}

// noteLong is what most sessions need not do.
func (s *session) noteLong(h *hold) {
	if s.options.Trace {
		h.more = &holdMore{where: takenAt()}
		s.core.sessions.noteTaken(s, h.slot, h.more.where)
	}
	if len(s.held.list) > longList {
		s.held.sort()
	}
}

// display shows how a lock is held.
func (s *session) display(h *hold, count int) {
	if h.word == nil {
		return
	}
	s.seq++
	h.word.Store(uint64(newSessionWord(h.slot, h.mode, count, s.seq)))
	crash.At("session.displayed")
}

// cover shows a lock no more: it is about to be given back.
func (h *hold) cover() {
	if h.word != nil {
		h.word.Store(0)
		crash.At("session.covered")
	}
}

// sort brings the map up to the list, which has one more than it.
func (k *holdings) sort() {
	if k.byCell == nil {
		k.byCell = make(map[*cell]int, 2*longList)
		for i := range k.list {
			k.byCell[k.list[i].cell] = i
		}
		return
	}
	k.byCell[k.list[len(k.list)-1].cell] = len(k.list) - 1
}

// byOrder puts the list, which is to be given back from its end, in order.
func (k *holdings) byOrder() {
	k.byCell = nil // it tells places
	slices.SortFunc(k.list, func(a, b hold) int { return cmp.Compare(a.order, b.order) })
}

// drop forgets a lock that was given back.
func (s *session) drop(h *hold) {
	k := &s.held
	if s.options.Trace {
		s.core.sessions.noteTaken(s, h.slot, "")
	}
	if h.word != nil {
		k.free = append(k.free, h.word)
	}
	last := &k.list[len(k.list)-1]
	if k.byCell != nil {
		k.byCell[last.cell] = k.find(h.cell)
		delete(k.byCell, h.cell)
	}
	if h != last {
		*h = *last
	}
	last.cell, last.more = nil, nil
	k.list = k.list[:len(k.list)-1]
	if len(k.list) <= longList/2 {
		k.byCell = nil
	}
}

// reserve sees to it that there is a word for one more holding, if there can be.
func (s *session) reserve() {
	k := &s.held
	if len(k.free) > 0 || s.shown == nil || !s.core.gate.enter() {
		return
	}
	defer s.core.gate.leave()
	i := s.core.claimShown()
	r := recordIs[holdingsRecord](s.core, i)
	if r == nil {
		return
	}
	crash.At("session.extending")
	for n := range r.words {
		r.words[n].Store(0)
	}
	r.session.Store(s.index)
	r.owner.Store(recordOwner(s.core.member, recordHoldings))
	crash.At("session.extended")
	k.records = append(k.records, i)
	for n := range r.words {
		k.free = append(k.free, &r.words[len(r.words)-1-n])
	}
}

// Holding is one lock that a session holds.
type Holding struct {
	Lock    string
	Kind    Kind
	Mode    Mode    // 0 of ranges, which have their own
	Count   int     // how often it was entered; of tickets and ranges, how many
	Tickets []int   // their numbers
	Ranges  []Range // in order
	TakenAt string  // where in the source, if the session traces
}

// Held returns what the session holds, the first taken first. It is nil after
// Close, and while another goroutine waits in the session.
func (s *Session) Held() []Holding {
	defer runtime.KeepAlive(s)
	in := s.in
	if in.state.Load() != sessionOpen {
		return nil
	}
	list := slices.SortedFunc(slices.Values(in.held.list), func(a, b hold) int { return int(int64(a.order - b.order)) })
	held := make([]Holding, 0, len(list))
	for _, h := range list {
		x := Holding{Lock: h.cell.name, Kind: h.cell.kind, Mode: h.mode, Count: int(h.depth), TakenAt: h.where()}
		switch h.mode {
		case OfTickets:
			x.Tickets = h.numbers()
			x.Count = len(x.Tickets)
		case ofRanges:
			if x.Ranges = h.more.ranges.Held(); len(x.Ranges) == 0 {
				continue
			}
			x.Count = len(x.Ranges)
		}
		held = append(held, x)
	}
	return held
}

// where is where in the source the lock was taken, if the session traces.
func (h *hold) where() string {
	if h.more == nil {
		return ""
	}
	return h.more.where
}
