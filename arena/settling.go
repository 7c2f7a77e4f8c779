package arena

import (
	"sync"
	"sync/atomic"
	"time"

	"lockd/robust"
)

// settling runs passes in the background of one process.
type settling struct {
	wanted chan struct{}
	quit   chan struct{}
	done   chan struct{}
	c      *core
	asked  atomic.Uint32 // the header's passes at the last kick
	found  atomic.Uint64 // dead members, by this process

	mu      sync.Mutex
	reasons reasons
}

// reasons are why a pass is wanted. If it is only that members have died, and
// others have settled them by then, it is not needed.
type reasons struct {
	deaths []robust.Member
	other  bool
}

func (s *settling) start() {
	s.wanted = make(chan struct{}, 1)
	s.quit = make(chan struct{})
	s.done = make(chan struct{})
	s.kick() // whoever attaches looks after those who died before
	go s.run()
}

// kick asks for a pass; of many kicks one pass serves all.
func (s *settling) kick() { s.want(reasons{other: true}) }

// died asks for a pass because a member has.
func (s *settling) died(m robust.Member) { s.want(reasons{deaths: []robust.Member{m}}) }

func (s *settling) want(why reasons) {
	s.asked.Store(s.c.head.passes.Load())
	s.owe(why)
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

func (s *settling) owe(why reasons) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons.deaths = append(s.reasons.deaths, why.deaths...)
	s.reasons.other = s.reasons.other || why.other
}

// due takes the reasons there are, but for the deaths that are settled: an entry
// is freed when all that its member had is given back. Many may learn of one
// death, some of them late. Those that are left no pass has settled that came
// by since: its settler could not tell that they are dead, as one of another
// user, who may not look closely at who is ending.
func (s *settling) due() (why reasons) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.reasons.deaths {
		if state := memberState(s.c.memberAt(m.Index).state.Load()); state.phase() == phaseLive && state.generation() == m.Generation {
			why.deaths = append(why.deaths, m)
		}
	}
	why.other = s.reasons.other
	s.reasons = reasons{}
	return why
}

func (r reasons) none() bool { return !r.other && len(r.deaths) == 0 }

func (s *settling) stop() {
	close(s.quit)
	<-s.done
}

// settleDelay lets those who wait for what the dead held take it themselves:
// they are quicker, and each of them is told.
const settleDelay = 10 * time.Millisecond

// settleLater is for who has only heard of a death. Whoever takes anything from
// the dead settles what is left, soon; the others, who may be a thousand, would
// find him at it, and keep him from the processor. If he dies, or nobody takes
// anything, they settle it.
const settleLater = 100 * time.Millisecond

// settleRetry is when to look again after another process was found settling:
// its pass may have begun before the death that this one knows of. Each time it
// is twice as long, up to settleRarely, for the same reason.
const (
	settleRetry  = 100 * time.Millisecond
	settleRarely = 8 * settleRetry
)

// Where one has died others often die too, and a large process takes long to
// be gone. Those that nobody waits for nobody hears of: so who has found any
// dead looks again, after companyFirst and twice as long each time, until he
// has found none for companyLooks times.
const (
	companyFirst = 25 * time.Millisecond
	companyLooks = 7
)

func (s *settling) run() {
	c := s.c
	defer close(s.done)
	var again <-chan time.Time
	for looks, pause, retry := 0, companyFirst, settleRetry; ; {
		own := false
		select {
		case <-s.wanted:
			if !s.linger() {
				return
			}
			retry = settleRetry
		case <-again:
			own = looks > 0
		case <-s.quit:
			return
		}
		if !c.gate.enter() {
			return
		}
		before, why := s.found.Load(), s.due()
		settled := !own && (why.none() || len(why.deaths) == 0 && s.passed()) || c.settleUnlessAnother(!own)
		if !settled {
			s.owe(why)
		}
		c.gate.leave()
		again = nil
		switch {
		case s.found.Load() != before:
			looks, pause = companyLooks, companyFirst
		case looks > 0:
			looks, pause = looks-1, 2*pause
		}
		switch {
		case !settled:
			again = time.After(retry)
			retry = min(2*retry, settleRarely)
		case looks > 0:
			again = time.After(pause)
		}
	}
}

// linger waits until it is time for what is wanted, and is false if the process
// leaves first.
func (s *settling) linger() bool {
	for later := time.After(settleLater); s.hasOnlyHeard(); {
		select {
		case <-later:
			return true
		case <-s.wanted:
		case <-s.quit:
			return false
		}
	}
	select {
	case <-time.After(settleDelay):
		return true
	case <-s.quit:
		return false
	}
}

func (s *settling) hasOnlyHeard() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.reasons.other
}

// passed tells whether anybody has begun and ended a pass since this process
// last asked for one. When many learn of one death, one of them settles it.
func (s *settling) passed() bool {
	asked := s.asked.Load()
	return int32(s.c.head.passes.Load()-asked) >= 2+int32(asked&1)
}

// settleUnlessAnother leaves the work to another living process that is at it
// already, and says whether there is nothing left to come back for. A pass that
// nobody asked for is not counted if it found nobody: it leaves no trace.
func (c *core) settleUnlessAnother(asked bool) bool {
	l, ok := c.tryLatch(&c.head.settler, settlerDoor)
	if !ok {
		return false
	}
	defer l.release()
	begun, before := c.head.passes.Load()&^1+1, c.settling.found.Load()
	c.head.passes.Store(begun)
	settled, sure := c.settleAll()
	if sure && (asked || c.settling.found.Load() != before) {
		c.head.passes.Store(begun + 1)
	} else {
		c.head.passes.Store(begun - 1)
	}
	return settled
}
