package fuzz

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// A call is an operation of a history. An unanswered one is of a client that
// was killed in it: it may have come about or not, but not after the death.
// A death is an operation too: it lets go what the client holds, at any time
// after the kill, once.
type call struct {
	what       operation
	client     int
	argument   int
	ticket     int // of semaphores: each is looked at by itself
	unanswered bool
}

type answer struct {
	done, told bool
	fence      uint64
}

// processOf is who can give up what a client took: with its last goroutine the
// process dies, but what it leaves goes free one by one.
func processOf(client int) int { return client / goroutinesOfEach }

// locked is the state of a mutex or a readers-writer lock. Clients count from
// 1, 0 is nobody.
type locked struct {
	writer, upgradable int8
	readers            [historyClients]int8
	abandoned          bool
	dead               uint32 // clients whose death is over
	fence              uint64 // the last one that was told
}

func (s locked) read() bool { return s.readers != [historyClients]int8{} }

func (s locked) readBy(client int) int8 { return s.readers[client] }

// with is the state after a change.
func (s locked) with(change func(*locked)) []any {
	change(&s)
	return []any{s}
}

// lockStep is the model of mutexes and readers-writer locks. A failed try of a
// mutex says that somebody had it; other refusals say nothing.
func lockStep(exact bool) func(state, input, output any) []any {
	return func(state, input, output any) []any {
		s, in, out := state.(locked), input.(call), output.(answer)
		if in.what == opDeath {
			return s.with(func(s *locked) { s.die(in.client) })
		}
		if !in.unanswered {
			if in.refusable() && !out.done {
				if in.what == opTryLock && exact && s.writer == 0 {
					return nil
				}
				return []any{s}
			}
			next, ok := s.after(in)
			if !ok || !out.done || in.tells() && out.told != s.abandoned || in.what == opFence && out.fence <= s.fence {
				return nil
			}
			next.fence = max(s.fence, out.fence)
			return []any{next}
		}
		states := []any{s}
		if s.dead&(1<<in.client) != 0 {
			return states
		}
		if next, ok := s.after(in); ok {
			states = append(states, next)
		}
		if in.what == opLock || in.what == opTryLock || in.what == opUpgrade || in.what == opTryUpgrade {
			// Who dies shutting the gate leaves the lock abandoned, to be sure.
			told := s
			told.abandoned = true
			states = append(states, told)
		}
		return states
	}
}

func (s *locked) die(client int) {
	s.dead |= 1 << client
	me := int8(client + 1)
	s.readers[client] = 0
	if s.upgradable == me {
		s.upgradable = 0
	}
	if s.writer == me {
		s.writer, s.abandoned = 0, true
	}
}

func (c call) refusable() bool {
	switch c.what {
	case opLock, opTryLock, opRLock, opTryRLock, opULock, opUpgrade, opTryUpgrade:
		return true
	}
	return false
}

// tells is for acquisitions: they say whether the lock is abandoned.
func (c call) tells() bool { return c.refusable() }

// after is the state after an operation that comes about, if it can.
func (s locked) after(c call) (locked, bool) {
	me := int8(c.client + 1)
	mine := s.readBy(c.client)
	ok := false
	switch c.what {
	case opLock, opTryLock:
		ok = s.writer == 0 && s.upgradable == 0 && !s.read()
		s.writer = me
	case opUnlock:
		ok = s.writer == me
		s.writer = 0
	case opMark:
		ok = s.writer == me || s.upgradable == me
		s.abandoned = false
	case opFence:
		ok = s.writer == me || s.upgradable == me
	case opRLock, opTryRLock:
		ok = s.writer == 0
		s.readers[c.client]++
	case opRUnlock:
		ok = mine > 0
		s.readers[c.client]--
	case opULock:
		ok = s.writer == 0 && s.upgradable == 0
		s.upgradable = me
	case opUUnlock:
		ok = s.upgradable == me
		s.upgradable = 0
	case opUpgrade:
		ok = s.upgradable == me && !s.read()
		s.upgradable, s.writer = 0, me
	case opTryUpgrade:
		s.readers[c.client]--
		ok = mine == 1 && s.writer == 0 && s.upgradable == 0 && !s.read()
		s.writer = me
	case opDowngrade:
		ok = s.writer == me
		s.writer = 0
		s.readers[c.client]++
	case opDowngradeToU:
		ok = s.writer == me
		s.writer, s.upgradable = 0, me
	case opUDowngrade:
		ok = s.upgradable == me
		s.upgradable = 0
		s.readers[c.client]++
	}
	return s, ok
}

