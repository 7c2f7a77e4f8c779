package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"lockd/arena"
)

var sessionsKind = kind{
	name: "sessions", weight: 4, ledger: unsafe.Sizeof([2]scene{}), turn: sessionsTurn,
	sit: func(part unsafe.Pointer, w who) {
		for i := range (*[2]scene)(part) {
			s := &(*[2]scene)(part)[i]
			s.stage.places[w.seat()].sit(w)
			s.strip.places[w.seat()].sit(w)
		}
	},
}

// scene is locks of all kinds that sessions take several of: those of the first
// scene in one order, in which no circle can be, those of the second in any.
type scene struct {
	sections [sceneMutexes]section
	stage    stage
	desk     [16]atomic.Uint64
	strip    strip
}

const (
	sceneMutexes = 2
	sceneTickets = 4
)

// The locks of a scene, in the order of kinds and names, which is LockAll's too.
const (
	sceneRWMutex = sceneMutexes + iota
	sceneSemaphore
	sceneRanges
	sceneLocks
)

var sceneNames = [sceneLocks]string{"mutex 0", "mutex 1", "rwmutex", "semaphore", "ranges"}

// party is one session's turn.
type party struct {
	*turn
	s       *arena.Session
	scene   *scene
	ordered bool
	actor   actor
	renter  *renter
	backs   []func() // what gives back what it holds
}

func sessionsTurn(t *turn) {
	p := &party{turn: t, ordered: t.r.IntN(2) == 0}
	p.scene = &(*[2]scene)(t.part)[1]
	if p.ordered {
		p.scene = &(*[2]scene)(t.part)[0]
	}
	p.s = t.a.OpenSession(arena.SessionOptions{
		Label: "torture", Trace: t.r.IntN(8) == 0, DeadlockAfter: time.Duration(1+t.r.IntN(50)) * time.Millisecond,
	})
	rw := p.name(sceneRWMutex)
	p.actor = actor{turn: t, name: rw, m: t.a.RWMutex(rw), stage: &p.scene.stage, me: &p.scene.stage.places[t.seat]}
	p.renter = t.renter(p.name(sceneRanges), &p.scene.strip)
	p.takeSome()
	for _, back := range slices.Backward(p.backs) {
		back()
	}
	if err := p.s.Close(); err != nil {
		t.violated("close of a session in %s: %v", t.opening.name, err)
	}
}

func (p *party) name(lock int) string {
	if p.ordered {
		return "in order, " + sceneNames[lock]
	}
	return "wild " + sceneNames[lock]
}

// takeSome takes two to four locks, until one is not to be had.
func (p *party) takeSome() {
	locks := p.r.Perm(sceneLocks)[:2+p.r.IntN(3)]
	if p.ordered {
		slices.Sort(locks)
		if p.r.IntN(4) == 0 {
			p.takeAll(locks)
			return
		}
	} else if p.r.IntN(3) == 0 { // more of what can be had in parts
		locks = append(locks, sceneSemaphore, sceneRanges)
	}
	for _, lock := range locks {
		if !p.take(lock) {
			return
		}
		p.dwell()
	}
}

// takeAll takes locks by one LockAll, but for the last kind, which it has not.
func (p *party) takeAll(locks []int) {
	var wants []arena.Want
	for _, lock := range locks {
		switch lock {
		case sceneRWMutex:
			wants = append(wants, arena.Exclusively(p.actor.m))
		case sceneSemaphore:
			wants = append(wants, arena.TicketsOf(p.semaphore(), 1+p.r.IntN(2)))
		case sceneRanges:
		default:
			wants = append(wants, arena.Exclusively(p.a.Mutex(p.name(lock))))
		}
	}
	p.r.Shuffle(len(wants), func(i, k int) { wants[i], wants[k] = wants[k], wants[i] })
	if !p.has("all of some", func(ctx context.Context) error { return p.s.LockAll(ctx, wants...) }) {
		return
	}
	for _, lock := range locks {
		switch lock {
		case sceneRWMutex:
			p.writes()
		case sceneSemaphore:
			p.hasTickets(p.heldTickets())
		case sceneRanges:
		default:
			p.occupies(lock)
		}
	}
	p.dwell()
}

// has says whether something was taken, and looks why not.
func (p *party) has(what string, take func(context.Context) error) bool {
	try := p.attempt()
	defer try.end()
	err := take(try)
	var circle *arena.DeadlockError
	if !errors.As(err, &circle) {
		return !p.failed(what, try, err)
	}
	p.board.seats[p.seat].victims.Add(1)
	switch {
	case p.ordered:
		p.violated("%s in %s: a victim where no circle can be: %v\n%s", what, p.opening.name, err, p.picture(what))
	case len(circle.Edges) == 0 || circle.Edges[0].PID != os.Getpid():
		p.violated("%s in %s: a victim that is not in the circle: %v", what, p.opening.name, err)
	}
	for _, edge := range circle.Edges {
		if !p.ordered && !strings.HasPrefix(edge.Lock, "wild ") {
			p.violated("%s in %s: %q cannot be in a circle: %v", what, p.opening.name, edge.Lock, err)
		}
	}
	return false
}

