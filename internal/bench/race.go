package main

import (
	"context"
	"fmt"

	"lockd/arena"
)

// Processes that go hand over hand around a ring of locks: each takes the next
// lock before it gives back the last, so they cannot overtake each other.

const (
	racers = 4
	tracks = 50
)

func raceCases(plan) []benchCase {
	ours := func(name, request string) contender {
		return contender{name, func(s *stage) (func() (sample, error), error) {
			return s.race(request, func() (*child, error) { return s.worker(workerRole, s.arenaPath(), s.pagePath(), "") })
		}}
	}
	fcntl := contender{"fcntl ranges", func(s *stage) (func() (sample, error), error) {
		return s.race("race", func() (*child, error) { return s.peer("ofd") })
	}}
	bars := []bar{atLeast(fcntl.name, "ratio", 10)}
	return []benchCase{{
		name: "hand-over-hand", unit: perSecond, bars: bars, contenders: []contender{ours("arena, mutexes", "race"), fcntl},
		about: fmt.Sprintf("%d processes go hand over hand around a ring of %d locks", racers, tracks),
	}, {
		name: "hand-over-hand-ranges", unit: perSecond, bars: bars, contenders: []contender{ours("arena, ranges", "race-ranges"), fcntl},
		about: "the same around a ring of ranges under one name",
	}}
}

func (s *stage) race(kind string, start func() (*child, error)) (func() (sample, error), error) {
	c, err := s.crew(racers, start)
	if err != nil {
		return nil, err
	}
	request := fmt.Sprintf("%s %d", kind, tracks)
	return func() (sample, error) {
		replies, err := c.turn(s.env.plan.turn*2, func(int) string { return request })
		var one sample
		longest := int64(1)
		for _, r := range replies {
			one.ops += float64(r.Ops)
			one.cpu += float64(r.CPU)
			one.counts = append(one.counts, r.Ops)
			longest = max(longest, r.Elapsed)
		}
		one.cpu /= max(one.ops, 1)
		one.ops /= float64(longest) / 1e9
		return one, err
	}, nil
}

func init() {
	requests["race"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		ring := make([]*arena.Mutex, args[0])
		for i := range ring {
			ring[i] = a.Mutex(fmt.Sprintf("track %d", i))
		}
		began, used, steps := now(), processorTime(), uint64(0)
		i := 0
		ring[0].Lock()
		for steps == 0 || w.page.stop.Load() == 0 {
			next := (i + 1) % len(ring)
			ring[next].Lock()
			ring[i].Unlock()
			i = next
			steps++
		}
		ring[i].Unlock()
		return reply{Ops: steps, Elapsed: now() - began, CPU: processorTime() - used}, nil
	}
	requests["race-ranges"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		ring, ctx := a.Ranges("tracks"), context.Background()
		began, used, steps := now(), processorTime(), uint64(0)
		i := int64(0)
		if err := ring.Lock(ctx, arena.Exclusive, i, 1); err != nil {
			return reply{}, err
		}
		for steps == 0 || w.page.stop.Load() == 0 {
			next := (i + 1) % args[0]
			if err := ring.Lock(ctx, arena.Exclusive, next, 1); err != nil {
				return reply{}, err
			}
			if err := ring.Release(i, 1); err != nil {
				return reply{}, err
			}
			i = next
			steps++
		}
		return reply{Ops: steps, Elapsed: now() - began, CPU: processorTime() - used}, ring.ReleaseAll()
	}
}
