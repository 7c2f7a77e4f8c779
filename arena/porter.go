package arena

import (
	"context"
	"sync"
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
)

// porter is where the goroutines of this process wait for answers to their
// requests, to any number of semaphores. One of them, the agent, sleeps at the
// member's bell on behalf of all, and tells the others over channels; so
// however many wait, one thread does.
type porter struct {
	judged atomic.Int64 // when a failed try last judged the holder of a latch

	mu     sync.Mutex
	waits  map[uint32]*ticketWait // by request record
	slots  map[uint32]int         // how many of them are for which slot
	agent  *ticketWait
	nudged atomic.Uint32 // the agent's private futex word: 1 asks it to look again
}

// ticketWait is one waiting goroutine.
type ticketWait struct {
	request uint32
	record  *requestRecord
	owner   *atomic.Uint64 // of its record
	wanted  uint64         // the owner word for as long as there is no answer
	ranges  *rangeWait     // nil: it waits for tickets
	binding *binding
	wake    chan struct{}
}

func (p *porter) init() {
	p.waits = make(map[uint32]*ticketWait)
	p.slots = make(map[uint32]int)
}

// isIdle tells whether nobody waits.
func (p *porter) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waits) == 0
}

func (w *ticketWait) answered() bool { return w.owner.Load() != w.wanted }

func (w *ticketWait) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// enter begins a wait, and says whether it is the first for this slot.
func (p *porter) enter(w *ticketWait) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits[w.request] = w
	p.slots[w.binding.index]++
	if p.agent == nil {
		p.agent = w
	}
	return p.slots[w.binding.index] == 1
}

// leave ends a wait. Another goroutine becomes the agent. The record of a
// request that was withdrawn may be another one's by now, who waits for it here.
func (p *porter) leave(w *ticketWait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waits[w.request] == w {
		delete(p.waits, w.request)
	}
	if p.slots[w.binding.index]--; p.slots[w.binding.index] == 0 {
		delete(p.slots, w.binding.index)
	}
	if p.agent != w {
		return
	}
	p.agent = nil
	for _, next := range p.waits {
		p.agent = next
		next.signal()
		return
	}
}

// represents tells whether w is the agent. Then it has told the others that
// the bell was rung for, as what stands beside it says, and whatever it was
// nudged for it sees from here on.
func (p *porter) represents(w *ticketWait, answered *atomic.Uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agent != w {
		return false
	}
	p.nudged.Store(0)
	switch request := answered.Swap(0); request {
	case 0:
	case severalAnswered:
		p.signalAll()
	default:
		if other := p.waits[uint32(request)]; other != nil {
			other.signal()
		}
	}
	return true
}

// sleepForAnswer waits for the next look at the answer: the agent at the member's bell,
// which had this value before the last look, the others for a signal.
func (c *core) sleepForAnswer(ctx context.Context, w *ticketWait, agent bool, bell *atomic.Uint32, rung uint32) {
	if !agent {
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-c.gate.closed:
		}
		return
	}
	crash.At("answer.sleep")
	err := futex.ErrUnsupported
	if futex.HasWaitAny() {
		_, err = futex.WaitAny([]futex.Word{{Addr: bell, Value: rung}, {Addr: &c.porter.nudged, Private: true}}, 0)
	}
	if err != nil && !wakeable(err) {
		c.muxer.bounded(bell, rung)
	}
	crash.At("answer.woken")
}

// signalAnswered tells all that were answered.
func (p *porter) signalAnswered() {
	p.mu.Lock()
	p.signalAll()
	p.mu.Unlock()
	p.nudge()
}

// signalAll is called with mu held. It leaves out the agent, who may sleep
// elsewhere.
func (p *porter) signalAll() {
	for _, w := range p.waits {
		if w != p.agent && w.answered() {
			w.signal()
		}
	}
}

// nudge makes the agent look again: at its answer, at its context.
func (p *porter) nudge() {
	p.nudged.Store(1)
	futex.WakePrivate(&p.nudged, 1)
	p.mu.Lock()
	if p.agent != nil {
		p.agent.signal()
	}
	p.mu.Unlock()
}

// rouse makes every goroutine look whether it should give up.
func (p *porter) rouse() {
	p.mu.Lock()
	for _, w := range p.waits {
		w.signal()
	}
	p.mu.Unlock()
	p.nudge()
}

// signalRequest tells who waits for the answer of this request, if anybody
// of this process does by now.
func (p *porter) signalRequest(request uint32) {
	p.mu.Lock()
	w := p.waits[request]
	agent := w != nil && w == p.agent
	if w != nil {
		w.signal()
	}
	p.mu.Unlock()
	if agent {
		p.nudged.Store(1)
		futex.WakePrivate(&p.nudged, 1)
	}
}
