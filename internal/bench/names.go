package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Looking up names: a known one, a new one, a new one when a million others
// came and went, and one of many in use.

func namesOf(first, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("name-%d", first+i)
	}
	return names
}

func nameCases(p plan) []benchCase {
	list := []benchCase{
		{
			name: "handle-known", about: "the handle of a known name",
			contenders: []contender{goPair("arena", "known"), goPair("sync.Map", "sync.Map")},
			bars:       []bar{atMost("", "ns", 60)},
		},
		{
			name: "handle-new", about: "the handle of a new name, Lock and Unlock with it",
			contenders: []contender{newNames("arena", 0), namedSemaphores()},
			bars:       []bar{atMost("", "ns", 1000)},
		},
		{
			name: "handle-new-after", about: fmt.Sprintf("the same after %d others came and went", p.names),
			contenders: []contender{newNames("arena", p.names), namedSemaphores()},
			bars:       []bar{atMost("", "ns", 1500)},
		},
	}
	for n := 1000; n <= p.names; n *= 10 {
		list = append(list, benchCase{
			name: fmt.Sprintf("names-%d", n), about: fmt.Sprintf("look-up, Lock and Unlock of a random one of %d names", n),
			contenders: []contender{manyNames("arena", "arena-names", n), manyNames("sync.Map", "map-names", n)},
		})
	}
	return list
}

func newNames(name string, before int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		c, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
		if err != nil {
			return nil, err
		}
		if _, err := c.ask(s.env.ctx, "use-names %d", before); err != nil {
			return nil, err
		}
		return s.rounds(c, "new-names"), nil
	}}
}

func namedSemaphores() contender {
	return contender{"sem_open", func(s *stage) (func() (sample, error), error) { return s.askPeer("posix-sem", "semaphores") }}
}

func manyNames(name, code string, n int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		c, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), code)
		if err != nil {
			return nil, err
		}
		if _, err := c.ask(s.env.ctx, "know-names %d", n); err != nil {
			return nil, err
		}
		return s.rounds(c, "pairs"), nil
	}}
}

// order are random places, drawn before anything is timed.
func order(n int) []int {
	list := make([]int, 1<<16)
	for i := range list {
		list[i] = rand.IntN(n)
	}
	return list
}

func init() {
	var used int
	requests["use-names"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		for _, name := range namesOf(0, int(args[0])) {
			m := a.Mutex(name)
			m.Lock()
			m.Unlock()
		}
		used = int(args[0])
		runtime.GC()
		return reply{Say: "used"}, nil
	}
	requests["new-names"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		// The median of batches leaves out what comes now and then, such as
		// growth; the processor time has it all.
		const batch = 64
		duration := time.Duration(args[0])
		names := namesOf(used, batch*max(1, int(duration/(64*time.Microsecond))))
		var took []float64
		cpu, done := processorTime(), 0
		for end := time.Now().Add(duration); done < len(names) && (done == 0 || time.Now().Before(end)); done += batch {
			began := time.Now()
			for _, name := range names[done : done+batch] {
				m := a.Mutex(name)
				m.Lock()
				m.Unlock()
			}
			took = append(took, float64(time.Since(began))/batch)
		}
		cpu = processorTime() - cpu
		used += done
		slices.Sort(took)
		return reply{NS: took[len(took)/2], Ops: uint64(done), CPU: cpu}, nil
	}
	requests["know-names"] = func(w *worker, args []int64) (reply, error) {
		names := namesOf(0, int(args[0]))
		places, at := order(len(names)), 0
		if some := int(args[1]); some > 0 {
			// In turn, so that the order is no matter; far apart.
			places = places[:some]
			for i := range places {
				places[i] = i * len(names) / some
			}
		}
		next := func() string {
			at = (at + 1) % len(places)
			return names[places[at]]
		}
		if w.lock == "map-names" {
			var m sync.Map
			for _, name := range names {
				m.Store(name, new(sync.Mutex))
			}
			w.batch = func(n int) {
				for range n {
					l, _ := m.Load(next())
					l.(*sync.Mutex).Lock()
					l.(*sync.Mutex).Unlock()
				}
			}
			return reply{Say: "known"}, nil
		}
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		for _, name := range names {
			m := a.Mutex(name)
			m.Lock()
			m.Unlock()
		}
		w.batch = func(n int) {
			for range n {
				m := a.Mutex(next())
				m.Lock()
				m.Unlock()
			}
		}
		return reply{Say: "known"}, nil
	}
	pairCodes["known"] = func(w *worker) (func(int), error) {
		a, err := w.arena()
		return func(n int) {
			for range n {
				runtime.KeepAlive(a.Mutex("bench"))
			}
		}, err
	}
	pairCodes["sync.Map"] = func(*worker) (func(int), error) {
		var m sync.Map
		m.Store("bench", new(sync.Mutex))
		return func(n int) {
			for range n {
				value, _ := m.Load("bench")
				runtime.KeepAlive(value) // or the compiler would leave it out
			}
		}, nil
	}
}
