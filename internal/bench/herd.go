package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

// Many processes that are killed at once: until nothing of them is left in the
// arena, and what that costs those who live.

func herdCases(p plan) []benchCase {
	return []benchCase{{
		name: "settle-herd", unit: latency, rounds: 3,
		about: fmt.Sprintf("%d processes attached, each holding a lock; from kill -9 of all but two, which wait for two of them, until all are settled; "+
			"beside: until as many that have no arena are gone; cpu: of the two", p.herd),
		contenders: []contender{
			{"arena", func(s *stage) (func() (sample, error), error) { return s.herd(p.herd) }},
			{"kill alone", func(s *stage) (func() (sample, error), error) { return s.killAlone(p.herd) }},
		},
		bars: []bar{atMost("", "max", 1e9)},
	}, {
		name: "settle-heirs", unit: amount, of: "ms", rounds: 3,
		about: fmt.Sprintf("processor time of %d processes that wait for one lock, within a second of the death of its owner", p.herd-1),
		contenders: []contender{
			{"arena", func(s *stage) (func() (sample, error), error) { return s.heirs(p.herd - 1) }},
		},
	}}
}

// heirs all wait for the lock of one that dies, and keep it for a while.
func (s *stage) heirs(n int) (func() (sample, error), error) {
	waiting, err := s.crowdOf(n, func(c *child) error { _, err := c.ask(s.env.ctx, "hello"); return err })
	if err != nil {
		return nil, err
	}
	return func() (sample, error) {
		owner, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
		if err != nil {
			return sample{}, err
		}
		if _, err := owner.ask(s.env.ctx, "hold-number 0"); err != nil {
			return sample{}, err
		}
		for _, c := range waiting {
			c.send("wait-number 0 %d", s.env.plan.idle/10)
		}
		if err := s.asleep(waiting[0], 1); err != nil {
			return sample{}, err
		}
		if err := s.env.pause(s.env.plan.idle / 5); err != nil {
			return sample{}, err
		}
		used := -timesOf(waiting)
		kill([]*child{owner})
		if err := s.env.pause(s.env.plan.idle / 10); err != nil {
			return sample{}, err
		}
		used += timesOf(waiting)
		s.drop(owner)
		for _, c := range waiting {
			if _, err := c.hear(s.env.ctx); err != nil {
				return sample{}, err
			}
		}
		return sample{amount: float64(used) / 1e6}, nil
	}, nil
}

// survivors of a herd each wait for a lock of one that dies.
const survivors = 2

func (s *stage) herd(n int) (func() (sample, error), error) {
	waiting, err := s.crowdOf(survivors, func(c *child) error { _, err := c.ask(s.env.ctx, "hello"); return err })
	if err != nil {
		return nil, err
	}
	return func() (sample, error) {
		number := 0
		doomed, err := s.crowdOf(n-survivors, func(c *child) error {
			_, err := c.ask(s.env.ctx, "hold-number %d", number)
			number++
			return err
		})
		if err != nil {
			return sample{}, err
		}
		defer func() {
			for _, c := range doomed {
				s.drop(c)
			}
		}()
		for i, c := range waiting {
			c.send("wait-number %d", i)
		}
		if err := s.env.pause(10 * asleep); err != nil {
			return sample{}, err
		}
		used := -timesOf(waiting)
		began := now()
		kill(doomed)
		if err := s.attached(survivors); err != nil {
			return sample{}, err
		}
		took := now() - began
		for _, c := range waiting {
			r, err := c.hear(s.env.ctx)
			if err != nil {
				return sample{}, err
			}
			if r.Dead == 0 {
				return sample{}, fmt.Errorf("the heir was not told of the death")
			}
		}
		one := sample{waits: &histogram{}, cpu: float64(used + timesOf(waiting))}
		one.waits.add(took)
		return one, nil
	}, nil
}

func (s *stage) killAlone(n int) (func() (sample, error), error) {
	return func() (sample, error) {
		doomed, err := s.crowdOf(n-survivors, func(c *child) error { _, err := c.ask(s.env.ctx, "init"); return err })
		if err != nil {
			return sample{}, err
		}
		began := now()
		kill(doomed)
		for _, c := range doomed {
			<-c.ended
		}
		one := sample{waits: &histogram{}}
		one.waits.add(now() - began)
		for _, c := range doomed {
			s.drop(c)
		}
		return one, nil
	}, nil
}

func kill(all []*child) {
	for _, c := range all {
		unix.Kill(c.pid(), unix.SIGKILL)
	}
}

func timesOf(all []*child) (total int64) {
	for _, c := range all {
		total += timeOf(c.pid())
	}
	return total
}

// attached waits until so many processes are attached, as the file says. It
// judges nobody, and disturbs nobody more than by reading.
func (s *stage) attached(n int) error {
	for deadline := time.Now().Add(patience); ; {
		image, err := os.ReadFile(s.arenaPath())
		if err != nil {
			return err
		}
		seen, err := arena.Decode(image)
		if err != nil {
			return err
		}
		if len(seen.Members) == n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes are attached, not %d: %w", len(seen.Members), n, errSilent)
		}
		if err := s.env.pause(2 * time.Millisecond); err != nil {
			return err
		}
	}
}

func numberedName(n int64) string { return fmt.Sprintf("numbered-%d", n) }

func init() {
	requests["hold-number"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err == nil {
			a.Mutex(numberedName(args[0])).Lock()
		}
		return reply{Say: "held"}, err
	}
	requests["wait-number"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		m := a.Mutex(numberedName(args[0]))
		m.Lock()
		r := reply{At: now()}
		if _, dead := m.Abandoned(); dead {
			r.Dead = 1
			m.MarkConsistent()
			time.Sleep(time.Duration(args[1]))
		}
		m.Unlock()
		return r, nil
	}
}
