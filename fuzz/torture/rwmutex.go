package main

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"lockd/arena"
)

var rwmutexKind = kind{
	name: "rwmutex", weight: 4, ledger: unsafe.Sizeof([rwmutexes]stage{}), turn: rwmutexTurn,
	sit: func(part unsafe.Pointer, w who) {
		for i := range (*[rwmutexes]stage)(part) {
			(*[rwmutexes]stage)(part)[i].places[w.seat()].sit(w)
		}
	},
}

const rwmutexes = 2

// stage is who is inside a readers-writer lock, and how; each seat has a place
// of its own. The numbers are a writer's, and the same when no writer is inside.
type stage struct {
	places        [maxSeats]place
	first, second uint64
	last          atomic.Uint64 // who wrote last, or is about to
	_             [40]byte
}

type place struct {
	who                         atomic.Uint64
	readers, upgraders, writers atomic.Int32
	_                           [44]byte
}

func (p *place) sit(w who) {
	p.readers.Store(0)
	p.upgraders.Store(0)
	p.writers.Store(0)
	p.who.Store(uint64(w))
}

// actor is one goroutine's use of a readers-writer lock.
type actor struct {
	*turn
	name  string
	m     *arena.RWMutex
	stage *stage
	me    *place
}

func (a actor) inside() (readers, upgraders, writers int32) {
	for i := range a.stage.places {
		p := &a.stage.places[i]
		r, u, w := p.readers.Load(), p.upgraders.Load(), p.writers.Load()
		if r|u|w != 0 && (p == a.me || !who(p.who.Load()).isDead(a.board)) {
			readers, upgraders, writers = readers+r, upgraders+u, writers+w
		}
	}
	return readers, upgraders, writers
}

func (a actor) must(rightly bool, how string, r, u, w int32) {
	if !rightly {
		a.violated("%s in %s: %s %v beside %d readers, %d upgradable, %d writers", a.name, a.opening.name, how, a.turn.me, r, u, w)
	}
}

func (a actor) read() {
	a.beginReading()
	a.dwell()
	a.me.readers.Add(-1)
}

func (a actor) beginReading() {
	a.me.readers.Add(1)
	a.reading()
}

func (a actor) reading() {
	r, u, w := a.inside()
	a.must(w == 0, "reader", r, u, w)
	if first, second := a.stage.first, a.stage.second; first != second {
		if _, told := a.m.Abandoned(); !told {
			a.violated("%s in %s: reader %v found %d and %d, and was not told (passing: %v)", a.name, a.opening.name, a.turn.me, first, second, a.passing)
		}
	}
}

func (a actor) upgradable() {
	a.me.upgraders.Add(1)
	r, u, w := a.inside()
	a.must(w == 0 && u == 1, "upgradable", r, u, w)
	a.dwell()
	a.me.upgraders.Add(-1)
}

func (a actor) write() {
	a.beginWriting()
	a.dwell()
	a.endWriting()
}

func (a actor) beginWriting() {
	a.me.writers.Add(1)
	before := who(a.stage.last.Swap(uint64(a.turn.me)))
	_, told := a.m.Abandoned()
	if a.entered(a.name, before) && !told {
		a.violated("%s in %s: %v was not told that %v died", a.name, a.opening.name, a.turn.me, before)
	}
	if a.stage.first != a.stage.second && !told {
		a.violated("%s in %s: writer %v found %d and %d, and was not told", a.name, a.opening.name, a.turn.me, a.stage.first, a.stage.second)
	}
	a.stage.second = a.stage.first
	if told {
		if err := a.m.MarkConsistent(); err != nil {
			a.violated("%s in %s: %v", a.name, a.opening.name, err)
		}
	}
	a.stage.first++
	r, u, w := a.inside()
	a.must(r == 0 && u == 0 && w == 1, "writer", r, u, w)
}

func (a actor) endWriting() {
	r, u, w := a.inside()
	a.must(r == 0 && u == 0 && w == 1, "writer", r, u, w)
	a.stage.second++
	a.stage.last.Store(0)
	a.me.writers.Add(-1)
}

func (a actor) end(err error) {
	if err != nil {
		a.violated("%s in %s: %v", a.name, a.opening.name, err)
	}
}

func rwmutexTurn(t *turn) {
	i := t.r.IntN(rwmutexes)
	a := actor{turn: t, name: fmt.Sprintf("rwmutex %d", i), stage: &(*[rwmutexes]stage)(t.part)[i]}
	a.me = &a.stage.places[t.seat]
	a.m = t.a.RWMutex(a.name)
	try := t.attempt()
	defer try.end()
	switch t.r.IntN(10) {
	case 0, 1, 2, 3:
		if !t.failed(a.name, try, a.m.RLockContext(try)) {
			a.read()
			a.end(a.m.RRelease())
		}
	case 4:
		if !t.failed(a.name, try, a.m.LockContext(try)) {
			a.write()
			a.end(a.m.Release())
		}
	case 5:
		a.upgrade(try)
	case 6:
		a.downgrade(try)
	case 7:
		if !t.failed(a.name, try, a.m.RLockContext(try)) {
			a.read()
			if !a.passing && a.m.TryUpgrade() {
				a.write()
				a.end(a.m.Release())
				return
			}
			a.read()
			a.end(a.m.RRelease())
		}
	case 8:
		if a.m.TryLock() {
			a.write()
			a.end(a.m.Release())
		}
	case 9:
		if a.m.TryRLock() {
			a.read()
			a.end(a.m.RRelease())
		}
	}
}

func (a actor) upgrade(try attempt) {
	if a.failed(a.name, try, a.m.ULockContext(try)) {
		return
	}
	a.upgradable()
	if a.r.IntN(2) == 0 && !a.failed(a.name, try, a.m.Upgrade(try)) {
		a.write()
		a.end(a.m.Release())
		return
	}
	a.upgradable()
	a.end(a.m.URelease())
}

// downgrade goes from writer to reader, at times by way of upgradable. Through
// an opening that is closed meanwhile that is misuse.
func (a actor) downgrade(try attempt) {
	if a.failed(a.name, try, a.m.LockContext(try)) {
		return
	}
	a.write()
	if a.passing {
		a.end(a.m.Release())
		return
	}
	if a.r.IntN(2) == 0 {
		a.m.DowngradeToU()
		a.upgradable()
		a.m.UDowngrade()
	} else {
		a.m.Downgrade()
	}
	a.read()
	a.end(a.m.RRelease())
}
