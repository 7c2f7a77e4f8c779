package arena

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// graphOf builds graphs for tests.
type graphOf struct{ waitGraph }

func newGraph(actors int) *graphOf {
	return &graphOf{waitGraph{actors: make([]graphActor, actors), locks: make(map[uint32]*graphLock)}}
}

func (g *graphOf) lock(slot uint32, kind Kind, capacity int) *graphOf {
	g.locks[slot] = &graphLock{kind: kind, shut: true, capacity: capacity}
	return g
}

func (g *graphOf) holds(actor int, slot uint32, mode Mode, count int) *graphOf {
	g.locks[slot].holders = append(g.locks[slot].holders, graphHolder{actor, mode, count})
	return g
}

func (g *graphOf) waits(actor int, slot uint32, mode Mode, count int) *graphOf {
	g.actors[actor] = graphActor{waits: true, slot: slot, mode: mode, count: count}
	if g.locks[slot].kind == KindSemaphore {
		g.locks[slot].queue = append(g.locks[slot].queue, actor)
	}
	return g
}

func (g *graphOf) piece(actor int, slot uint32, first, last uint64, shared bool, arrival uint64) *graphOf {
	p := graphPiece{actor: actor, holder: uint64(actor), first: first, last: last, shared: shared, arrival: arrival, wanted: arrival > 0}
	g.locks[slot].pieces = append(g.locks[slot].pieces, p)
	if p.wanted {
		g.actors[actor] = graphActor{waits: true, slot: slot, mode: Exclusive, count: 1}
	}
	return g
}

// mutexes are a graph of mutexes 1 … n, of which actor i holds number i+1.
func mutexes(n int) *graphOf {
	g := newGraph(n)
	for i := range n {
		g.lock(uint32(i+1), KindMutex, 0).holds(i, uint32(i+1), Exclusive, 1)
	}
	return g
}

