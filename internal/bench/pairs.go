package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/sync/semaphore"

	"lockd/arena"
)

// Taking and giving back what nobody else wants, in one process.

func pairCases(plan) []benchCase {
	return []benchCase{
		{
			name: "mutex-pair", about: "Lock and Unlock of a mutex that nobody else wants",
			contenders: []contender{
				goPair("arena", "mutex"), goPair("sync.Mutex", "sync.Mutex"),
				cPair("C robust", "robust"), cPair("C process-shared", "process-shared"), cPair("POSIX semaphore", "posix-sem"),
				cPair("SysV", "sysv"), cPair("SysV SEM_UNDO", "sysv-undo"), cPair("flock", "flock"), cPair("OFD range", "ofd"),
				goPair("gofrs/flock", "gofrs/flock"), goPair("lockedfile", "lockedfile"),
			},
			bars: []bar{atMost("sync.Mutex", "ratio", 1.10), atMost("C robust", "ratio", 0.85), atMost("", "allocs", 0)},
		},
		{
			name: "cas-pair", about: "the two compare-and-swaps that a pair is made of, on memory of the process: what is left is the processor's",
			contenders: []contender{goPair("arena", "mutex"), goPair("CAS pair", "cas")},
		},
		{
			name: "mutex-pair-tracked", about: "the same with counts and hold times (Options.TrackHold)",
			contenders: []contender{goPair("arena, TrackHold", "mutex-tracked"), goPair("arena", "mutex"), goPair("sync.Mutex", "sync.Mutex")},
		},
		{
			name: "semaphore-pair", about: "one ticket of a semaphore taken and given back",
			contenders: []contender{
				goPair("arena", "semaphore"), goPair("sync.Mutex", "sync.Mutex"), goPair("x/sync/semaphore", "x/sync/semaphore"),
				cPair("POSIX semaphore", "posix-sem"), cPair("SysV", "sysv"), cPair("SysV SEM_UNDO", "sysv-undo"),
			},
			bars: []bar{atMost("sync.Mutex", "ratio", 2.5), atMost("SysV SEM_UNDO", "ratio", 0.15)},
		},
		{
			name: "rlock-pair", about: "RLock and RUnlock that nobody else wants",
			contenders: []contender{goPair("arena", "rlock"), goPair("sync.RWMutex", "sync.RWMutex"), cPair("C rwlock", "rwlock-read")},
			bars:       []bar{atMost("sync.RWMutex", "ratio", 1.15)},
		},
		{
			name: "wlock-pair", about: "Lock and Unlock of an rwmutex that nobody else wants",
			contenders: []contender{goPair("arena", "wlock"), goPair("sync.RWMutex", "sync.RWMutex-write"), cPair("C rwlock", "rwlock-write")},
		},
	}
}

// goPair measures batches of pairs in a worker; lock is a key of pairCodes.
func goPair(name, lock string) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.askRounds(workerRole, lock, "pairs")
	}}
}

func cPair(name, lock string) contender {
	return contender{name, func(s *stage) (func() (sample, error), error) {
		return s.askPeer(lock, "pairs")
	}}
}

// askRounds asks a worker the same each round, with the length of a turn.
func (s *stage) askRounds(role, lock, request string) (func() (sample, error), error) {
	c, err := s.worker(role, s.arenaPath(), s.pagePath(), lock)
	if err != nil {
		return nil, err
	}
	return s.rounds(c, request), nil
}

// askPeer does so with a peer in C, after it has made its lock.
func (s *stage) askPeer(lock, request string) (func() (sample, error), error) {
	if _, err := s.page(); err != nil {
		return nil, err
	}
	c, err := s.peer(lock)
	if err != nil {
		return nil, err
	}
	if _, err := c.ask(s.env.ctx, "init"); err != nil {
		return nil, err
	}
	return s.rounds(c, request), nil
}

func (s *stage) rounds(c *child, request string) func() (sample, error) {
	return func() (sample, error) {
		r, err := c.ask(s.env.ctx, "%s %d", request, s.env.plan.turn.Nanoseconds())
		return sample{ns: r.NS, allocs: r.Allocs, cpu: float64(r.CPU) / float64(max(r.Ops, 1))}, err
	}
}

