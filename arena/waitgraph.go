package arena

import (
	"cmp"
	"slices"

	"lockd/robust"
)

// WaitGraph is who waits for whom in a snapshot, as detectors see it.
type WaitGraph struct {
	// Edges are all waits that were seen: of sessions, and of processes that
	// wait or hold without a session.
	Edges []WaitEdge
	// Deadlocks are cycles of sessions that can end only by one of them giving
	// up. A snapshot is not of one moment: a deadlock is certain when the next
	// one shows it too.
	Deadlocks []WaitCycle
	// Possible are cycles of processes. Whether their goroutines wait for each
	// other nobody can tell.
	Possible []WaitCycle
}

// WaitNode is a session, or with Number 0 all that a process holds and waits
// for without one.
type WaitNode struct {
	SessionID
	PID     uint32
	Process string // the member's label
	Label   string // of the session
}

// WaitEdge says that From waits for Lock, which To holds.
type WaitEdge struct {
	From, To WaitNode
	Lock     string
	Kind     Kind
	Wants    Mode
	HeldAs   Mode // 0: To does not hold it, but waits ahead
	Count    int  // of tickets that From wants; else 1
}

// WaitCycle is edges of which each begins where the one before ends, and the
// first where the last ends.
type WaitCycle []WaitEdge

// WaitGraph makes the wait-for graph of the snapshot.
func (s *Snapshot) WaitGraph() *WaitGraph {
	g := &WaitGraph{}
	if s.seen == nil {
		return g
	}
	s.addSessionEdges(g)
	s.addProcessEdges(g)
	s.addDeadlocks(g)
	s.addPossible(g)
	return g
}

func (s *Snapshot) nodeOf(i int) WaitNode {
	x := &s.seen.sessions[i]
	n := s.processNode(x.member)
	n.Number, n.Label = x.number, s.seen.label(x)
	return n
}

func (s *Snapshot) processNode(m robust.Member) WaitNode {
	n := WaitNode{SessionID: SessionID{Member: m}}
	if e := s.member(m); e != nil {
		n.PID, n.Process = e.PID, e.Label
	}
	return n
}

// edge describes that session i waits for session j.
func (s *Snapshot) edge(i, j int, held Mode) WaitEdge {
	a := &s.seen.graph.actors[i]
	e := WaitEdge{From: s.nodeOf(i), To: s.nodeOf(j), Wants: a.mode, HeldAs: held, Count: a.count}
	e.Lock, e.Kind = s.picture.lockIn(a.slot)
	return e
}

// addSessionEdges adds who stands in a session's way, waiting or not.
func (s *Snapshot) addSessionEdges(g *WaitGraph) {
	everybody := make([]bool, len(s.seen.graph.actors))
	for i := range everybody {
		everybody[i] = true
	}
	for i := range s.seen.sessions {
		if !s.seen.graph.actors[i].waits {
			continue
		}
		s.seen.graph.eachBlocker(i, everybody, func(j int, held Mode) bool {
			if j < len(s.seen.sessions) {
				g.Edges = append(g.Edges, s.edge(i, j, held))
			}
			return true
		})
	}
}

// addProcessEdges adds what a process waits for or holds without a session.
func (s *Snapshot) addProcessEdges(g *WaitGraph) {
	for k := range s.Locks {
		l := &s.Locks[k]
		holders := s.unnamedHolders(l)
		sessions := s.sessionsAt(l.Slot)
		for _, w := range l.Waiting {
			from := s.processNode(w.Member)
			if sessions.waiting[w.Member] < int(w.Count) {
				for _, h := range holders {
					g.Edges = append(g.Edges, WaitEdge{From: from, To: s.processNode(h.member), Lock: l.Name, Kind: l.Kind, HeldAs: h.mode, Count: 1})
				}
				for _, i := range sessions.holding {
					g.Edges = append(g.Edges, WaitEdge{From: from, To: s.nodeOf(i), Lock: l.Name, Kind: l.Kind, HeldAs: s.seen.holdsOf(i, l.Slot), Count: 1})
				}
			}
		}
		for i := range s.seen.sessions {
			if a := &s.seen.graph.actors[i]; a.waits && a.slot == l.Slot {
				for _, h := range holders {
					if standsInTheWay(a.mode, h.mode) {
						g.Edges = append(g.Edges, WaitEdge{From: s.nodeOf(i), To: s.processNode(h.member), Lock: l.Name, Kind: l.Kind, Wants: a.mode, HeldAs: h.mode, Count: a.count})
					}
				}
			}
		}
	}
}

func standsInTheWay(wants, held Mode) bool {
	switch wants {
	case Shared:
		return held != Shared
	case Upgradable:
		return held != Shared
	}
	return true
}

// unnamedHolder is a member that holds a lock without a session.
type unnamedHolder struct {
	member robust.Member
	mode   Mode
}

func (s *Snapshot) unnamedHolders(l *LockInfo) (all []unnamedHolder) {
	by := s.sessionsAt(l.Slot)
	if l.Kind != KindSemaphore && l.Owner != nil && !by.owning[l.Owner.Member] {
		mode := Exclusive
		if l.Kind == KindRWMutex && l.Gate == 0 {
			mode = Upgradable
		}
		all = append(all, unnamedHolder{l.Owner.Member, mode})
	}
	for _, r := range l.Reading {
		if int(r.Count) > by.reading[r.Member] {
			all = append(all, unnamedHolder{r.Member, Shared})
		}
	}
	if l.Semaphore != nil {
		for _, h := range l.Semaphore.Holders {
			if len(h.Numbers) > by.tickets[h.Member] {
				all = append(all, unnamedHolder{h.Member, OfTickets})
			}
		}
	}
	return all
}

