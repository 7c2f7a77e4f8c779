package main

import (
	"fmt"

	"lockd/arena"
)

// What a lock costs while another process holds many others of the same kind.

func heldCases(p plan) []benchCase {
	var list []benchCase
	for n := 10; n <= p.held; n *= 10 {
		list = append(list, benchCase{
			name: fmt.Sprintf("held-%d", n), about: fmt.Sprintf("a pair while another process holds %d others", n),
			contenders: []contender{
				{"arena, mutexes", func(s *stage) (func() (sample, error), error) {
					other, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
					if err != nil {
						return nil, err
					}
					if _, err := other.ask(s.env.ctx, "hold-names %d", n); err != nil {
						return nil, err
					}
					return s.askRounds(workerRole, "mutex", "pairs")
				}},
				{"OFD ranges", func(s *stage) (func() (sample, error), error) {
					if _, err := s.page(); err != nil {
						return nil, err
					}
					other, err := s.peer("ofd")
					if err != nil {
						return nil, err
					}
					if _, err := other.ask(s.env.ctx, "hold-ranges %d", n); err != nil {
						return nil, err
					}
					c, err := s.peer("ofd")
					if err != nil {
						return nil, err
					}
					if _, err := c.ask(s.env.ctx, "at-place %d", n/2); err != nil {
						return nil, err
					}
					return s.rounds(c, "pairs"), nil
				}},
			},
		})
	}
	return list
}

func init() {
	requests["hold-names"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		for _, name := range namesOf(0, int(args[0])) {
			kept = append(kept, a.Mutex(name))
			kept[len(kept)-1].Lock()
		}
		return reply{Say: "held"}, nil
	}
}

var kept []*arena.Mutex