func (s locked) String() string {
	text := "free"
	switch {
	case s.writer != 0:
		text = fmt.Sprintf("written by %d", s.writer-1)
	case s.upgradable != 0:
		text = fmt.Sprintf("upgradable by %d", s.upgradable-1)
	}
	for i, n := range s.readers {
		if n > 0 {
			text += fmt.Sprintf(", read by %d", i)
		}
	}
	if s.abandoned {
		text += ", abandoned"
	}
	return text
}

// ticketState is the state of one ticket, and how many there are.
type ticketState struct {
	holder int8 // client + 1
	size   int8
}

func ticketStep(state, input, output any) []any {
	s, in, out := state.(ticketState), input.(call), output.(answer)
	me := int8(in.client + 1)
	if in.what != opDeath && !in.unanswered && !out.done {
		return nil // a release or a resize that failed
	}
	switch in.what {
	case opAcquire:
		if s.holder != 0 || in.ticket >= int(s.size) {
			return nil
		}
		return []any{ticketState{me, s.size}}
	case opRelease:
		if s.holder != me {
			return nil
		}
		return []any{ticketState{0, s.size}}
	case opDeath:
		if s.holder == me {
			s.holder = 0
		}
		return []any{s}
	default: // a resize
		resized := ticketState{s.holder, int8(in.argument)}
		if in.unanswered {
			return []any{s, resized}
		}
		return []any{resized}
	}
}

func describe(input, output any) string {
	in, out := input.(call), output.(answer)
	text := in.what.String()
	switch in.what {
	case opAcquire, opRelease:
		text += fmt.Sprintf(" ticket %d", in.ticket)
	case opResize:
		text += fmt.Sprintf(" to %d", in.argument)
	case opFence:
		text += fmt.Sprintf(" %d", out.fence)
	case opAsk:
		text += fmt.Sprintf(" %d", in.argument)
	case opGet:
		text += fmt.Sprintf(" tickets %b", in.argument)
	}
	switch {
	case in.what == opDeath:
	case in.unanswered:
		text += " – killed"
	case !out.done:
		text += " – refused"
	case out.told:
		text += ", told of a death"
	}
	return text
}

// historyKinds are the kinds of locks of which there are histories.
var historyKinds = map[string]historyKind{}

type historyKind struct {
	turn  func(*historian)
	model porcupine.NondeterministicModel
}

func init() {
	lock := func(exact bool) porcupine.NondeterministicModel {
		return porcupine.NondeterministicModel{
			Init: func() []any { return []any{locked{}} }, Step: lockStep(exact),
			DescribeOperation: describe, DescribeState: func(s any) string { return fmt.Sprint(s) },
		}
	}
	historyKinds["mutex"] = historyKind{(*historian).mutexTurn, lock(true)}
	historyKinds["rwmutex"] = historyKind{(*historian).rwmutexTurn, lock(false)}
	historyKinds["semaphore"] = historyKind{(*historian).semaphoreTurn, porcupine.NondeterministicModel{
		Init: func() []any { return []any{ticketState{size: historyTickets}} }, Step: ticketStep,
		DescribeOperation: describe, DescribeState: func(s any) string { return fmt.Sprintf("%+v", s) },
		Partition: byTicket,
	}}
}

// byTicket looks at each ticket by itself: taking two at once is taking each
// of them at some moment in between. All are resized together.
func byTicket(history []porcupine.Operation) [][]porcupine.Operation {
	parts := make([][]porcupine.Operation, mostHistoryTickets)
	for _, op := range history {
		in := op.Input.(call)
		for n := range parts {
			if in.what == opResize || in.ticket == n {
				parts[n] = append(parts[n], op)
			}
		}
	}
	return parts
}
