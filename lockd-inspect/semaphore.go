package main

import (
	"fmt"
	"strings"

	"lockd/arena"
	"lockd/robust"
)

// ticketHolders and ticketQueue are lists in JSON and texts in a table.
type (
	ticketHolders []ticketHolder
	ticketQueue   []ticketRequest
)

type ticketHolder struct {
	PID     uint32 `json:"pid"`
	Label   string `json:"label"`
	Alive   *bool  `json:"alive"` // null if that cannot be told
	Tickets []int  `json:"tickets"`
}

type ticketRequest struct {
	PID     uint32  `json:"pid"`
	Label   string  `json:"label"`
	Alive   *bool   `json:"alive"`
	For     string  `json:"for"`
	Tickets int     `json:"tickets"`
	Waiting seconds `json:"waiting"`
}

// String is like "4711:0-2,5 4712:3".
func (t ticketHolders) String() string {
	var all []string
	for _, h := range t {
		all = append(all, fmt.Sprintf("%d:%s", h.PID, ranges(h.Tickets)))
	}
	return strings.Join(all, " ")
}

// String is like "4713:2 4714:1", in the order in which they are served.
func (t ticketQueue) String() string {
	var all []string
	for _, r := range t {
		all = append(all, fmt.Sprintf("%d:%d", r.PID, r.Tickets))
	}
	return strings.Join(all, " ")
}

// ranges writes ascending numbers shortly.
func ranges(numbers []int) string {
	var all []string
	for i := 0; i < len(numbers); {
		k := i
		for k+1 < len(numbers) && numbers[k+1] == numbers[k]+1 {
			k++
		}
		if k == i {
			all = append(all, fmt.Sprint(numbers[i]))
		} else {
			all = append(all, fmt.Sprintf("%d-%d", numbers[i], numbers[k]))
		}
		i = k + 1
	}
	return strings.Join(all, ",")
}

func aliveOf(v robust.Verdict) *bool {
	if v == robust.Unknown {
		return nil
	}
	alive := v == robust.Alive
	return &alive
}

func ofSemaphore(value func(*arena.SemaphoreState) any) func(lockRow) any {
	return func(l lockRow) any {
		if l.Semaphore == nil {
			return nil
		}
		return value(l.Semaphore)
	}
}

var semaphoreColumns = []column[lockRow]{
	{"tickets", "how many a semaphore has", true, true, ofSemaphore(func(s *arena.SemaphoreState) any { return s.Tickets })},
	{"tickets_held", "how many of them are held", true, true, ofSemaphore(func(s *arena.SemaphoreState) any { return s.InUse })},
	{"ticket_holders", "which tickets each process holds, as PID:NUMBERS", true, false, ofSemaphore(func(s *arena.SemaphoreState) any {
		if len(s.Holders) == 0 {
			return nil
		}
		var all ticketHolders
		for _, h := range s.Holders {
			all = append(all, ticketHolder{h.PID, h.Label, aliveOf(h.Verdict), h.Numbers})
		}
		return all
	})},
	{"ticket_queue", "which requests wait, in order, as PID:TICKETS; in JSON also what for, and how long", true, false, ofSemaphore(func(s *arena.SemaphoreState) any {
		if len(s.Queue) == 0 {
			return nil
		}
		var all ticketQueue
		for _, r := range s.Queue {
			all = append(all, ticketRequest{r.PID, r.Label, aliveOf(r.Verdict), r.For.String(), r.Tickets, seconds(now().Sub(r.Since))})
		}
		return all
	})},
}

// semaphoreState is the state of a semaphore, like "2 of 4".
func semaphoreState(s *arena.SemaphoreState) string {
	if s == nil {
		return "none"
	}
	text := fmt.Sprintf("%d of %d", s.InUse, s.Tickets)
	if s.Ending {
		text += ", ending"
	}
	return text
}
