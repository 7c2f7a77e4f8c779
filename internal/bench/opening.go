package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"lockd/arena"
)

// The way to the first lock: in a program, and around a command.

func openCases(plan) []benchCase {
	return []benchCase{{
		name: "open", about: "opening what others have open, first lock included; C robust: open, mmap, lock",
		contenders: []contender{
			{"arena", func(s *stage) (func() (sample, error), error) {
				if _, err := s.arena(); err != nil { // somebody else has it open
					return nil, err
				}
				return s.askRounds(workerRole, "arena", "openings")
			}},
			{"C robust", func(s *stage) (func() (sample, error), error) { return s.askPeer("robust", "openings") }},
			{"lockedfile", func(s *stage) (func() (sample, error), error) {
				return s.askRounds(workerRole, "lockedfile", "openings")
			}},
		},
		bars: []bar{atMost("", "ns", 300e3)},
	}}
}

func commandCases(plan) []benchCase {
	return []benchCase{{
		name: "command", about: "a lock around the command true, from the start of the process to its end",
		contenders: []contender{
			{"lockd-inspect run", func(s *stage) (func() (sample, error), error) {
				inspect, err := s.env.inspect()
				if err != nil {
					return nil, err
				}
				if _, err := s.arena(); err != nil {
					return nil, err
				}
				return s.commands(inspect, "run", s.arenaPath(), "bench", "--", "true")
			}},
			{"flock(1)", func(s *stage) (func() (sample, error), error) {
				path, err := exec.LookPath("flock")
				if err != nil {
					return nil, skipped{err.Error()}
				}
				return s.commands(path, filepath.Join(s.dir, "flock"), "true")
			}},
		},
		bars: []bar{atMost("flock(1)", "ratio", 1.5)},
	}}
}

func (s *stage) commands(name string, args ...string) (func() (sample, error), error) {
	return func() (sample, error) {
		var took []float64
		for range s.env.plan.starts {
			began := time.Now()
			if out, err := exec.CommandContext(s.env.ctx, name, args...).CombinedOutput(); err != nil {
				os.Stderr.Write(out)
				return sample{}, err
			}
			took = append(took, float64(time.Since(began)))
		}
		median, _, _ := quartiles(took)
		return sample{ns: median}, nil
	}, nil
}

func init() {
	requests["openings"] = func(w *worker, args []int64) (reply, error) {
		once := openArena
		if w.lock == "lockedfile" {
			once = openLockedFile
		}
		var took []float64
		for end := time.Now().Add(time.Duration(args[0])); ; {
			d, err := once(w)
			if err != nil {
				return reply{}, err
			}
			took = append(took, float64(d))
			if time.Now().After(end) {
				break
			}
		}
		slices.Sort(took)
		return reply{NS: took[len(took)/2], Ops: uint64(len(took))}, nil
	}
}

func openArena(w *worker) (time.Duration, error) {
	began := time.Now()
	a, err := arena.Open(w.arenaPath, nil)
	if err != nil {
		return 0, err
	}
	m := a.Mutex("bench")
	m.Lock()
	d := time.Since(began)
	m.Unlock()
	return d, a.Close()
}

func openLockedFile(w *worker) (time.Duration, error) {
	began := time.Now()
	f, err := lockedfile.OpenFile(w.pagePath+".opened", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	return time.Since(began), f.Close()
}
