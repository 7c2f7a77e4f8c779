package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"lockd/arena"
)

// Many goroutines of one process that are blocked, each on a lock of its own
// that another process holds.

func blockedCases(p plan) []benchCase {
	few := max(p.blocked/200, 1)
	pair := func(request string) []contender {
		return []contender{
			blocked("arena", p.blocked, request), blocked(fmt.Sprintf("%d", few), few, request),
		}
	}
	about := fmt.Sprintf("%d goroutines blocked on %d locks", p.blocked, p.blocked)
	return []benchCase{
		{
			name: "blocked-wake", unit: latency, about: "with " + about + ": from the release in another process until one of them has its lock; beside few",
			contenders: pair("wake"), bars: []bar{atMost(fmt.Sprintf("%d", few), "ratio", 3)},
		},
		{
			name: "blocked-cancel", unit: latency, about: "the same, from the end of one's context until its call returns",
			contenders: pair("cancel"), bars: []bar{atMost(fmt.Sprintf("%d", few), "ratio", 3)},
		},
		{
			name: "blocked-threads", unit: amount, of: "threads", about: "of a process with " + about,
			contenders: pair("threads"), bars: []bar{atMost("", "amount", 700)},
		},
		{
			name: "blocked-memory", unit: amount, of: "bytes", about: "resident, of a process with " + about,
			contenders: pair("memory"), bars: []bar{atMost("", "amount", 200e6)},
		},
	}
}

// blocked are two processes: one holds, one is blocked.
func blocked(name string, n int, request string) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		holder, waiter, err := s.blocked(n)
		if err != nil {
			return nil, err
		}
		switch request {
		case "threads":
			return func() (sample, error) { return sample{amount: status(waiter.pid(), "Threads")}, nil }, nil
		case "memory":
			return func() (sample, error) { return sample{amount: status(waiter.pid(), "VmRSS") * 1024}, nil }, nil
		}
		return func() (sample, error) {
			one := sample{waits: &histogram{}}
			for range 10 * s.env.plan.kills {
				took, err := s.unblock(holder, waiter, rand.IntN(n), request)
				if err != nil {
					return one, err
				}
				one.waits.add(took)
			}
			return one, nil
		}, nil
	}}
}

func (s *stage) blocked(n int) (holder, waiter *child, err error) {
	if holder, err = s.worker(workerRole, s.arenaPath(), s.pagePath(), ""); err != nil {
		return nil, nil, err
	}
	if waiter, err = s.worker(workerRole, s.arenaPath(), s.pagePath(), ""); err != nil {
		return nil, nil, err
	}
	if _, err = holder.ask(s.env.ctx, "hold-many %d", n); err != nil {
		return nil, nil, err
	}
	if _, err = waiter.ask(s.env.ctx, "block %d", n); err != nil {
		return nil, nil, err
	}
	return holder, waiter, s.asleep(waiter, n)
}

// asleep waits until all who block are asleep: a process that uses next to no
// time in a while has nobody left who is on the way.
func (s *stage) asleep(c *child, n int) error {
	for deadline := time.Now().Add(patience); ; {
		before := timeOf(c.pid())
		if err := s.env.pause(500 * time.Millisecond); err != nil {
			return err
		}
		if used := timeOf(c.pid()) - before; used < int64(10*time.Millisecond) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d goroutines are not asleep after %v", n, patience)
		}
	}
}

// unblock wakes or cancels one of those who are blocked, and blocks it again.
func (s *stage) unblock(holder, waiter *child, i int, request string) (int64, error) {
	defer s.env.pause(time.Millisecond) // it goes to sleep again
	if request == "cancel" {
		r, err := waiter.ask(s.env.ctx, "cancel-one %d", i)
		return r.At, err
	}
	released, err := holder.ask(s.env.ctx, "release-one %d", i)
	if err != nil {
		return 0, err
	}
	got, err := waiter.ask(s.env.ctx, "await-one %d", i)
	if err != nil {
		return 0, err
	}
	if _, err := holder.ask(s.env.ctx, "hold-one %d", i); err != nil {
		return 0, err
	}
	_, err = waiter.ask(s.env.ctx, "block-one %d", i)
	return max(got.At-released.At, 1), err
}

// sleeper is one goroutine that is blocked, or is to block again.
type sleeper struct {
	m      *arena.Mutex
	cancel context.CancelFunc
	ended  chan int64 // when its call returned, after it gave the lock back
	again  chan struct{}
}

func (x *sleeper) run(failed *atomic.Pointer[error]) {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		x.cancel = cancel
		x.again <- struct{}{}
		err := x.m.LockContext(ctx)
		at := now()
		switch {
		case err == nil:
			x.m.Unlock()
		case !errors.Is(err, context.Canceled):
			failed.Store(&err)
		}
		x.ended <- at
		<-x.again
	}
}

func sharedName(i int) string { return fmt.Sprintf("blocked-%d", i) }

func init() {
	held := make(map[int64]*arena.Mutex)
	requests["hold-many"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		for i := range args[0] {
			held[i] = a.Mutex(sharedName(int(i)))
			held[i].Lock()
		}
		return reply{Say: "held"}, nil
	}
	requests["release-one"] = func(_ *worker, args []int64) (reply, error) {
		r := reply{At: now()}
		held[args[0]].Unlock()
		return r, nil
	}
	requests["hold-one"] = func(_ *worker, args []int64) (reply, error) {
		held[args[0]].Lock()
		return reply{Say: "held"}, nil
	}

	var sleepers []*sleeper
	var failed atomic.Pointer[error]
	problem := func() error {
		if err := failed.Load(); err != nil {
			return *err
		}
		return nil
	}
	requests["block"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		var all sync.WaitGroup
		for i := range args[0] {
			x := &sleeper{m: a.Mutex(sharedName(int(i))), ended: make(chan int64, 1), again: make(chan struct{})}
			sleepers = append(sleepers, x)
			go x.run(&failed)
			all.Go(func() { <-x.again })
		}
		all.Wait()
		return reply{Say: "blocked"}, nil
	}
	requests["await-one"] = func(_ *worker, args []int64) (reply, error) {
		return reply{At: <-sleepers[args[0]].ended}, problem()
	}
	requests["block-one"] = func(_ *worker, args []int64) (reply, error) {
		x := sleepers[args[0]]
		x.again <- struct{}{}
		<-x.again
		return reply{Say: "blocked"}, problem()
	}
	requests["cancel-one"] = func(_ *worker, args []int64) (reply, error) {
		x := sleepers[args[0]]
		began := now()
		x.cancel()
		took := <-x.ended - began
		x.again <- struct{}{}
		<-x.again
		return reply{At: max(took, 1)}, problem()
	}
}
