package fuzz

import (
	"context"
	"fmt"
	"time"

	"github.com/anishathalye/porcupine"

	"lockd/arena"
)

// historyCells is of how many cells there are histories; a cell is one offset,
// but the last, which goes on to the end.
const historyCells = 5

// cellState is the state of one cell: the mode in which each client has it.
type cellState struct {
	modes [historyClients]arena.Mode
	dead  uint32 // clients whose death is over
}

// rangesTurn takes cells for this client's own holder, patiently, then more,
// converts and gives back parts. Who has something waits only for a moment.
func (c *historian) rangesTurn() {
	r := c.a.Ranges("history")
	holds := false
	for range 1 + c.r.IntN(3) {
		from := c.r.IntN(historyCells)
		to := min(historyCells, from+1+c.r.IntN(3))
		start, length := int64(from), int64(to-from)
		if to == historyCells {
			length = 0
		}
		cells := (1<<to - 1) &^ (1<<from - 1)
		mode := arena.Shared
		if c.r.IntN(2) == 0 {
			mode = arena.Exclusive
		}
		switch n := c.r.IntN(6); {
		case holds && n < 2:
			c.record(opGive, cells, func(e *loggedEvent) { e.done = r.Release(start, length) == nil })
		case n < 4:
			e := c.record(opTake, cells|int(mode)<<historyCells, func(e *loggedEvent) { e.done, _ = r.TryLock(mode, start, length) })
			holds = holds || e.done
		default:
			ctx, cancel := c.wait()
			if holds {
				cancel()
				ctx, cancel = context.WithTimeout(context.Background(), time.Duration(c.r.IntN(500))*time.Microsecond)
			}
			e := c.record(opTake, cells|int(mode)<<historyCells, func(e *loggedEvent) { e.done = r.Lock(ctx, mode, start, length) == nil })
			holds = holds || e.done
			cancel()
		}
		c.pause()
		if c.full() {
			break
		}
	}
	c.record(opGive, 1<<historyCells-1, func(e *loggedEvent) { e.done = r.ReleaseAll() == nil })
	c.pause()
}

// cellStep is the model of a cell. To take what the client has converts it; to
// give what it has not does nothing; a refusal says nothing.
func cellStep(state, input, output any) []any {
	s, in, out := state.(cellState), input.(call), output.(answer)
	if in.what == opDeath {
		s.dead |= 1 << in.client
		s.modes[in.client] = 0
		return []any{s}
	}
	if !in.unanswered && !out.done {
		if in.what == opGive {
			return nil
		}
		return []any{s}
	}
	next, ok := s.after(in)
	switch {
	case !in.unanswered && ok:
		return []any{next}
	case !in.unanswered:
		return nil
	case ok && s.dead&(1<<in.client) == 0:
		return []any{s, next}
	}
	return []any{s}
}

func (s cellState) after(c call) (cellState, bool) {
	mode := arena.Mode(0)
	if c.what == opTake {
		mode = arena.Mode(c.argument >> historyCells)
	}
	for client, theirs := range s.modes {
		if client != c.client && (mode == arena.Exclusive && theirs != 0 || mode == arena.Shared && theirs == arena.Exclusive) {
			return s, false
		}
	}
	s.modes[c.client] = mode
	return s, true
}

func (s cellState) String() string {
	text := ""
	for client, mode := range s.modes {
		if mode != 0 {
			text += fmt.Sprintf("%v by %d ", mode, client)
		}
	}
	return text
}

// byCell looks at each cell by itself: taking some at once is taking each of
// them at some moment in between.
func byCell(history []porcupine.Operation) [][]porcupine.Operation {
	parts := make([][]porcupine.Operation, historyCells)
	for _, op := range history {
		in := op.Input.(call)
		for n := range parts {
			if in.what == opDeath || in.argument&(1<<n) != 0 {
				parts[n] = append(parts[n], op)
			}
		}
	}
	return parts
}

func describeCells(input, output any) string {
	in := input.(call)
	text := describe(input, output)
	if in.what == opTake {
		text += fmt.Sprintf(" %v", arena.Mode(in.argument>>historyCells))
	}
	return text
}

func init() {
	historyKinds["ranges"] = historyKind{(*historian).rangesTurn, porcupine.NondeterministicModel{
		Init: func() []any { return []any{cellState{}} }, Step: cellStep,
		DescribeOperation: describeCells, DescribeState: func(s any) string { return fmt.Sprint(s) },
		Partition: byCell,
	}}
}
