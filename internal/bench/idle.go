package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// What waiting costs those who wait, and being attached those who do nothing.

func idleCases(p plan) []benchCase {
	about := fmt.Sprintf("processor time over %v of waiting", p.idle)
	return []benchCase{
		{
			name: "idle-goroutines", unit: amount, of: "% of a core", rounds: 2,
			about:      fmt.Sprintf("%s: %d goroutines of one process, each blocked on a lock of its own", about, p.idlers),
			contenders: []contender{idleGoroutines(p.idlers)},
			bars:       []bar{atMost("", "amount", 0.5)},
		},
		{
			name: "idle-processes", unit: amount, of: "% of a core", rounds: 2,
			about:      fmt.Sprintf("%s: %d processes, a goroutine blocked in each", about, p.waiting),
			contenders: []contender{idleProcesses("arena", p.waiting, "block")},
			bars:       []bar{atMost("", "amount", 2)},
		},
		{
			name: "idle-attached", unit: amount, of: "% of a core", rounds: 2,
			about:      fmt.Sprintf("%s: %d processes that have used a lock and wait for nothing; beside as many that have not opened an arena", about, p.waiting),
			contenders: []contender{idleProcesses("arena", p.waiting, "attach"), idleProcesses("no arena", p.waiting, "")},
			bars:       []bar{atMost("", "amount", 0.05)},
		},
	}
}

func idleGoroutines(n int) contender {
	return contender{"arena", func(s *stage) (func() (sample, error), error) {
		_, waiter, err := s.blocked(n)
		if err != nil {
			return nil, err
		}
		return s.idle([]*child{waiter}), nil
	}}
}

// idleProcesses are processes of which each is asked to block, to attach, or
// for nothing.
func idleProcesses(name string, n int, request string) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		if request == "block" {
			holder, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
			if err != nil {
				return nil, err
			}
			if _, err := holder.ask(s.env.ctx, "hold-many %d", 1); err != nil {
				return nil, err
			}
		}
		all, err := s.crowdOf(n, func(c *child) error {
			switch request {
			case "block":
				_, err := c.ask(s.env.ctx, "block %d", 1)
				return err
			case "attach":
				_, err := c.ask(s.env.ctx, "hello")
				return err
			}
			_, err := c.ask(s.env.ctx, "init")
			return err
		})
		if err != nil {
			return nil, err
		}
		return s.idle(all), nil
	}}
}

// crowdOf starts workers and has each get ready.
func (s *stage) crowdOf(n int, ready func(*child) error) ([]*child, error) {
	var all []*child
	for range n {
		c, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	for _, c := range all {
		if err := ready(c); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// backedOff is how long those who wait are given to come to rest.
const backedOff = 3 * time.Second

// idle measures what all of them use while nothing happens. It asks nothing of
// them, for that would cost more than they use.
func (s *stage) idle(all []*child) func() (sample, error) {
	return func() (sample, error) {
		if err := s.env.pause(min(backedOff, s.env.plan.idle)); err != nil {
			return sample{}, err
		}
		sum := func() (total int64, err error) {
			for _, c := range all {
				used := timeOf(c.pid())
				if used == 0 {
					return 0, errors.New("the processor time of a worker cannot be read")
				}
				total += used
			}
			return total, nil
		}
		before, err := sum()
		if err != nil {
			return sample{}, err
		}
		began := time.Now()
		if err := s.env.pause(s.env.plan.idle); err != nil {
			return sample{}, err
		}
		took := time.Since(began)
		after, err := sum()
		return sample{amount: 100 * float64(after-before) / float64(took)}, err
	}
}

// timeOf is the processor time that a process has used, in ns, 0 if that
// cannot be told. Reading its clock does not disturb it.
func timeOf(pid int) int64 {
	const ofProcess = 2
	var t unix.Timespec
	if unix.ClockGettime(int32(^pid<<3|ofProcess), &t) != nil {
		return 0
	}
	return t.Nano()
}
