package arena

import (
	"sync/atomic"
	"time"
)

// opsGate counts the operations under way on a core, so that closing can wait
// them out before the mapping goes. The fast paths do not pass it: they only
// ever compare-and-swap one word, which misses in a retired mapping.
type opsGate struct {
	inside   atomic.Int64
	shutting atomic.Bool
	closed   chan struct{} // closed when shutting
	empty    chan struct{}
}

func (g *opsGate) init() {
	g.closed = make(chan struct{})
	g.empty = make(chan struct{}, 1)
}

// enter says whether an operation may begin; if so it ends with leave.
func (g *opsGate) enter() bool {
	g.inside.Add(1)
	if g.shutting.Load() {
		g.leave()
		return false
	}
	return true
}

func (g *opsGate) leave() {
	if g.inside.Add(-1) == 0 && g.shutting.Load() {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

func (g *opsGate) closing() bool { return g.shutting.Load() }

// shut lets nobody in any more and waits until all have left; nudge wakes
// those who sleep. It is called once.
func (g *opsGate) shut(nudge func()) {
	g.shutting.Store(true)
	close(g.closed)
	for g.inside.Load() > 0 {
		nudge()
		select {
		case <-g.empty:
		case <-time.After(5 * time.Millisecond):
		}
	}
}