func TestGraph(t *testing.T) {
	const m, rw, sem, rng = 1, 2, 3, 4
	for _, tc := range []struct {
		name  string
		graph *graphOf
		stuck []int
		rings string // the cycle through each of the stuck
	}{
		{"nobody waits", mutexes(3), nil, "[]"},
		{"two", mutexes(2).waits(0, 2, Exclusive, 1).waits(1, 1, Exclusive, 1), []int{0, 1}, "[[0 1] [1 0]]"},
		{"a chain", mutexes(3).waits(0, 2, Exclusive, 1).waits(1, 3, Exclusive, 1), nil, "[]"},
		{"behind a cycle", mutexes(3).waits(0, 2, Exclusive, 1).waits(1, 1, Exclusive, 1).waits(2, 1, Exclusive, 1), []int{0, 1, 2}, "[[0 1] [1 0] []]"},
		{"for itself", mutexes(1).waits(0, 1, Exclusive, 1), []int{0}, "[[0]]"},

		{"upgrade against a reader who wants to", newGraph(2).lock(rw, KindRWMutex, 0).
			holds(0, rw, Upgradable, 1).holds(1, rw, Shared, 1).waits(0, rw, Exclusive, 1).waits(1, rw, Upgradable, 1), []int{0, 1}, "[[0 1] [1 0]]"},
		{"upgrade against readers", newGraph(3).lock(rw, KindRWMutex, 0).
			holds(0, rw, Upgradable, 1).holds(1, rw, Shared, 1).waits(0, rw, Exclusive, 1).waits(2, rw, Shared, 1), nil, "[]"},
		{"a reader behind a writer who waits for it", newGraph(2).lock(m, KindMutex, 0).lock(rw, KindRWMutex, 0).
			holds(0, rw, Upgradable, 1).waits(0, rw, Exclusive, 1).holds(1, rw, Shared, 1).waits(1, rw, Shared, 1), []int{0, 1}, "[[0 1] [1 0]]"},
		{"a reader whose gate is open", func() *graphOf {
			g := newGraph(2).lock(m, KindMutex, 0).lock(rw, KindRWMutex, 0).holds(0, rw, Upgradable, 1).waits(0, m, Exclusive, 1).
				holds(1, m, Exclusive, 1).waits(1, rw, Shared, 1)
			g.locks[rw].shut = false
			return g
		}(), nil, "[]"},

		{"two of three tickets, each wants two", newGraph(2).lock(sem, KindSemaphore, 3).
			holds(0, sem, OfTickets, 1).holds(1, sem, OfTickets, 2).waits(0, sem, OfTickets, 2), nil, "[]"},
		{"all tickets with those who want more", newGraph(2).lock(sem, KindSemaphore, 3).
			holds(0, sem, OfTickets, 1).holds(1, sem, OfTickets, 2).waits(0, sem, OfTickets, 1).waits(1, sem, OfTickets, 1), []int{0, 1}, "[[0] [1]]"},
		{"one ticket is nobody's", newGraph(2).lock(sem, KindSemaphore, 4).
			holds(0, sem, OfTickets, 1).holds(1, sem, OfTickets, 2).waits(0, sem, OfTickets, 1).waits(1, sem, OfTickets, 1), nil, "[]"},
		{"behind a large request", newGraph(3).lock(m, KindMutex, 0).lock(sem, KindSemaphore, 3).
			holds(0, sem, OfTickets, 2).waits(0, m, Exclusive, 1).holds(2, m, Exclusive, 1).
			waits(1, sem, OfTickets, 3).waits(2, sem, OfTickets, 1), []int{0, 1, 2}, "[[0 2 1] [1 0 2] [2 1 0]]"},
		{"before a large request", newGraph(3).lock(m, KindMutex, 0).lock(sem, KindSemaphore, 3).
			holds(0, sem, OfTickets, 2).waits(0, m, Exclusive, 1).holds(2, m, Exclusive, 1).
			waits(2, sem, OfTickets, 1).waits(1, sem, OfTickets, 3), nil, "[]"},
		{"waits for another size", newGraph(2).lock(m, KindMutex, 0).lock(sem, KindSemaphore, 1).
			holds(0, sem, OfTickets, 1).waits(0, m, Exclusive, 1).holds(1, m, Exclusive, 1).waits(1, sem, OfTickets, 2), nil, "[]"},

		{"ranges apart", newGraph(2).lock(rng, KindRanges, 0).
			piece(0, rng, 0, 9, false, 0).piece(1, rng, 20, 29, false, 0).piece(0, rng, 10, 19, false, 1).piece(1, rng, 30, 39, false, 2), nil, "[]"},
		{"ranges crossed", newGraph(2).lock(rng, KindRanges, 0).
			piece(0, rng, 0, 9, false, 0).piece(1, rng, 10, 19, false, 0).piece(0, rng, 10, 10, false, 1).piece(1, rng, 9, 9, true, 2), []int{0, 1}, "[[0 1] [1 0]]"},
		{"shared ranges", newGraph(2).lock(rng, KindRanges, 0).
			piece(0, rng, 0, 9, true, 0).piece(1, rng, 10, 19, true, 0).piece(0, rng, 10, 10, true, 1).piece(1, rng, 9, 9, true, 2), nil, "[]"},
		{"two conversions", newGraph(2).lock(rng, KindRanges, 0).
			piece(0, rng, 0, 9, true, 0).piece(1, rng, 5, 19, true, 0).piece(0, rng, 0, 9, false, 1).piece(1, rng, 5, 19, false, 2), []int{0, 1}, "[[0 1] [1 0]]"},
		{"one conversion goes first", newGraph(2).lock(rng, KindRanges, 0).
			piece(0, rng, 0, 9, true, 0).piece(1, rng, 0, 9, false, 1).piece(0, rng, 0, 9, false, 2), nil, "[]"},
		{"behind an earlier request", newGraph(3).lock(m, KindMutex, 0).lock(rng, KindRanges, 0).
			piece(0, rng, 0, 4, false, 0).waits(0, m, Exclusive, 1).piece(1, rng, 0, 9, false, 1).
			holds(2, m, Exclusive, 1).piece(2, rng, 5, 9, true, 2), []int{0, 1, 2}, "[[0 2 1] [1 0 2] [2 1 0]]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := &tc.graph.waitGraph
			g.index()
			stuck := g.stuck()
			var who []int
			rings := [][]int{}
			for i, s := range stuck {
				if s {
					who = append(who, i)
					rings = append(rings, g.cycle(i, stuck))
				}
			}
			if !slices.Equal(who, tc.stuck) || fmt.Sprint(rings) != tc.rings {
				t.Errorf("stuck %v, rings %v; want %v, %s", who, rings, tc.stuck, tc.rings)
			}
		})
	}
}

// Small random graphs, against a search of all orders in which actors could
// finish.
func TestGraphAgainstSearch(t *testing.T) {
	rounds, deadlocks := 20000, 0
	if testing.Short() {
		rounds = 2000
	}
	for seed := range uint64(rounds) {
		g := randomGraph(rand.New(rand.NewPCG(seed, 1)))
		g.index()
		stuck := g.stuck()
		want := g.search()
		if !slices.Equal(stuck, want) {
			t.Fatalf("seed %d: stuck %v, the search says %v: %+v", seed, stuck, want, g.actors)
		}
		tangle := g.tangle(stuck)
		for _, i := range rand.New(rand.NewPCG(seed, 2)).Perm(len(stuck)) {
			reaches := g.reaches(i, stuck)
			if tangle.has(i) != reaches {
				t.Fatalf("seed %d: %d lies on a cycle: %v; it reaches itself: %v", seed, i, !reaches, reaches)
			}
			if ring := g.cycle(i, stuck); (ring != nil) != reaches {
				t.Fatalf("seed %d: cycle through %d: %v; it reaches itself: %v", seed, i, ring, reaches)
			} else if ring != nil {
				deadlocks++
			}
		}
	}
	if deadlocks < rounds/50 {
		t.Errorf("only %d actors in deadlocks", deadlocks)
	}
}

