package main

import (
	"runtime"

	"golang.org/x/sys/unix"

	"lockd/futex"
)

// Two processes that wake each other in turns, on one processor and across two.

func pingPongCases(plan) []benchCase {
	bars := []bar{atMost("C futex", "ratio", 1.2)}
	return []benchCase{
		{
			name: "ping-pong-same", about: "a round trip between two processes on one processor, by package futex",
			contenders: []contender{goPingPong("futex", false), cPingPong("C futex", false)}, bars: bars,
		},
		{
			name: "ping-pong-across", about: "a round trip between two processes on two processors, by package futex",
			contenders: []contender{goPingPong("futex", true), cPingPong("C futex", true)}, bars: bars,
		},
	}
}

func goPingPong(name string, across bool) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.pingPong(across, func() (*child, error) { return s.worker(workerRole, s.arenaPath(), s.pagePath(), "") })
	}}
}

func cPingPong(name string, across bool) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.pingPong(across, func() (*child, error) { return s.peer("robust") })
	}}
}

func (s *stage) pingPong(across bool, start func() (*child, error)) (func() (sample, error), error) {
	cpus := processors()
	if across && len(cpus) < 2 {
		return nil, skipped{"there is one processor only"}
	}
	c, err := s.crew(2, start)
	if err != nil {
		return nil, err
	}
	for i, m := range c.members {
		cpu := cpus[0]
		if across {
			cpu = cpus[i]
		}
		if _, err := m.ask(s.env.ctx, "pin %d 0", cpu); err != nil {
			return nil, err
		}
	}
	sides := [2]string{"pingpong 0", "pingpong 1"}
	return func() (sample, error) {
		replies, err := c.turn(s.env.plan.turn, func(i int) string { return sides[i] })
		if err != nil {
			return sample{}, err
		}
		return sample{ns: float64(replies[0].Elapsed) / float64(max(replies[0].Ops, 1))}, nil
	}, nil
}

// processors are the numbers of those that this process may use.
func processors() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return []int{0}
	}
	var list []int
	for cpu := 0; len(list) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	return list
}

func init() {
	requests["pingpong"] = func(w *worker, args []int64) (reply, error) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		began := now()
		trips := pingPong(w.page, uint32(args[0]))
		return reply{Ops: trips, Elapsed: now() - began}, nil
	}
}

func pingPong(p *page, side uint32) (trips uint64) {
	for {
		for turn := p.turn.Load(); turn != side; turn = p.turn.Load() {
			futex.Wait(&p.turn, turn, 0)
		}
		stop := p.stop.Load()
		p.turn.Store(1 - side)
		futex.Wake(&p.turn, 1)
		if stop != 0 {
			return trips
		}
		trips++
	}
}
