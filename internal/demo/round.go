package main

import (
	"context"
	"fmt"
	"time"
)

// round lets a crew work on a table until enough is done and all who are to
// be killed have been.
type round struct {
	dir        string
	table      string // its name in dir
	arena      string // empty: without a lock
	halts      []int
	operations int
	progress   *progress
	// halted, if set, is called while m is half-way and everybody else waits;
	// then m is killed.
	halted func(ctx context.Context, m *member, killed, waiting int) error
}

func (r *round) run(ctx context.Context) (*ledger, error) {
	c, err := startCrew(r.dir, r.table, r.arena, r.halts)
	if err != nil {
		return nil, err
	}
	defer c.end()
	for ready := 0; ready < len(c.members); ready++ {
		if _, err := c.next(ctx); err != nil {
			return nil, err
		}
		r.progress.show("%d of %d processes started", ready+1, len(c.members))
	}
	if err := c.begin(); err != nil {
		return nil, err
	}
	return r.watch(ctx, c)
}

func (r *round) watch(ctx context.Context, c *crew) (*ledger, error) {
	l := newLedger()
	victims := 0
	for _, halt := range r.halts {
		if halt > 0 {
			victims++
		}
	}
	var halfWay *member
	for finishing := false; !c.allGone(); {
		e, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		if e.Say == sayHalfWay {
			halfWay = e.from
			l.kills = append(l.kills, kill{pid: e.from.pid(), worker: e.Worker, change: e.Change})
		}
		l.enter(e.report)
		if halfWay != nil && c.allWait(halfWay) {
			if err := r.halted(ctx, halfWay, len(l.kills), c.waiting()); err != nil {
				return nil, err
			}
			l.kills[len(l.kills)-1].when = time.Now()
			if err := halfWay.kill(); err != nil {
				return nil, fmt.Errorf("cannot kill pid %d: %w", halfWay.pid(), err)
			}
			halfWay = nil
		}
		r.progress.work(l.operations, r.operations, len(l.heirs), victims)
		// Somebody is left to inherit: they are asked to finish only when the
		// last heir has been told.
		if !finishing && l.operations >= r.operations && len(l.heirs) >= victims {
			finishing = true
			c.finish()
		}
	}
	r.progress.reset()
	return l, nil
}
