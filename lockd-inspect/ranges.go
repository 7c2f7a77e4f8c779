package main

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// stretch is what a range is of: offsets in 0 … 2^63 − 1.
type stretch struct {
	Start uint64  `json:"start"`
	End   *uint64 `json:"end"` // inside; none: up to the last one
}

const lastOffset = 1<<63 - 1

func stretchOf(first, last uint64) stretch {
	if last == lastOffset {
		return stretch{Start: first}
	}
	return stretch{first, &last}
}

func (s stretch) last() uint64 {
	if s.End == nil {
		return lastOffset
	}
	return *s.End
}

func (s stretch) overlaps(t stretch) bool { return s.Start <= t.last() && t.Start <= s.last() }

// String is like "100-149", "7" or, to the end, "200-".
func (s stretch) String() string {
	switch start := strconv.FormatUint(s.Start, 10); {
	case s.End == nil:
		return start + "-"
	case *s.End == s.Start:
		return start
	default:
		return start + "-" + strconv.FormatUint(*s.End, 10)
	}
}

func stretches(all []stretch) string {
	var texts []string
	for _, s := range all {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, ",")
}

// without is what of a stretch is in none of others.
func (s stretch) without(others []stretch) []stretch {
	left := []stretch{s}
	for _, o := range others {
		var rest []stretch
		for _, piece := range left {
			if !piece.overlaps(o) {
				rest = append(rest, piece)
				continue
			}
			if piece.Start < o.Start {
				rest = append(rest, stretchOf(piece.Start, o.Start-1))
			}
			if piece.last() > o.last() {
				rest = append(rest, stretchOf(o.last()+1, piece.last()))
			}
		}
		left = rest
	}
	return left
}

// rangeHold is one piece of a Ranges.
type rangeHold struct {
	party
	stretch
	Mode    string  `json:"mode"`
	Holder  uint32  `json:"holder"` // in its process, whose number that is
	Session *uint32 `json:"session"`
}

// rangeRequest is what somebody waits for who waits for a range.
type rangeRequest struct {
	stretch
	Holder  uint32  `json:"holder"`
	Session *uint32 `json:"session"`
}

// isLatched: its word and its owner are those of a latch, which is held for a
// moment, and not of what it is for.
func (l *lock) isLatched() bool { return l.Kind == "semaphore" || l.Kind == "ranges" }

// rangesState is how a Ranges is.
func (l *lock) rangesState() string {
	if len(l.Ranges) == 0 {
		return "free"
	}
	return rangesOf(len(l.Ranges))
}

func rangesOf(n int) string {
	if n == 1 {
		return "1 range"
	}
	return fmt.Sprintf("%d ranges", n)
}

// obstacle is who is in the way of a request for a range: by holding some of
// it or, ahead, by an earlier request.
type obstacle struct {
	*party
	session *uint32
	ahead   bool
}

// obstaclesOf follows the library: a request waits for what others hold of its
// range, and for their earlier requests, unless both are shared, or its own
// holder has what the earlier one waits for.
func (l *lock) obstaclesOf(w *waiter) (all []obstacle) {
	if w.Range == nil {
		return nil
	}
	excludes := func(s stretch, mode string) bool {
		return s.overlaps(w.Range.stretch) && (mode != "shared" || w.Mode != "shared")
	}
	var own []*rangeHold
	for i := range l.Ranges {
		if h := &l.Ranges[i]; h.isOf(w) {
			own = append(own, h)
		} else if excludes(h.stretch, h.Mode) {
			all = append(all, obstacle{&h.party, h.Session, false})
		}
	}
	queued := 0
	for i := range l.Waiting {
		if &l.Waiting[i] == w {
			queued = i
		}
	}
	for i := range queued {
		e := &l.Waiting[i]
		if e.Range == nil || e.same(&w.party) && e.Range.Holder == w.Range.Holder || !excludes(e.Range.stretch, e.Mode) || e.dead() {
			continue
		}
		if !slices.ContainsFunc(own, func(h *rangeHold) bool { return h.letsPass(w, e) }) {
			all = append(all, obstacle{&e.party, e.Range.Session, true})
		}
	}
	return all
}

func (h *rangeHold) isOf(w *waiter) bool { return h.same(&w.party) && h.Holder == w.Range.Holder }

// letsPass tells whether who has h goes before an earlier request: that one
// waits for h, or h is all that the two requests have in common.
func (h *rangeHold) letsPass(w, earlier *waiter) bool {
	if h.overlaps(earlier.Range.stretch) && (h.Mode != "shared" || earlier.Mode != "shared") {
		return true
	}
	return h.Start <= max(w.Range.Start, earlier.Range.Start) && h.last() >= min(w.Range.last(), earlier.Range.last())
}

// eachRangeHolder calls f with each process that holds some of it, once a mode.
func (l *lock) eachRangeHolder(f func(p *party, mode string, held []stretch)) {
	type key struct {
		index, generation uint16
		mode              string
	}
	held := make(map[key][]stretch)
	for _, h := range l.Ranges {
		k := key{h.Index, h.Generation, h.Mode}
		held[k] = append(held[k], h.stretch)
	}
	for i := range l.Ranges {
		h := &l.Ranges[i]
		k := key{h.Index, h.Generation, h.Mode}
		if all := held[k]; all != nil {
			delete(held, k)
			f(&h.party, h.Mode, all)
		}
	}
}

// sessionOf is the session of this number, or nil.
func (r *report) sessionOf(m *member, number *uint32) *session {
	if number != nil && m != nil {
		for _, s := range r.Sessions {
			if s.entry == m && s.Number == *number {
				return s
			}
		}
	}
	return nil
}

type rangeHolds []rangeHold

func (all rangeHolds) String() string {
	return joined(all, func(h rangeHold) string {
		text := fmt.Sprintf("%d:%s", h.PID, h.stretch)
		if h.Mode == "shared" {
			text += "/s"
		}
		return text
	})
}

// rangeTable shows what is held of a Ranges.
func (s *sheet) rangeTable(l *lock) {
	s.line("ranges", "%d held", len(l.Ranges))
	if len(l.Ranges) == 0 {
		return
	}
	columns := []column[*rangeHold]{
		text("", "", func(*rangeHold) any { return unquoted("") }),
		number("start", "", func(h *rangeHold) any { return h.Start }),
		number("end", "", func(h *rangeHold) any {
			if h.End == nil {
				return "end"
			}
			return *h.End
		}),
		text("mode", "", func(h *rangeHold) any { return h.Mode }),
		text("holder", "", func(h *rangeHold) any { return unquoted(s.described(&h.party, s.inSession(h.entry, h.Session))) }),
	}
	writeTable(bufio.NewWriter(s.w), s.t.screen, columns, func(yield func(*rangeHold) bool) {
		for i := range l.Ranges {
			if !yield(&l.Ranges[i]) {
				return
			}
		}
	}, true)
}

// unquoted is a text in which each part is quoted that needs it.
type unquoted string

func (u unquoted) String() string { return string(u) }

func (s *sheet) inSession(m *member, number *uint32) string {
	if x := s.r.sessionOf(m, number); x != nil {
		return s.inSessions([]*session{x})
	}
	return ""
}
