package arena

import (
	"context"
	"errors"
	"runtime"
)

func takeTickets(p *performer, n int) {
	ctx, cancel := soon()
	defer cancel()
	var err error
	p.tickets, err = p.a.Semaphore("sem", 0).Acquire(ctx, n)
	must(err)
}

func giveTickets(p *performer) { must(p.tickets.Release()) }

func holdAllTickets(p *performer) func() {
	takeTickets(p, stageTickets)
	return func() { giveTickets(p) }
}

func passTickets(n int) func(*performer) {
	return func(p *performer) {
		takeTickets(p, n)
		giveTickets(p)
	}
}

func giveUp(err error) {
	if err != nil && !errors.Is(err, ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrSize) && !errors.Is(err, ErrDestroyed) {
		panic(err)
	}
}

func resize(p *performer, n int) { giveUp(p.a.Semaphore("sem", 0).Resize(n)) }

// passAny is for rivals while the size changes.
func passAny(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	t, err := p.a.Semaphore("sem", 0).AcquirePatiently(ctx, 2)
	giveUp(err)
	if err == nil {
		must(t.Release())
	}
}

func fleeting(p *performer) *Semaphore { return p.a.Semaphore("fleeting", 7) }

// make makes the semaphore that is going to be destroyed, unless it is there.
func makeFleeting(p *performer) {
	_, err := fleeting(p).Tickets()
	giveUp(err)
}

func destroyFleeting(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	if err := p.a.Semaphore("fleeting", 0).Destroy(ctx); !errors.Is(err, ErrNoSemaphore) {
		giveUp(err)
	}
}

func holdFleeting(p *performer) func() {
	ctx, cancel := soon()
	defer cancel()
	// The last ones, so that closing them comes to these last.
	all, err := fleeting(p).Acquire(ctx, 7)
	must(err)
	must(all.ReleaseSome(0, 1, 2, 3, 4))
	return func() { must(all.Release()) }
}

func waitForFleeting(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	t, err := p.a.Semaphore("fleeting", 0).Acquire(ctx, 6)
	if !errors.Is(err, ErrNoSemaphore) {
		giveUp(err)
	}
	if err == nil {
		must(t.Release())
	}
}

var ticketOperations = []operation{
	{name: "take a ticket", work: func(p *performer) { takeTickets(p, 1) }, after: giveTickets},
	{
		name: "take a ticket again", before: passTickets(1),
		work: func(p *performer) {
			// By a handle that has been used: without the latch.
			s := p.a.Semaphore("sem", 0)
			for range 2 {
				t, ok := s.TryAcquire(1)
				if ok {
					must(t.Release())
				}
			}
		},
	},
	{name: "take several tickets", work: func(p *performer) { takeTickets(p, 3) }, after: giveTickets},
	{
		name: "wait for tickets", hold: holdAllTickets, wait: passTickets(2), rival: passTickets(2),
		work: func(p *performer) { takeTickets(p, 3) }, after: giveTickets,
	},
	{
		name: "give up waiting for tickets", hold: holdAllTickets, wait: passTickets(1), rival: passTickets(2),
		work: func(p *performer) {
			ctx, cancel := briefly()
			defer cancel()
			var err error
			p.tickets, err = p.a.Semaphore("sem", 0).Acquire(ctx, 3)
			giveUp(err)
			p.ok = err == nil
		},
		after: func(p *performer) {
			if p.ok {
				giveTickets(p)
			}
		},
	},
	{
		name: "give tickets back", before: func(p *performer) { takeTickets(p, stageTickets) }, wait: passTickets(1), rival: passTickets(2),
		work: giveTickets,
	},
	{
		name: "give a ticket back", before: func(p *performer) {
			takeTickets(p, 3)
			rest := p.tickets
			s := p.a.Semaphore("sem", 0)
			s.Tickets()
			p.tickets, p.ok = s.TryAcquire(1)
			over := p.done()
			p.aside(func() { <-over; rest.Release() })
		}, wait: passTickets(2), lonely: true,
		work: func(p *performer) {
			if p.ok {
				giveTickets(p)
			}
			p.finish()
		},
	},
	{
		name: "give some tickets back", before: func(p *performer) { takeTickets(p, stageTickets) }, wait: passTickets(2), rival: passTickets(2),
		work:  func(p *performer) { must(p.tickets.ReleaseSome(p.tickets.Numbers()[0])) },
		after: giveTickets,
	},
	{
		name: "resize", rival: passAny, work: func(p *performer) { resize(p, 12); resize(p, 3) },
		after: func(p *performer) { resize(p, stageTickets) },
	},
	{
		name: "resize for those who wait", before: func(p *performer) { takeTickets(p, stageTickets) },
		wait: passTickets(2), lonely: true,
		work: func(p *performer) { resize(p, 11) }, after: func(p *performer) { giveTickets(p); resize(p, stageTickets) },
	},
	{
		name: "resize and wait", hold: func(p *performer) func() {
			resize(p, stageTickets)
			return holdAllTickets(p)
		}, lonely: true,
		work: func(p *performer) {
			ctx, cancel := soon()
			defer cancel()
			giveUp(p.a.Semaphore("sem", 0).ResizeWait(ctx, 2))
		},
		after: func(p *performer) { resize(p, stageTickets) },
	},
	{name: "make a semaphore", work: makeFleeting, rival: func(p *performer) { makeFleeting(p); destroyFleeting(p) }},
	{name: "destroy a semaphore", before: makeFleeting, work: destroyFleeting},
	{
		name: "destroy a semaphore in use", hold: holdFleeting, wait: waitForFleeting, lonely: true,
		work: destroyFleeting,
	},
	{
		name: "give up destroying", hold: holdFleeting, wait: waitForFleeting, lonely: true,
		work: func(p *performer) {
			ctx, cancel := briefly()
			defer cancel()
			giveUp(p.a.Semaphore("fleeting", 0).Destroy(ctx))
		},
	},
	{
		name: "give tickets to its own", lonely: true, before: func(p *performer) {
			takeTickets(p, stageTickets)
			s := p.a.Semaphore("sem", 0)
			s.Tickets()
			for range 2 {
				q := p.another()
				p.aside(func() { passTickets(2)(q) })
			}
			for queuedFor(s) < 2 {
				runtime.Gosched()
			}
		},
		work: func(p *performer) {
			giveTickets(p)
			p.others.Wait()
		},
	},
	{name: "mend a cut destruction", first: []string{"destroy a semaphore@end.ended:1"}, lonely: true, work: makeFleeting},
	{name: "mend a cut growth", first: []string{"resize@extend.made:1"}, work: func(p *performer) { takeTickets(p, 3) }, after: giveTickets},
	{name: "mend a damaged chain", lonely: true, before: func(p *performer) {
		s := p.a.Semaphore("sem", 0)
		must(s.Resize(12))
		b := p.bound(&s.handle)
		p.core().ticketsAt(b.slot.records.Load(), b.index, 0).next.Store(0)
	}, work: func(p *performer) {
		s := p.a.Semaphore("sem", 0)
		ctx, cancel := soon()
		defer cancel()
		t, err := s.Acquire(ctx, 11)
		must(err)
		must(t.Release())
		must(s.Resize(stageTickets))
	}},
	{name: "overtake and undo", lonely: true},
	{name: "look while the latch is held", lonely: true},
	{name: "give while a newcomer takes", lonely: true},
	{name: "take while a newcomer takes", lonely: true},
	{name: "reap one who waits ahead", lonely: true},
	{name: "reap a holder", lonely: true},
}
