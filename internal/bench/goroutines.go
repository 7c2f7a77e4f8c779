package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Goroutines of one process that all want one lock; and readers that all may
// have it.

func goroutineCases(p plan) []benchCase {
	var list []benchCase
	for _, section := range []time.Duration{shortSection, longSection} {
		want := map[time.Duration]float64{shortSection: 1.0, longSection: 0.8}[section]
		for _, n := range p.crowd {
			list = append(list, benchCase{
				name: fmt.Sprintf("goroutines-%d-%dns", n, section.Nanoseconds()), unit: perSecond,
				about:      fmt.Sprintf("%d goroutines of one process, %v inside, nothing outside", n, section),
				contenders: []contender{crowd("arena", "mutex", n, section), crowd("sync.Mutex", "sync.Mutex", n, section)},
				bars:       []bar{atLeast("sync.Mutex", "ratio", want)},
			})
		}
	}
	n := slices.Max(p.crowd)
	return append(list, benchCase{
		name: fmt.Sprintf("goroutines-%d-wait", n), unit: latency,
		about: fmt.Sprintf("how long %d goroutines of one process wait for a lock, %v inside; ns are the median wait", n, shortSection),
		contenders: []contender{
			goWaits("arena", "mutex", 1, n), goWaits("sync.Mutex", "sync.Mutex", 1, n),
		},
		bars: []bar{atMost("sync.Mutex", "max ratio", 3)},
	})
}

func crowd(name, lock string, n int, section time.Duration) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.goWork(lock, 1, s.env.plan.turn, fmt.Sprintf("contend %d 0 %d", workPer(section), n))
	}}
}

func readerCases(plan) []benchCase {
	const n = 8
	return []benchCase{{
		name: "rlock-8-goroutines", about: "8 goroutines of one process that RLock and RUnlock one rwmutex", unit: perSecond,
		contenders: []contender{reading("arena", "rlock", n), reading("sync.RWMutex", "sync.RWMutex", n)},
		bars:       []bar{atLeast("sync.RWMutex", "ratio", 1)},
	}, {
		name: "rlock-8-processes", about: "8 processes that RLock and RUnlock one rwmutex", unit: perSecond,
		contenders: []contender{
			{"arena", func(s *stage) (func() (sample, error), error) { return readTogether(s, "rlock", 8, 1) }},
			{"C rwlock", func(s *stage) (func() (sample, error), error) {
				c, err := s.crew(n, func() (*child, error) { return s.peer("rwlock-read") })
				if err != nil {
					return nil, err
				}
				if _, err := c.members[0].ask(s.env.ctx, "init"); err != nil {
					return nil, err
				}
				return c.reads("read"), nil
			}},
		},
	}}
}

func reading(name, lock string, goroutines int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) { return readTogether(s, lock, 1, goroutines) }}
}

func readTogether(s *stage, lock string, processes, goroutines int) (func() (sample, error), error) {
	c, err := s.crew(processes, func() (*child, error) { return s.worker(workerRole, s.arenaPath(), s.pagePath(), lock) })
	if err != nil {
		return nil, err
	}
	return c.reads(fmt.Sprintf("read %d", goroutines)), nil
}

// reads is a turn of readers, who are not alone and count nothing but their own.
func (c *crew) reads(request string) func() (sample, error) {
	return func() (sample, error) {
		replies, err := c.turn(c.stage.env.plan.turn, func(int) string { return request })
		var s sample
		done := uint64(0)
		for _, r := range replies {
			done += r.Ops
			s.cpu += float64(r.CPU)
			s.ops += float64(r.Ops) / (float64(max(r.Elapsed, 1)) / 1e9)
			s.counts = append(s.counts, r.Ops)
		}
		s.cpu /= float64(max(done, 1))
		return s, err
	}
}

func init() {
	requests["read"] = func(w *worker, args []int64) (reply, error) {
		if w.lock == "sync.RWMutex" {
			var m sync.RWMutex
			return together(int(args[0]), func() (done uint64) {
				for {
					m.RLock()
					m.RUnlock()
					if done++; w.page.stop.Load() != 0 {
						return done
					}
				}
			}), nil
		}
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		m := a.RWMutex("readers")
		return together(int(args[0]), func() (done uint64) {
			for {
				m.RLock()
				m.RUnlock()
				if done++; w.page.stop.Load() != 0 {
					return done
				}
			}
		}), nil
	}
}
