package arena

import (
	"fmt"
	"testing"
)

// crowds are graphs of many who wait, of which few or none are deadlocked.
var crowds = map[string]func(n int) *waitGraph{
	// All wait for one mutex; who holds it does something else.
	"behind one": func(n int) *waitGraph {
		g := &waitGraph{actors: make([]graphActor, n+1), locks: map[uint32]*graphLock{1: {kind: KindMutex}}}
		g.hold(n, 1)
		for i := range n {
			g.want(i, 1)
		}
		return g
	},
	// All wait for one mutex, and who holds it is on a circle of two.
	"behind a circle": func(n int) *waitGraph {
		g := circle(n)
		for i := range n {
			g.want(i, 1)
		}
		return g
	},
	// Each waits for the next, the last for a circle of two.
	"in a row": func(n int) *waitGraph {
		g := circle(n)
		for i := range n {
			g.lock(uint32(i+3), KindMutex)
			g.hold(i, uint32(i+3))
		}
		for i := range n {
			g.want(i, uint32(i+4))
		}
		g.want(n-1, 1)
		return g
	},
	// All wait for one range; who holds it does something else.
	"for one range": func(n int) *waitGraph {
		g := &waitGraph{actors: make([]graphActor, n+1), locks: map[uint32]*graphLock{1: {kind: KindRanges}}}
		l := g.locks[1]
		l.pieces = append(l.pieces, graphPiece{actor: n, holder: uint64(n), last: 10})
		for i := range n {
			g.want(i, 1)
			l.pieces = append(l.pieces, graphPiece{actor: i, holder: uint64(i), last: 10, wanted: true, arrival: uint64(i + 1)})
		}
		return g
	},
}

func (g *waitGraph) lock(slot uint32, kind Kind) { g.locks[slot] = &graphLock{kind: kind, capacity: 1} }

func (g *waitGraph) hold(i int, slot uint32) {
	g.locks[slot].holders = append(g.locks[slot].holders, graphHolder{i, Exclusive, 1})
}

func (g *waitGraph) want(i int, slot uint32) {
	g.actors[i] = graphActor{waits: true, slot: slot, mode: Exclusive, count: 1}
}

// circle makes actors n and n+1 hold locks 1 and 2 and wait for 2 and 1.
func circle(n int) *waitGraph {
	g := &waitGraph{actors: make([]graphActor, n+2), locks: map[uint32]*graphLock{}}
	g.lock(1, KindMutex)
	g.lock(2, KindMutex)
	g.hold(n, 1)
	g.hold(n+1, 2)
	g.want(n, 2)
	g.want(n+1, 1)
	return g
}

// What a look of the detector costs if it suspects all who wait.
func BenchmarkCrowdedGraph(b *testing.B) {
	for name, make := range crowds {
		for _, n := range []int{1000, 10_000} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				for b.Loop() {
					g := make(n)
					g.index()
					stuck := g.stuck()
					tangle := g.tangle(stuck)
					for i := range g.actors {
						if tangle.has(i) {
							g.cycle(i, stuck)
						}
					}
				}
			})
		}
	}
}