func init() {
	requests["pairs"] = func(w *worker, args []int64) (reply, error) {
		if w.batch == nil {
			code := pairCodes[w.lock]
			if code == nil {
				return reply{}, fmt.Errorf("no pair %q", w.lock)
			}
			var err error
			if w.batch, err = code(w); err != nil {
				return reply{}, err
			}
		}
		return medianBatch(time.Duration(args[0]), w.batch), nil
	}
}

// pairCodes are the loops that are timed. Each is written out, so that calls
// are direct ones and inlined where the compiler does so in a program.
var pairCodes = map[string]func(w *worker) (func(n int), error){
	"mutex": func(w *worker) (func(int), error) {
		m, err := w.mutex()
		return func(n int) {
			for range n {
				m.Lock()
				m.Unlock()
			}
		}, err
	},
	"mutex-tracked": func(w *worker) (func(int), error) {
		a, err := arena.Open(w.arenaPath, &arena.Options{TrackHold: true})
		if err != nil {
			return nil, err
		}
		m := a.Mutex("bench")
		return func(n int) {
			for range n {
				m.Lock()
				m.Unlock()
			}
		}, nil
	},
	"sync.Mutex": func(*worker) (func(int), error) {
		m := new(sync.Mutex)
		return func(n int) {
			for range n {
				m.Lock()
				m.Unlock()
			}
		}, nil
	},
	"cas": func(*worker) (func(int), error) {
		word := new(uint64)
		return func(n int) {
			for range n {
				atomic.CompareAndSwapUint64(word, 0, 1)
				atomic.CompareAndSwapUint64(word, 1, 0)
			}
		}, nil
	},
	"rlock": func(w *worker) (func(int), error) {
		a, err := w.arena()
		if err != nil {
			return nil, err
		}
		m := a.RWMutex("readers")
		return func(n int) {
			for range n {
				m.RLock()
				m.RUnlock()
			}
		}, nil
	},
	"wlock": func(w *worker) (func(int), error) {
		a, err := w.arena()
		if err != nil {
			return nil, err
		}
		m := a.RWMutex("readers")
		return func(n int) {
			for range n {
				m.Lock()
				m.Unlock()
			}
		}, nil
	},
	"sync.RWMutex": func(*worker) (func(int), error) {
		m := new(sync.RWMutex)
		return func(n int) {
			for range n {
				m.RLock()
				m.RUnlock()
			}
		}, nil
	},
	"sync.RWMutex-write": func(*worker) (func(int), error) {
		m := new(sync.RWMutex)
		return func(n int) {
			for range n {
				m.Lock()
				m.Unlock()
			}
		}, nil
	},
	"semaphore": func(w *worker) (func(int), error) {
		a, err := w.arena()
		if err != nil {
			return nil, err
		}
		s, ctx := a.Semaphore("tickets", 4), context.Background()
		return func(n int) {
			for range n {
				t, err := s.Acquire(ctx, 1)
				if err != nil {
					panic(err)
				}
				t.Release()
			}
		}, nil
	},
	"x/sync/semaphore": func(*worker) (func(int), error) {
		s, ctx := semaphore.NewWeighted(4), context.Background()
		return func(n int) {
			for range n {
				s.Acquire(ctx, 1)
				s.Release(1)
			}
		}, nil
	},
	"gofrs/flock": func(w *worker) (func(int), error) {
		l := flock.New(filepath.Join(filepath.Dir(w.pagePath), "gofrs"))
		return func(n int) {
			for range n {
				if err := l.Lock(); err != nil {
					panic(err)
				}
				l.Unlock()
			}
		}, nil
	},
	"lockedfile": func(w *worker) (func(int), error) {
		l := lockedfile.MutexAt(filepath.Join(filepath.Dir(w.pagePath), "lockedfile"))
		return func(n int) {
			for range n {
				unlock, err := l.Lock()
				if err != nil {
					panic(err)
				}
				unlock()
			}
		}, nil
	},
}