func (p *party) gives(what string, err error) {
	if err != nil {
		p.violated("%s in %s: a session gives back: %v", what, p.opening.name, err)
	}
}

func (p *party) take(lock int) bool {
	name := p.name(lock)
	switch lock {
	case sceneRWMutex:
		return p.takeRWMutex(name)
	case sceneSemaphore:
		return p.takeTickets(name)
	case sceneRanges:
		return p.takeRanges(name)
	}
	m := p.a.Mutex(name)
	if !p.has(name, func(ctx context.Context) error { return p.s.Lock(ctx, m) }) {
		return false
	}
	p.occupies(lock)
	return true
}

func (p *party) occupies(lock int) {
	m, s := p.a.Mutex(p.name(lock)), &p.scene.sections[lock]
	s.enter(p.turn, m.Name(), m)
	s.use(p.turn)
	p.backs = append(p.backs, func() {
		s.leave(p.turn, m.Name())
		p.gives(m.Name(), p.s.Unlock(m))
	})
}

func (p *party) writes() {
	p.actor.beginWriting()
	p.backs = append(p.backs, func() {
		p.actor.endWriting()
		if p.r.IntN(4) > 0 || p.passing {
			p.gives(p.actor.name, p.s.Unlock(p.actor.m))
			return
		}
		p.gives(p.actor.name, p.s.Downgrade(p.actor.m))
		p.actor.read()
		p.gives(p.actor.name, p.s.RUnlock(p.actor.m))
	})
}

func (p *party) reads() {
	p.actor.beginReading()
	p.backs = append(p.backs, func() {
		p.actor.me.readers.Add(-1)
		p.gives(p.actor.name, p.s.RUnlock(p.actor.m))
	})
}

func (p *party) takeRWMutex(name string) bool {
	m := p.actor.m
	switch p.r.IntN(4) {
	case 0:
		if !p.has(name, func(ctx context.Context) error { return p.s.Lock(ctx, m) }) {
			return false
		}
		p.writes()
	case 1:
		if !p.has(name, func(ctx context.Context) error { return p.s.ULock(ctx, m) }) {
			return false
		}
		p.actor.upgradable()
		p.backs = append(p.backs, func() {
			p.actor.upgradable()
			p.gives(name, p.s.UUnlock(m))
		})
	default:
		if !p.has(name, func(ctx context.Context) error { return p.s.RLock(ctx, m) }) {
			return false
		}
		p.actor.read()
		if p.ordered || p.passing || p.r.IntN(2) == 0 {
			p.reads()
		} else if p.has(name, func(ctx context.Context) error { return p.s.Upgrade(ctx, m) }) {
			p.writes()
		} else {
			p.reads()
			return false
		}
	}
	return true
}

func (p *party) semaphore() *arena.Semaphore {
	return p.a.Semaphore(p.name(sceneSemaphore), sceneTickets)
}

func (p *party) takeTickets(name string) bool {
	n := 1 + p.r.IntN(2)
	var numbers []int
	took := p.has(name, func(ctx context.Context) (err error) {
		numbers, err = p.s.Acquire(ctx, p.semaphore(), n)
		return err
	})
	if took && len(numbers) != n {
		p.violated("%s in %s: asked for %d, got %v", name, p.opening.name, n, numbers)
	}
	if took {
		p.hasTickets(numbers)
	}
	return took
}

func (p *party) heldTickets() []int {
	for _, h := range p.s.Held() {
		if h.Mode == arena.OfTickets {
			return h.Tickets
		}
	}
	return nil
}

func (p *party) hasTickets(numbers []int) {
	name, desk := p.name(sceneSemaphore), &p.scene.desk
	for _, n := range numbers {
		p.entered(name, who(desk[n].Swap(uint64(p.me))))
	}
	p.backs = append(p.backs, func() {
		for _, n := range numbers {
			if was := who(desk[n].Swap(0)); was != p.me {
				p.violated("%s in %s: %v gives ticket %d back, which %v has", name, p.opening.name, p.me, n, was)
			}
		}
		p.gives(name, p.s.Release(p.semaphore(), numbers...))
	})
}

func (p *party) takeRanges(name string) bool {
	mode := arena.Shared
	if p.r.IntN(2) == 0 {
		mode = arena.Exclusive
	}
	r := p.a.Ranges(name)
	h := p.renter
	fresh := h.has == [cells]arena.Mode{}
	from, to := h.someCells()
	took := h.take(mode, from, to, func(start, length int64) bool {
		return p.has(name, func(ctx context.Context) error { return p.s.LockRange(ctx, r, mode, start, length) })
	})
	if took && fresh {
		p.backs = append(p.backs, func() {
			h.look()
			h.give(0, cells, func(int64, int64) error { return p.s.ReleaseRanges(r) })
		})
	}
	return took
}
