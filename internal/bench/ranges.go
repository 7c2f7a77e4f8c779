package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"lockd/arena"
)

// One range taken and given back, alone and at random places among others
// that another process holds.

func rangeCases(p plan) []benchCase {
	list := []benchCase{rangeCase(0)}
	list[0].bars = []bar{atMost("", "ns", 120), atMost("OFD range", "ratio", 0.3), atMost("", "allocs", 0)}
	for n := p.held / 10; n <= p.held; n *= 10 {
		list = append(list, rangeCase(n))
	}
	list[len(list)-1].bars = []bar{atMost("", "ns", 300)}
	return list
}

func rangeCase(others int) benchCase {
	c := benchCase{name: "range-alone", about: "one range taken and given back"}
	if others > 0 {
		c.name = fmt.Sprintf("range-%d", others)
		c.about = fmt.Sprintf("the same at a random place among %d that another process holds", others)
	}
	c.contenders = []contender{
		{"arena", func(s *stage) (func() (sample, error), error) {
			if others > 0 {
				other, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
				if err != nil {
					return nil, err
				}
				if _, err := other.ask(s.env.ctx, "hold-pieces %d", others); err != nil {
					return nil, err
				}
			}
			c, err := s.worker(workerRole, s.arenaPath(), s.pagePath(), "")
			if err != nil {
				return nil, err
			}
			if _, err := c.ask(s.env.ctx, "among-pieces %d", others); err != nil {
				return nil, err
			}
			return s.rounds(c, "pairs"), nil
		}},
		{"OFD range", func(s *stage) (func() (sample, error), error) {
			if _, err := s.page(); err != nil {
				return nil, err
			}
			other, err := s.peer("ofd")
			if err != nil {
				return nil, err
			}
			if _, err := other.ask(s.env.ctx, "hold-ranges %d", others); err != nil {
				return nil, err
			}
			c, err := s.peer("ofd")
			if err != nil {
				return nil, err
			}
			if _, err := c.ask(s.env.ctx, "among-ranges %d", others); err != nil {
				return nil, err
			}
			return s.rounds(c, "pairs"), nil
		}},
	}
	return c
}

// Pieces are so far apart, and so long.
const (
	pieceStep = 1000
	pieceSize = 10
)

func init() {
	requests["hold-pieces"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		held := a.Ranges("pieces")
		for _, i := range rand.Perm(int(args[0])) {
			if err := held.Lock(context.Background(), arena.Exclusive, int64(i)*pieceStep, pieceSize); err != nil {
				return reply{}, err
			}
		}
		keptRanges = held
		return reply{Say: "held"}, nil
	}
	requests["among-pieces"] = func(w *worker, args []int64) (reply, error) {
		a, err := w.arena()
		if err != nil {
			return reply{}, err
		}
		r, ctx := a.Ranges("pieces"), context.Background()
		places := order(int(args[0]) + 1)
		at := 0
		w.batch = func(n int) {
			for range n {
				at = (at + 1) % len(places)
				start := int64(places[at])*pieceStep + pieceStep/2
				if err := r.Lock(ctx, arena.Exclusive, start, 1); err != nil {
					panic(err)
				}
				if err := r.Release(start, 1); err != nil {
					panic(err)
				}
			}
		}
		return reply{Say: "there"}, nil
	}
}

var keptRanges *arena.Ranges
