package arena

import (
	"context"
	"errors"
	"fmt"

	"lockd/robust"
)

func insertSome(n int) func(*performer) {
	return func(p *performer) {
		for i := range n {
			p.pass(fmt.Sprint("new", i))
			p.pass(longName(1 + i))
		}
	}
}

// latchAll takes every stripe's latch, and has its chains brought up to date.
func latchAll(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	for n := range uint64(stripeCount) {
		l, err := p.core().latchStripe(ctx, n)
		must(err)
		l.whole = true
		l.end()
	}
}

// evictNamed takes an idle lock out of the table.
func evictNamed(p *performer, b *binding) {
	if evicted, _ := p.core().evict(b.index, b.slot, slotLife(b.slot.life.Load())); evicted {
		p.core().unclaim(b.index)
	}
}

func (p *performer) bound(h *handle) *binding {
	ctx, cancel := soon()
	defer cancel()
	for p.core().stale(h.binding()) {
		must(h.bind(ctx, h.binding()))
	}
	return h.binding()
}

// holdEverything holds something of each kind, and waits for nothing.
func holdEverything(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	p.lock("m0")
	p.lock(longName(0))
	p.now("wants", "x")
	must(p.a.RWMutex("x").LockContext(ctx))
	p.now("has", "x")
	must(p.a.RWMutex("fresh").RLockContext(ctx))
	var err error
	p.tickets, err = p.a.Semaphore("sem", 0).Acquire(ctx, 2)
	must(err)
	p.ranges = p.a.Ranges(stageSections)
	must(p.ranges.Lock(ctx, Exclusive, 10, 20))
	p.session = p.a.Session("held")
	must(p.session.Lock(ctx, p.a.Mutex("m1")))
}

var tableOperations = []operation{
	{name: "create", image: "none", opens: true, lonely: true, work: openOnce, after: closeOnce, table: true},
	{name: "create where files need names", image: "none", opens: true, lonely: true, work: openOnce, after: closeOnce, off: "o_tmpfile", leaves: true},
	{name: "attach", opens: true, work: openOnce, after: closeOnce},
	{name: "attach and let it grow", opens: true, work: func(p *performer) {
		p.slots = 8 * segmentSlots
		p.open()
	}, after: closeOnce, lonely: true},
	{name: "take an arena of an earlier boot away", image: "booted", opens: true, work: openOnce, after: closeOnce, lonely: true},
	{name: "remove", opens: true, lonely: true, work: func(p *performer) {
		if err := Remove(p.path); err != nil && !errors.Is(err, ErrInUse) && !errors.Is(err, ErrNotExist) {
			panic(err)
		}
	}},
	{
		name: "close", before: holdEverything, closes: true, lonely: true, vague: true, wait: func(p *performer) {
			p.pass("m0")
			ctx, cancel := soon()
			defer cancel()
			must(p.a.RWMutex("x").RLockContext(ctx))
			must(p.a.RWMutex("x").RRelease())
			takeTickets(p, stageTickets)
			giveTickets(p)
		},
		work: closeHolding,
	},
	{name: "close with claimed records", closes: true, lonely: true, vague: true, before: claimAllButOne, work: closeHolding},
	{name: "leave to heirs", opens: true, lonely: true, vague: true, work: func(p *performer) {
		a := reopen(p.path, &Options{ByteOnly: true, MaxLocks: p.slots - 1, Logger: quiet})
		a.Mutex("m0").Lock()
		must(a.LeaveInherited())
	}},
	{name: "insert", work: insertSome(3), table: true},
	{name: "insert where names are evicted", image: "full", work: insertSome(3), table: true},
	{name: "insert where the table grows", image: "full", slots: 2 * segmentSlots, work: insertSome(8), table: true},
	{name: "insert what another has inserted", lonely: true, table: true},
	{name: "rebuild", first: []string{"insert@insert.live:1", "insert@insert.pointed:2", "insert@insert.linked:4"}, work: latchAll, table: true},
	{
		name: "rebuild after a cut eviction", image: "full", first: []string{"insert where names are evicted@evict.word:1", "insert where names are evicted@evict.unlinked:3"},
		work: latchAll, table: true,
	},
	{name: "rebuild after a cut robbery", first: []string{"rob@rob.aged:1"}, work: latchAll, table: true, vague: true},
	{
		name: "wait for a latch", lonely: true, hold: func(p *performer) func() {
			l, err := p.core().latchStripe(context.Background(), 5)
			must(err)
			return func() { l.whole = true; l.end() }
		},
		work: latchAll, table: true,
	},
	{name: "evict what seems to be waited for", lonely: true, table: true, vague: true, work: func(p *performer) {
		b := p.bound(&p.a.Mutex("m1").handle)
		free := robust.Free(b.generation)
		b.slot.word.CompareAndSwap(uint64(free), uint64(free|robust.Waiters))
		p.core().calm(b.slot, slotLife(b.slot.life.Load()))
		evictNamed(p, b)
	}},
	{name: "claim the last record", lonely: true, before: claimAllButOne, work: func(p *performer) {
		claimed, err := p.core().claimRecords(context.Background(), 1)
		must(err)
		p.core().unclaimRecords(claimed)
	}, after: unclaimAll},
	{
		name: "settle",
		first: []string{
			"close", "insert@insert.claimed:1", "insert@insert.generation:2",
			"take several tickets@semaphore.taken:1", "wait for tickets@enqueue.wanted:1", "write@exclude.drained:1",
			"lock a range@range.owned:1", "hold in a session",
		},
		work: settle, table: true, vague: true,
	},
	{name: "settle one who was joining", first: []string{"attach@join.joining:1"}, work: settle, table: true},
	{name: "settle a latch", first: []string{"rebuild@latch.held:3"}, work: settle, table: true},
	{name: "settle a loose cell", first: []string{"evict an rwmutex@retire.unlinked:1"}, work: settle, table: true},
}

func settle(p *performer) { p.core().settleDead() }

func openOnce(p *performer) { p.open() }

func closeOnce(p *performer) {
	must(p.a.Close())
	p.a = nil
}

func closeHolding(p *performer) {
	p.now("wants", "m0")
	if err := p.a.Close(); err != nil && !errors.Is(err, ErrWasHeld) {
		panic(err)
	}
	p.a = nil
}

func claimAllButOne(p *performer) {
	c := p.core()
	c.settleDead() // who may have claimed all
	for c.claimRecord(recordClaimed) != 0 || c.claimAnyRecord(recordClaimed) != 0 {
	}
	// One that the hand comes to last.
	for i := uint32(1); ; i++ {
		if r := c.recordAt((c.head.recordHand.Load() - i) % (c.segments() * segmentRecords)); r != nil && r.owner.CompareAndSwap(recordOwner(c.member, recordClaimed), 0) {
			return
		}
	}
}

func unclaimAll(p *performer) {
	c := p.core()
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		c.recordAt(i).owner.CompareAndSwap(recordOwner(c.member, recordClaimed), 0)
	}
}
