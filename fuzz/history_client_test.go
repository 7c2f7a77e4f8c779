package fuzz

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"lockd/arena"
	"lockd/futex"
	"lockd/internal/proc"
)

// historyTickets is the size of the semaphore at first, and mostHistoryTickets
// what it may be made.
const (
	historyTickets     = 3
	mostHistoryTickets = 5
)

func init() {
	// historian: arena, log, number of the process, kind
	roles["historian"] = func(args []string) {
		a, err := arena.Open(args[0], &arena.Options{Logger: quiet, Label: "historian"})
		if err != nil {
			proc.Say("open: %v", err)
			os.Exit(1)
		}
		log, _, err := openHistory(args[1])
		if err != nil {
			proc.Say("log: %v", err)
			os.Exit(1)
		}
		number, _ := strconv.Atoi(args[2])
		turn := historyKinds[args[3]].turn
		proc.Say("ready")
		proc.Hear()
		var all sync.WaitGroup
		for g := range goroutinesOfEach {
			all.Go(func() {
				c := &historian{
					recorder: recorder{log: &log.clients[number*goroutinesOfEach+g]},
					a:        a, r: rand.New(rand.NewPCG(rand.Uint64(), 0)), number: g,
				}
				for !c.full() {
					turn(c)
				}
			})
		}
		all.Wait()
		proc.Say("done")
		proc.Hear()
	}
}

type historian struct {
	recorder
	a      *arena.Arena
	r      *rand.Rand
	number int // among the goroutines of its process
}

// fence draws a number at times.
func (c *historian) fence(draw func() (uint64, error)) {
	if c.r.IntN(2) == 0 {
		return
	}
	c.record(opFence, 0, func(e *loggedEvent) {
		var err error
		e.fence, err = draw()
		e.done = err == nil
	})
}

func (c *historian) pause() {
	switch n := c.r.IntN(16); {
	case n == 0:
		time.Sleep(time.Duration(c.r.IntN(300)) * time.Microsecond)
	case n < 8:
		futex.Pause(uint32(c.r.IntN(1000)))
	}
}

// wait is a context that ends soon, or only if something is badly wrong.
func (c *historian) wait() (context.Context, context.CancelFunc) {
	d := proc.Soon
	if c.r.IntN(4) == 0 {
		d = time.Duration(c.r.IntN(500)) * time.Microsecond
	}
	return context.WithTimeout(context.Background(), d)
}

func (c *historian) mutexTurn() {
	m := c.a.Mutex("history")
	var e *loggedEvent
	if c.r.IntN(3) == 0 {
		e = c.record(opTryLock, 0, func(e *loggedEvent) {
			if e.done = m.TryLock(); e.done {
				_, e.told = m.Abandoned()
			}
		})
	} else {
		ctx, cancel := c.wait()
		defer cancel()
		e = c.record(opLock, 0, func(e *loggedEvent) {
			if e.done = m.LockContext(ctx) == nil; e.done {
				_, e.told = m.Abandoned()
			}
		})
	}
	c.pause()
	if !e.done {
		return
	}
	c.fence(m.Fence)
	if e.told && c.r.IntN(2) == 0 {
		c.record(opMark, 0, func(e *loggedEvent) { e.done = m.MarkConsistent() == nil })
	}
	c.record(opUnlock, 0, func(e *loggedEvent) { e.done = m.Release() == nil })
	c.pause()
}

func (c *historian) rwmutexTurn() {
	m := c.a.RWMutex("history")
	ctx, cancel := c.wait()
	defer cancel()
	took := func(what operation, f func() bool) bool {
		e := c.record(what, 0, func(e *loggedEvent) {
			if e.done = f(); e.done {
				_, e.told = m.Abandoned()
			}
		})
		c.pause()
		return e.done
	}
	gives := func(what operation, f func() error) {
		c.record(what, 0, func(e *loggedEvent) { e.done = f() == nil })
		c.pause()
	}
	within := func(f func(context.Context) error) func() bool {
		return func() bool { return f(ctx) == nil }
	}
	switch c.r.IntN(8) {
	case 0, 1:
		if took(opRLock, within(m.RLockContext)) {
			gives(opRUnlock, m.RRelease)
		}
	case 2:
		if took(opTryRLock, m.TryRLock) {
			gives(opRUnlock, m.RRelease)
		}
	case 3:
		if took(opLock, within(m.LockContext)) {
			c.fence(m.Fence)
			if c.r.IntN(2) == 0 {
				gives(opMark, m.MarkConsistent)
			}
			gives(opUnlock, m.Release)
		}
	case 4:
		if took(opLock, within(m.LockContext)) {
			gives(opDowngrade, func() error { return panics(m.Downgrade) })
			gives(opRUnlock, m.RRelease)
		}
	case 5:
		if took(opULock, within(m.ULockContext)) {
			if took(opUpgrade, within(m.Upgrade)) {
				gives(opDowngradeToU, func() error { return panics(m.DowngradeToU) })
			}
			gives(opUUnlock, m.URelease)
		}
	case 6:
		if took(opULock, within(m.ULockContext)) {
			gives(opUDowngrade, func() error { return panics(m.UDowngrade) })
			gives(opRUnlock, m.RRelease)
		}
	case 7:
		if took(opRLock, within(m.RLockContext)) {
			if took(opTryUpgrade, m.TryUpgrade) {
				gives(opUnlock, m.Release)
			} else {
				gives(opRUnlock, m.RRelease)
			}
		}
	}
}

func (c *historian) semaphoreTurn() {
	s := c.a.Semaphore("history", 0)
	if c.r.IntN(12) == 0 {
		n := 1 + c.r.IntN(mostHistoryTickets)
		c.record(opResize, n, func(e *loggedEvent) { e.done = s.Resize(n) == nil })
		return
	}
	var t arena.Tickets
	n := 1 + c.r.IntN(2)
	e := c.record(opAcquire, n, func(e *loggedEvent) {
		if c.r.IntN(3) == 0 {
			t, e.done = s.TryAcquire(n)
		} else {
			ctx, cancel := c.wait()
			defer cancel()
			var err error
			t, err = s.Acquire(ctx, n)
			e.done = err == nil
		}
		if e.done {
			e.tickets = bitsOf(t.Numbers())
		}
	})
	c.pause()
	if !e.done {
		return
	}
	if numbers := t.Numbers(); n == 2 && c.r.IntN(2) == 0 {
		c.record(opRelease, 0, func(e *loggedEvent) {
			e.tickets = bitsOf(numbers[:1])
			e.done = t.ReleaseSome(numbers[0]) == nil
		})
	}
	c.record(opRelease, 0, func(e *loggedEvent) {
		e.tickets = bitsOf(t.Numbers())
		e.done = t.Release() == nil
	})
	c.pause()
}

func bitsOf(numbers []int) (bits uint32) {
	for _, n := range numbers {
		bits |= 1 << n
	}
	return bits
}
