package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"lockd/arena"
)

// What a lock takes of memory, in the file and in a process that has used it;
// and what many names cost, beside few.

func footprintCases(p plan) []benchCase {
	few := max(p.names/1000, 1)
	return []benchCase{
		{
			name: "names-scale", about: fmt.Sprintf("look-up, Lock and Unlock of %d names in turn, of %d in use, beside the same of %d in use", few, p.names, few),
			contenders: []contender{someNames("of many", p.names, few), someNames("of few", few, few)},
			bars:       []bar{atMost("of few", "ratio", 1.5)},
		},
		{
			name: "names-scale-random", about: fmt.Sprintf("the same in random order, over all %d names, beside %d: what the processor's caches miss is in it", p.names, few),
			contenders: []contender{
				manyNames("of many", "arena-names", p.names), manyNames("of few", "arena-names", few),
			},
		},
		{
			name: "memory-file", unit: amount, of: "bytes", about: fmt.Sprintf("of the arena's file for each of %d mutexes; with the tallies of TrackHold", p.names),
			contenders: []contender{footprint("arena", "file", p.names), footprint("tracked", "file-tracked", min(p.names, 100_000))},
			bars:       []bar{atMost("", "amount", 256)},
		},
		{
			name: "memory-process", unit: amount, of: "bytes", about: "of a process's heap for each mutex that it has used once",
			contenders: []contender{footprint("arena", "heap", p.names), footprint("sync.Map of *sync.Mutex", "heap-map", p.names)},
		},
	}
}

// someNames knows all names of the arena and uses some of them, which lie far
// apart in it.
func someNames(name string, all, some int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		c, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "arena-names")
		if err != nil {
			return nil, err
		}
		if _, err := c.ask(s.env.ctx, "know-names %d %d", all, some); err != nil {
			return nil, err
		}
		return s.rounds(c, "pairs"), nil
	}}
}

// footprint is measured once: the same is done in the same way each time.
func footprint(name, what string, n int) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		c, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), what)
		if err != nil {
			return nil, err
		}
		r, err := c.ask(s.env.ctx, "footprint %d", n)
		if err != nil {
			return nil, err
		}
		s.drop(c)
		return func() (sample, error) { return sample{amount: r.Amount}, nil }, nil
	}}
}

func init() {
	requests["footprint"] = func(w *worker, args []int64) (reply, error) {
		names := namesOf(0, int(args[0]))
		before := heap()
		if w.lock == "heap-map" {
			m := new(sync.Map)
			for _, name := range names {
				l := new(sync.Mutex)
				m.Store(name, l)
			}
			r := reply{Amount: (heap() - before) / float64(len(names))}
			runtime.KeepAlive(m)
			return r, nil
		}
		a, err := arena.Open(w.arenaPath, &arena.Options{TrackHold: w.lock == "file-tracked"})
		if err != nil {
			return reply{}, err
		}
		w.opened = a
		empty := fileSize(w.arenaPath)
		handles := make([]*arena.Mutex, len(names))
		before = heap()
		for i, name := range names {
			handles[i] = a.Mutex(name)
			handles[i].Lock()
			handles[i].Unlock()
		}
		if w.lock == "heap" {
			r := reply{Amount: (heap() - before) / float64(len(names))}
			runtime.KeepAlive(handles)
			return r, nil
		}
		// The first segment is there whether it is used or not.
		s, err := arena.ReadSnapshot(w.arenaPath)
		if err != nil {
			return reply{}, err
		}
		segment := float64(s.Size-empty) / float64(max(s.Segments-1, 1))
		if s.Segments == 1 {
			segment = float64(s.Size)
		}
		return reply{Amount: segment * float64(s.Segments) / float64(max(len(s.Locks), int(s.Bump)-1))}, nil
	}
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// heap is what is in use after a collection.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// status is a number of /proc/self/status, such as "VmRSS", in its unit.
func status(pid int, key string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if name, value, _ := strings.Cut(string(line), ":"); name == key {
			n, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return n
		}
	}
	return 0
}