// sessionsOfLock counts, by member, what sessions hold of a lock and wait for.
type sessionsOfLock struct {
	owning                    map[robust.Member]bool
	reading, tickets, waiting map[robust.Member]int
	holding                   []int
}

func (s *Snapshot) sessionsAt(slot uint32) sessionsOfLock {
	by := sessionsOfLock{map[robust.Member]bool{}, map[robust.Member]int{}, map[robust.Member]int{}, map[robust.Member]int{}, nil}
	for _, at := range s.sessionsBySlot()[slot] {
		x := &s.seen.sessions[at]
		for _, w := range x.holdings {
			if w.slot() != slot || !s.seen.isHeld(x.member, w) {
				continue
			}
			by.holding = append(by.holding, at)
			switch w.mode() {
			case Shared:
				by.reading[x.member]++
			case OfTickets:
				by.tickets[x.member] += w.count()
			default:
				by.owning[x.member] = true
			}
		}
		if x.wait != 0 && x.wait.slot() == slot {
			by.waiting[x.member]++
		}
	}
	return by
}

// sessionsBySlot lists the sessions that hold a slot or wait for it.
func (s *Snapshot) sessionsBySlot() map[uint32][]int {
	if s.slotSessions != nil {
		return s.slotSessions
	}
	s.slotSessions = make(map[uint32][]int)
	add := func(slot uint32, i int) {
		if l := s.slotSessions[slot]; len(l) == 0 || l[len(l)-1] != i {
			s.slotSessions[slot] = append(l, i)
		}
	}
	for i := range s.seen.sessions {
		x := &s.seen.sessions[i]
		for _, w := range x.holdings {
			add(w.slot(), i)
		}
		if x.wait != 0 {
			add(x.wait.slot(), i)
		}
	}
	return s.slotSessions
}

func (s *sighting) holdsOf(i int, slot uint32) Mode {
	for _, w := range s.sessions[i].holdings {
		if w.slot() == slot {
			return w.mode()
		}
	}
	return 0
}

// addDeadlocks adds a shortest cycle through each session that lies on one and
// on none that was added before.
func (s *Snapshot) addDeadlocks(g *WaitGraph) {
	gone := make(map[robust.Member]bool)
	for _, m := range s.Members {
		gone[m.Member] = m.Verdict == robust.Gone
	}
	s.seen.release(gone)
	graph := &s.seen.graph
	stuck := s.seen.stuck()
	met := make(map[int]bool)
	for i := range s.seen.sessions {
		if met[i] {
			continue
		}
		if !s.seen.isTied(i) {
			continue
		}
		ring := graph.cycle(i, stuck)
		if slices.ContainsFunc(ring, func(j int) bool { return j >= len(s.seen.sessions) }) {
			continue
		}
		var cycle WaitCycle
		for k, at := range ring {
			met[at] = true
			next := ring[(k+1)%len(ring)]
			cycle = append(cycle, s.edge(at, next, graph.heldAs(at, next, stuck)))
		}
		g.Deadlocks = append(g.Deadlocks, cycle)
	}
}

// addPossible adds cycles of processes, one through each process that has one,
// if at least one of its waits is of no session. A process that waits for
// itself is no news.
func (s *Snapshot) addPossible(g *WaitGraph) {
	out := make(map[robust.Member][]WaitEdge)
	var members []robust.Member
	for _, e := range g.Edges {
		if e.From.Member == e.To.Member {
			continue
		}
		if out[e.From.Member] == nil {
			members = append(members, e.From.Member)
		}
		out[e.From.Member] = append(out[e.From.Member], e)
	}
	slices.SortFunc(members, func(a, b robust.Member) int { return cmp.Compare(a.Index, b.Index) })
	met := make(map[robust.Member]bool)
	for _, m := range members {
		if met[m] {
			continue
		}
		ring := ringThrough(m, out)
		if !slices.ContainsFunc(ring, func(e WaitEdge) bool { return e.From.Number == 0 || e.To.Number == 0 }) {
			continue
		}
		for _, e := range ring {
			met[e.From.Member] = true
		}
		g.Possible = append(g.Possible, ring)
	}
}

// ringThrough is a shortest way from a member back to itself.
func ringThrough(m robust.Member, out map[robust.Member][]WaitEdge) WaitCycle {
	by := make(map[robust.Member]WaitEdge)
	for queue := []robust.Member{m}; len(queue) > 0; queue = queue[1:] {
		for _, e := range out[queue[0]] {
			if _, met := by[e.To.Member]; met {
				continue
			}
			by[e.To.Member] = e
			if e.To.Member != m {
				queue = append(queue, e.To.Member)
				continue
			}
			ring := WaitCycle{e}
			for ring[0].From.Member != m {
				ring = append(WaitCycle{by[ring[0].From.Member]}, ring...)
			}
			return ring
		}
	}
	return nil
}
