package main

import (
	"fmt"
	"slices"
	"time"

	"lockd/arena"
)

// session is one actor of a process: a goroutine, a request, a transaction.
type session struct {
	Index      uint16        `json:"member"`
	Generation uint16        `json:"generation"`
	Number     uint32        `json:"session"`
	PID        uint32        `json:"pid"`
	Label      string        `json:"label"`
	Holds      []sessionHold `json:"holds"`
	Wait       *sessionWait  `json:"wait"`

	entry *member
}

type sessionHold struct {
	Slot  uint32 `json:"slot"`
	Lock  string `json:"lock"`
	Kind  string `json:"kind"`
	Mode  string `json:"mode"`
	Count int    `json:"count"` // of tickets, or of ranges
}

type sessionWait struct {
	Slot   uint32 `json:"slot"`
	Lock   string `json:"lock"`
	Kind   string `json:"kind"`
	Mode   string `json:"mode"`
	Count  int    `json:"count"`
	Since  moment `json:"since"`
	Victim bool   `json:"victim"` // a detector has ended the wait
}

// deadlockEdge is one wait in a circle that the library has found: nobody in it
// can go on before one of them gives up.
type deadlockEdge struct {
	From sessionName `json:"from"`
	To   sessionName `json:"to"`
	Lock string      `json:"lock"`
}

type sessionName struct {
	Index      uint16 `json:"member"`
	Generation uint16 `json:"generation"`
	Number     uint32 `json:"session"`
}

func (s *session) name() sessionName { return sessionName{s.Index, s.Generation, s.Number} }

// title says who a session is, in a few words.
func (s *session) title() string {
	text := fmt.Sprintf("session %d", s.Number)
	if s.Label != "" {
		text += " (" + quoted(s.Label) + ")"
	}
	return text
}

func (r *report) gatherSessions(s *arena.Skimmed) {
	r.numberOf = make(map[uint32]*uint32)
	byRecord := make(map[uint32]*session)
	for _, i := range s.Sessions {
		x := &session{
			Index: i.Index, Generation: i.Generation, Number: i.Number, PID: i.PID, Label: i.Label, Holds: []sessionHold{},
			entry: r.member(i.Index, i.Generation),
		}
		for _, h := range i.Holds {
			x.Holds = append(x.Holds, sessionHold{h.Slot, h.Lock, h.Kind.String(), h.Mode.String(), h.Count})
		}
		if w := i.Wait; w != nil {
			x.Wait = &sessionWait{w.Slot, w.Lock, w.Kind.String(), w.Mode.String(), w.Count, moment(w.Since), w.Victim}
		}
		r.Sessions = append(r.Sessions, x)
		r.numberOf[i.Record], byRecord[i.Record] = &x.Number, x
	}
	if len(s.Sessions) == 0 {
		return
	}
	for l := range s.EachLock() {
		for _, p := range l.Ranges {
			if x := byRecord[p.Session]; x != nil && !p.Waiting {
				x.holdsRange(l, p.Mode.String())
			}
		}
	}
	name := func(n arena.WaitNode) sessionName { return sessionName{n.Index, n.Generation, n.Number} }
	for _, c := range s.WaitGraph().Deadlocks {
		var circle []deadlockEdge
		for _, e := range c {
			circle = append(circle, deadlockEdge{name(e.From), name(e.To), e.Lock})
		}
		r.Deadlocks = append(r.Deadlocks, circle)
	}
}

// holdsRange counts one more piece of a Ranges.
func (s *session) holdsRange(l *arena.LockInfo, mode string) {
	for i := range s.Holds {
		if h := &s.Holds[i]; h.Slot == l.Slot && h.Mode == mode {
			h.Count++
			return
		}
	}
	s.Holds = append(s.Holds, sessionHold{l.Slot, l.Name, l.Kind.String(), mode, 1})
}

// sessionsWith are those of a member that hold a lock, or wait for it.
func (r *report) sessionsWith(m *member, meant func(*session) bool) (all []*session) {
	for _, s := range r.Sessions {
		if s.entry == m && m != nil && meant(s) {
			all = append(all, s)
		}
	}
	return all
}

func (r *report) holding(m *member, slot uint32) []*session {
	return r.sessionsWith(m, func(s *session) bool {
		return slices.ContainsFunc(s.Holds, func(h sessionHold) bool { return h.Slot == slot })
	})
}

func (r *report) waitingIn(m *member, slot uint32) []*session {
	return r.sessionsWith(m, func(s *session) bool { return s.Wait != nil && s.Wait.Slot == slot })
}

// sessionRow is a session in a list.
type sessionRow struct {
	*session
	report *report
}

var sessionColumns = []column[sessionRow]{
	number("pid", "of its process, in its own pid namespace", func(s sessionRow) any { return s.PID }),
	number("session", "its number in the process", func(s sessionRow) any { return s.Number }),
	text("label", "that it was given", func(s sessionRow) any { return s.Label }),
	text("holds", "what it says that it holds, with mode or how many tickets or ranges", func(s sessionRow) any { return listed(sessionHolds(s.Holds)) }),
	text("waits", "what it says that it waits for", func(s sessionRow) any {
		if s.Wait == nil {
			return nil
		}
		return *s.Wait
	}),
	number("waiting", "for how long; in JSON in seconds", func(s sessionRow) any {
		if s.Wait == nil {
			return nil
		}
		return s.report.age(s.Wait.Since)
	}),
	text("process", "the label of its process", func(s sessionRow) any {
		if s.entry == nil {
			return nil
		}
		return s.entry.Label
	}),
	number("member", "its process in the member table", func(s sessionRow) any { return s.Index }).onDemand(),
}

type sessionHolds []sessionHold

func (all sessionHolds) String() string {
	return commas(all, func(h sessionHold) string {
		switch {
		case h.Kind == "ranges" && h.Mode == "shared":
			return fmt.Sprintf("%s (%s, shared)", quoted(h.Lock), rangesOf(h.Count))
		case h.Kind == "ranges":
			return fmt.Sprintf("%s (%s)", quoted(h.Lock), rangesOf(h.Count))
		}
		return inMode(h.Lock, h.Mode, h.Count)
	})
}

func (w sessionWait) String() string {
	text := inMode(w.Lock, w.Mode, w.Count)
	if w.Victim {
		text += ", ended as a deadlock"
	}
	return text
}

func inMode(lock, mode string, count int) string {
	switch {
	case mode == arena.OfTickets.String():
		return fmt.Sprintf("%s (%d tickets)", quoted(lock), count)
	case mode != arena.Exclusive.String():
		return fmt.Sprintf("%s (%s)", quoted(lock), mode)
	}
	return quoted(lock)
}

func (r *report) sessionRows() (rows []sessionRow) {
	for _, s := range r.Sessions {
		rows = append(rows, sessionRow{s, r})
	}
	return rows
}

// linkSessions is link for sessions.
func (r *report) linkSessions() error {
	for _, s := range r.Sessions {
		if s == nil {
			return fmt.Errorf("one of its sessions is null")
		}
		s.entry = r.member(s.Index, s.Generation)
	}
	return nil
}

// waitingSince is zero for a session that does not wait.
func (s *session) waitingSince() time.Time {
	if s.Wait == nil {
		return time.Time{}
	}
	return time.Time(s.Wait.Since)
}
