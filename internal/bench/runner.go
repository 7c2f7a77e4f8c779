package main

import (
	"context"
	"errors"
	"fmt"
)

// measured is what the rounds of one contender came to.
type measured struct {
	name    string
	skipped string // why it was not measured
	samples []sample
}

// run measures a case: its contenders in turns, each round beginning with
// another one, so that what else the machine does meets all alike.
func (e *env) run(c benchCase, rounds int) (list []measured, err error) {
	list = make([]measured, len(c.contenders))
	turns := make([]func() (sample, error), len(c.contenders))
	for i, who := range c.contenders {
		list[i].name = who.name
		s, err := e.stage()
		if err != nil {
			return nil, err
		}
		defer s.close()
		turn, err := who.start(s)
		if why, is := isSkipped(err); is {
			list[i].skipped = why
			continue
		}
		if err != nil {
			return nil, e.explain(c, who, err)
		}
		turns[i] = turn
	}
	for round := range rounds {
		for k := range turns {
			i := (k + round) % len(turns)
			if turns[i] == nil {
				continue
			}
			one, err := turns[i]()
			if why, is := isSkipped(err); is {
				list[i].skipped, turns[i] = why, nil
				continue
			}
			if err != nil {
				return nil, e.explain(c, c.contenders[i], err)
			}
			list[i].samples = append(list[i].samples, one)
		}
	}
	return list, nil
}

func (e *env) explain(c benchCase, who contender, err error) error {
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	return fmt.Errorf("%s of %s: %w", c.name, who.name, err)
}

var errInterrupted = errors.New("interrupted")
