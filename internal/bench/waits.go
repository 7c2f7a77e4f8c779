package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// How long those wait who want a lock that all want, each wait measured.

func waitCases(p plan) []benchCase {
	n := slices.Max(p.crews)
	return []benchCase{{
		name: fmt.Sprintf("longest-wait-%d", n), unit: latency,
		about: fmt.Sprintf("how long %d processes wait for a lock, %v inside, nothing outside; ns are the median wait", n, shortSection),
		contenders: []contender{
			goWaits("arena", "mutex", n, 1), cWaits("C robust", "robust", n), cWaits("flock", "flock", n),
		},
		bars: []bar{atMost("", "p99.99", 20e6), atMost("C robust", "max ratio", 3)},
	}}
}

func goWaits(name, lock string, processes, goroutines int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.goWork(lock, processes, waitTurn(s), fmt.Sprintf("waits %d 0 %d", workPer(shortSection), goroutines))
	}}
}

func cWaits(name, lock string, n int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.cWork(lock, n, waitTurn(s), fmt.Sprintf("waits %d 0", workPer(shortSection)))
	}}
}

// waitTurn makes all rounds together about ten seconds.
func waitTurn(s *stage) time.Duration {
	return s.env.plan.turn * time.Duration(s.env.plan.stretch) * 6 / 5
}

func init() {
	requests["waits"] = func(w *worker, args []int64) (reply, error) {
		var m sync.Locker = new(sync.Mutex)
		if w.lock != "sync.Mutex" {
			shared, err := w.mutex()
			if err != nil {
				return reply{}, err
			}
			m = shared
		}
		n := int(args[2])
		each := make([]histogram, n)
		next := make(chan *histogram, n)
		for i := range each {
			next <- &each[i]
		}
		r := together(n, func() uint64 { return waitAndWork(m, w.page, uint64(args[0]), uint64(args[1]), <-next) })
		for i := range each[1:] {
			each[0].merge(&each[i+1])
		}
		r.Waits, r.Largest = each[0].pairs(), each[0].largest
		return r, nil
	}
}

func waitAndWork(m sync.Locker, p *page, inside, outside uint64, h *histogram) (done uint64) {
	for {
		asked := now()
		m.Lock()
		h.add(now() - asked)
		p.counter++
		work(inside)
		m.Unlock()
		work(outside)
		if done++; p.stop.Load() != 0 {
			return done
		}
	}
}