// Random ranges, held and waited for, by sessions that wait once or twice,
// against the rule applied to one after the other until nobody can be served.
func TestGraphOfRanges(t *testing.T) {
	deadlocks := 0
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 3))
		n := 2 + r.IntN(5)
		g := newGraph(n).lock(1, KindRanges, 0)
		for range r.IntN(2 * n) {
			first := uint64(r.IntN(10))
			g.piece(r.IntN(n), 1, first, first+uint64(r.IntN(4)), r.IntN(2) == 0, 0)
		}
		for arrival := range r.IntN(2 * n) {
			first := uint64(r.IntN(10))
			g.piece(r.IntN(n), 1, first, first+uint64(r.IntN(4)), r.IntN(2) == 0, uint64(arrival+1))
		}
		r.Shuffle(len(g.locks[1].pieces), func(i, j int) {
			p := g.locks[1].pieces
			p[i], p[j] = p[j], p[i]
		})
		g.index()
		want := make([]bool, n)
		for i := range want {
			want[i] = g.actors[i].waits
		}
		for again := true; again; {
			again = false
			for i := range want {
				if want[i] && !g.isBlocked(i, want) {
					want[i], again = false, true
				}
			}
		}
		stuck := g.stuck()
		if !slices.Equal(stuck, want) {
			t.Fatalf("seed %d: stuck %v, should be %v: %+v", seed, stuck, want, g.locks[1].pieces)
		}
		if slices.Contains(stuck, true) {
			deadlocks++
		}
	}
	if deadlocks < 100 {
		t.Errorf("only %d deadlocks", deadlocks)
	}
}

func randomGraph(r *rand.Rand) *graphOf {
	n := 2 + r.IntN(5)
	g := newGraph(n)
	g.lock(1, KindMutex, 0).lock(2, KindMutex, 0).lock(3, KindRWMutex, 0).lock(4, KindSemaphore, 1+r.IntN(4)).lock(5, KindRWMutex, 0)
	g.locks[5].shut = false
	for slot := uint32(1); slot <= 2; slot++ {
		if i := r.IntN(n + 1); i < n {
			g.holds(i, slot, Exclusive, 1)
		}
	}
	for _, slot := range []uint32{3, 5} {
		word := r.IntN(n + 1)
		if word < n {
			g.holds(word, slot, Upgradable, 1)
		}
		for i := range n {
			if i != word && r.IntN(3) == 0 {
				g.holds(i, slot, Shared, 1)
			}
		}
	}
	free := g.locks[4].capacity
	for i := range n {
		if k := r.IntN(3); k > 0 && k <= free {
			g.holds(i, 4, OfTickets, k)
			free -= k
		}
	}
	for _, i := range r.Perm(n) {
		switch r.IntN(6) {
		case 0, 1:
			g.waits(i, uint32(1+r.IntN(2)), Exclusive, 1)
		case 2:
			g.waits(i, 4, OfTickets, 1+r.IntN(g.locks[4].capacity))
		case 3:
			g.waits(i, []uint32{3, 5}[r.IntN(2)], Shared, 1)
		case 4:
			slot := []uint32{3, 5}[r.IntN(2)]
			if holdsAs(g.locks[slot], i, Upgradable) {
				g.waits(i, slot, Exclusive, 1)
			} else {
				g.waits(i, slot, Upgradable, 1)
			}
		}
	}
	return g
}

// search finds who cannot finish in any order, by going through all sets of
// those who have finished that can be reached.
func (g *graphOf) search() []bool {
	n := len(g.actors)
	could := 0
	seen := map[int]bool{0: true}
	for queue := []int{0}; len(queue) > 0; queue = queue[1:] {
		done := queue[0]
		could |= done
		for i := range n {
			next := done | 1<<i
			if done&(1<<i) == 0 && !seen[next] && g.mayFinish(i, done) {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	stuck := make([]bool, n)
	for i := range stuck {
		stuck[i] = could&(1<<i) == 0
	}
	return stuck
}

// mayFinish is the rule of each kind for when these have finished.
func (g *graphOf) mayFinish(i, done int) bool {
	a := g.actors[i]
	if !a.waits {
		return true
	}
	l := g.locks[a.slot]
	var words, readers, tickets int
	for _, h := range l.holders {
		if done&(1<<h.actor) != 0 {
			continue
		}
		switch h.mode {
		case Shared:
			readers++
		case OfTickets:
			tickets += h.count
		default:
			words++
		}
	}
	switch {
	case l.kind == KindSemaphore:
		for _, other := range l.queue {
			if other == i {
				return l.capacity-tickets >= a.count
			}
			if done&(1<<other) == 0 {
				return false
			}
		}
		return false
	case a.mode == Shared:
		return !l.shut || words == 0
	case l.kind == KindRWMutex && a.mode == Exclusive:
		return readers == 0
	}
	return words == 0
}

// reaches tells whether there is a way from i over the stuck back to i.
func (g *graphOf) reaches(i int, stuck []bool) bool {
	if !stuck[i] {
		return false
	}
	met := make(map[int]bool)
	var walk func(int)
	walk = func(at int) {
		g.eachBlocker(at, stuck, func(j int, _ Mode) bool {
			if !met[j] {
				met[j] = true
				walk(j)
			}
			return true
		})
	}
	walk(i)
	return met[i]
}
