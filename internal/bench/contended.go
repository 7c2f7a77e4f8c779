package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

// Processes that all want one lock.

const (
	shortSection = 55 * time.Nanosecond
	longSection  = 550 * time.Nanosecond
	longOutside  = 5500 * time.Nanosecond
)

func contendedCases(p plan) []benchCase {
	var list []benchCase
	for _, n := range p.crews {
		list = append(list, benchCase{
			name: fmt.Sprintf("contended-%d", n), unit: perSecond,
			about: fmt.Sprintf("%d processes, %v inside, nothing outside; share: the smallest, of a fair one", n, shortSection),
			contenders: []contender{
				goCrew("arena", n, shortSection, 0), cCrew("C robust", "robust", n, shortSection, 0),
				cCrew("C process-shared", "process-shared", n, shortSection, 0),
				cCrew("POSIX semaphore", "posix-sem", n, shortSection, 0), cCrew("flock", "flock", n, shortSection, 0),
			},
			bars: []bar{atLeast("C robust", "ratio", 1.2), atLeast("flock", "ratio", 2.2), atLeast("", "share", 0.8)},
		})
	}
	n := slices.Max(p.crews)
	return append(list, benchCase{
		name: fmt.Sprintf("contended-%d-outside", n), unit: perSecond,
		about: fmt.Sprintf("%d processes, %v inside, %v outside", n, longSection, longOutside),
		contenders: []contender{
			goCrew("arena", n, longSection, longOutside), cCrew("C robust", "robust", n, longSection, longOutside),
			cCrew("C process-shared", "process-shared", n, longSection, longOutside), cCrew("flock", "flock", n, longSection, longOutside),
		},
		bars: []bar{atLeast("C robust", "ratio", 1.0)},
	})
}

// crew is several processes that do the same at the same time.
type crew struct {
	stage   *stage
	page    *page
	members []*child
}

func (s *stage) crew(n int, start func() (*child, error)) (*crew, error) {
	p, err := s.page()
	if err != nil {
		return nil, err
	}
	c := &crew{stage: s, page: p}
	for range n {
		m, err := start()
		if err != nil {
			return nil, err
		}
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		if _, err := m.ask(s.env.ctx, "hello"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// turn lets all work for so long and returns their answers.
func (c *crew) turn(d time.Duration, request func(i int) string) ([]reply, error) {
	c.page.stop.Store(0)
	for i, m := range c.members {
		m.send("%s", request(i))
	}
	err := c.stage.env.pause(d)
	c.page.stop.Store(1)
	var replies []reply
	for _, m := range c.members {
		r, e := m.hear(c.stage.env.ctx)
		if err == nil {
			err = e
		}
		replies = append(replies, r)
	}
	return replies, err
}

// throughput is a turn as a sample. Each who was inside has counted up without
// atomics: if the sum is another, they were not alone, and nothing counts.
func (c *crew) throughput(d time.Duration, request string) (sample, error) {
	c.page.counter = 0
	replies, err := c.turn(d, func(int) string { return request })
	if err != nil {
		return sample{}, err
	}
	s := sample{waits: &histogram{}}
	done, longest := uint64(0), int64(1)
	for _, r := range replies {
		done += r.Ops
		s.cpu += float64(r.CPU)
		longest = max(longest, r.Elapsed)
		s.counts = append(s.counts, r.Ops)
		if len(r.Counts) > 0 {
			s.counts = append(s.counts[:len(s.counts)-1], r.Counts...)
		}
		s.waits.addPairs(r.Waits, r.Largest)
	}
	if c.page.counter != done {
		return s, fmt.Errorf("the section was entered %d times and counted %d: no mutual exclusion", done, c.page.counter)
	}
	s.ops = float64(done) / (float64(longest) / 1e9)
	s.cpu /= float64(done)
	return s, nil
}

func goCrew(name string, n int, inside, outside time.Duration) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.goWork("mutex", n, s.env.plan.turn*time.Duration(s.env.plan.stretch), fmt.Sprintf("contend %d %d 1", workPer(inside), workPer(outside)))
	}}
}

func (s *stage) goWork(lock string, n int, d time.Duration, request string) (func() (sample, error), error) {
	c, err := s.crew(n, func() (*child, error) { return s.worker(workerRole, s.arenaPath(), s.pagePath(), lock) })
	if err != nil {
		return nil, err
	}
	return func() (sample, error) { return c.throughput(d, request) }, nil
}

func cCrew(name, lock string, n int, inside, outside time.Duration) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.cWork(lock, n, s.env.plan.turn*time.Duration(s.env.plan.stretch), fmt.Sprintf("contend %d %d", workPer(inside), workPer(outside)))
	}}
}

func (s *stage) cWork(lock string, n int, d time.Duration, request string) (func() (sample, error), error) {
	c, err := s.crew(n, func() (*child, error) { return s.peer(lock) })
	if err != nil {
		return nil, err
	}
	if _, err := c.members[0].ask(s.env.ctx, "init"); err != nil {
		return nil, err
	}
	return func() (sample, error) { return c.throughput(d, request) }, nil
}

func init() {
	requests["contend"] = func(w *worker, args []int64) (reply, error) {
		inside, outside := uint64(args[0]), uint64(args[1])
		if w.lock == "sync.Mutex" {
			var m sync.Mutex
			return together(int(args[2]), func() uint64 { return contendSync(&m, w.page, inside, outside) }), nil
		}
		m, err := w.mutex()
		if err != nil {
			return reply{}, err
		}
		return together(int(args[2]), func() uint64 { return contendArena(m, w.page, inside, outside) }), nil
	}
}

// together runs f in so many goroutines and adds up what they did.
func together(n int, f func() uint64) reply {
	r := reply{Counts: make([]uint64, n)}
	var all sync.WaitGroup
	began, used := now(), processorTime()
	for i := range n {
		all.Go(func() { r.Counts[i] = f() })
	}
	all.Wait()
	r.Elapsed, r.CPU = now()-began, processorTime()-used
	for _, done := range r.Counts {
		r.Ops += done
	}
	return r
}

// processorTime is what this process has used so far, in ns.
func processorTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// The two loops are the same but for the type, whose methods are inlined. All
// loops that the page ends do something once: a turn may be over before a
// process had the processor.

func contendArena(m *arena.Mutex, p *page, inside, outside uint64) (done uint64) {
	for {
		m.Lock()
		p.counter++
		work(inside)
		m.Unlock()
		work(outside)
		if done++; p.stop.Load() != 0 {
			return done
		}
	}
}

func contendSync(m *sync.Mutex, p *page, inside, outside uint64) (done uint64) {
	for {
		m.Lock()
		p.counter++
		work(inside)
		m.Unlock()
		work(outside)
		if done++; p.stop.Load() != 0 {
			return done
		}
	}
}
