package main

import (
	"fmt"
	"time"
)

// ledger is what the workers reported, in no order among them: the table is
// compared with it at the end.
type ledger struct {
	operations int
	updates    map[uint64]int
	inserts    map[uint64]int
	deletes    map[uint64]int
	tornSeen   int
	kills      []kill
	heirs      []heir
}

// kill is a worker that was killed half-way through a change.
type kill struct {
	pid            int
	worker, change uint32
	when           time.Time
}

// heir is the report of a process that was told of a death, and when it came.
type heir struct {
	report
	when time.Time
}

func newLedger() *ledger {
	return &ledger{updates: map[uint64]int{}, inserts: map[uint64]int{}, deletes: map[uint64]int{}}
}

// enter takes in one report.
func (l *ledger) enter(r report) {
	switch r.Say {
	case sayDone:
		l.operations++
		l.count(r)
	case sayTorn:
		l.tornSeen += r.Count
	case sayHeir:
		l.heirs = append(l.heirs, heir{r, time.Now()})
		l.count(r)
	}
}

func (l *ledger) count(r report) {
	switch r.Op {
	case opUpdate:
		l.updates[r.Key]++
	case opInsert:
		l.inserts[r.Key]++
	case opDelete:
		l.deletes[r.Key]++
	}
}

func (l *ledger) changes() int {
	n := 0
	for _, counts := range []map[uint64]int{l.updates, l.inserts, l.deletes} {
		for _, count := range counts {
			n += count
		}
	}
	return n
}

// findings are the differences between a table and what was reported of it.
type findings struct {
	lostUpdates   int // additions that the accounts do not show
	extraUpdates  int // additions that nobody reported
	lostInserts   int // records inserted, not deleted, and not there
	undoneDeletes int // records deleted and there
	deletedTwice  int // deletions of what somebody else had deleted
	strangers     int // records nobody inserted, or there twice
	torn          int // records of two halves
	tornSeen      int // torn records that workers met on the way
}

func (f findings) lost() int { return f.lostUpdates + f.lostInserts + f.undoneDeletes }

func (f findings) none() bool { return f == findings{} }

func (l *ledger) compare(rows []row) findings {
	f := findings{tornSeen: l.tornSeen}
	there := map[uint64]int{}
	for place, r := range rows {
		switch {
		case r.torn:
			f.torn++
		case place < accounts && r.live:
			missing := l.updates[r.key] - int(r.value)
			f.lostUpdates += max(missing, 0)
			f.extraUpdates += max(-missing, 0)
		}
		if r.live {
			there[r.key]++
		}
	}
	for key := uint64(1); key <= accounts; key++ {
		if there[key] == 0 {
			f.lostUpdates += l.updates[key]
		}
	}
	for key, n := range l.deletes {
		f.deletedTwice += max(n-1, 0)
		if there[key] > 0 {
			f.undoneDeletes++
		}
	}
	for key := range l.inserts {
		if there[key] == 0 && l.deletes[key] == 0 {
			f.lostInserts++
		}
	}
	for key, n := range there {
		if key > accounts && l.inserts[key] == 0 {
			f.strangers++
		}
		f.strangers += n - 1
	}
	return f
}

// checkHeirs compares the deaths that heirs were told of with the kills: each
// told once, to a heir that finished just that change. A change that was
// killed half-way so counts as done.
func (l *ledger) checkHeirs() error {
	if len(l.heirs) != len(l.kills) {
		return fmt.Errorf("%d heirs were told of a dead owner, %d owners were killed", len(l.heirs), len(l.kills))
	}
	for _, k := range l.kills {
		h, told := l.heirOf(k)
		if told != 1 {
			return fmt.Errorf("%d heirs were told of the death of pid %d", told, k.pid)
		}
		if h.Label != label(int(k.worker)) || h.Op == "" || h.Worker != k.worker || h.Change != k.change {
			return fmt.Errorf("the heir of pid %d, which was killed in change %d of %s, was told %q and finished change %d of worker %d",
				k.pid, k.change, label(int(k.worker)), h.Label, h.Change, h.Worker)
		}
	}
	return nil
}

// heirOf returns who was told of k, and how many were.
func (l *ledger) heirOf(k kill) (first heir, told int) {
	for _, h := range l.heirs {
		if h.PID != k.pid {
			continue
		}
		if told == 0 {
			first = h
		}
		told++
	}
	return first, told
}
