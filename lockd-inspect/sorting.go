package main

import (
	"cmp"
	"iter"
	"runtime/debug"
	"slices"
	"strings"
)

// ordering is what --sort asks for.
type ordering[R any] struct {
	column  column[R]
	falling bool
}

func orderingBy[R any](table []column[R], by string) (o ordering[R], err error) {
	name, falling := strings.CutPrefix(by, "-")
	o.falling = falling
	o.column, err = find(table, name)
	return o, err
}

// compare puts what has no value last.
func (o ordering[R]) compare(x, y any) int {
	if x == nil || y == nil {
		return cmp.Compare(one(x == nil), one(y == nil))
	}
	if o.falling {
		x, y = y, x
	}
	return compare(x, y)
}

// ordered sorts rows by a column.
func ordered[R any](table []column[R], by string, rows []R) error {
	if by == "" {
		return nil
	}
	o, err := orderingBy(table, by)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b R) int { return o.compare(o.column.value(a), o.column.value(b)) })
	return nil
}

// keptLock is a lock that waits for its place in the list. Of an idle one, as
// most of a million are, only what tells it from others is kept.
type keptLock struct {
	key  any
	busy *lock
	idle idleLock
}

type idleLock struct {
	name, kind       string
	slot, generation uint32
	word             word
	fence            uint64
	named            seconds
}

func (l *lock) kept(o ordering[*lock]) keptLock {
	idle := l.State == "free" && l.NameHex == nil && l.LastDeath == nil && l.Abandonments == 0 && l.Tickets == nil && l.Tally == nil &&
		l.Waiters+l.Readers+len(l.Reading)+len(l.Waiting)+len(l.Ranges) == 0 && l.Owner == nil && !l.Abandoned &&
		(l.Kind == "rwmutex") == (l.Gate != nil && *l.Gate == "open")
	if !idle {
		return keptLock{key: o.column.value(l), busy: l}
	}
	return keptLock{key: o.column.value(l), idle: idleLock{l.Name, l.Kind, l.Slot, l.Generation, l.Word, l.Fence, l.Named}}
}

func (k *keptLock) lock(r *report) *lock {
	if k.busy != nil {
		return k.busy
	}
	l := newLock(k.idle.name, k.idle.kind, r)
	l.State, l.Slot, l.Generation, l.Word, l.Fence, l.Named = "free", k.idle.slot, k.idle.generation, k.idle.word, k.idle.fence, k.idle.named
	if l.Kind == "rwmutex" {
		open := "open"
		l.Gate = &open
	}
	return l
}

// keptAtOnce is how many are together: a list that grows in one piece is there
// twice while it does.
const keptAtOnce = 1 << 12

// sorted are the locks of a report in another order.
func (r *report) sorted(by string, rows iter.Seq[*lock]) iter.Seq[*lock] {
	return func(yield func(*lock) bool) {
		o, err := orderingBy(lockColumns, by)
		if err != nil {
			return // which was said
		}
		defer debug.SetGCPercent(debug.SetGCPercent(25)) // what is kept is all that there is to this process
		var pieces [][]keptLock
		var order []uint32
		for l := range rows {
			if len(order)%keptAtOnce == 0 {
				pieces = append(pieces, make([]keptLock, 0, keptAtOnce))
			}
			last := &pieces[len(pieces)-1]
			*last = append(*last, l.kept(o))
			order = append(order, uint32(len(order)))
		}
		at := func(i uint32) *keptLock { return &pieces[i/keptAtOnce][i%keptAtOnce] }
		slices.SortFunc(order, func(i, k uint32) int { return cmp.Or(o.compare(at(i).key, at(k).key), cmp.Compare(i, k)) })
		for _, i := range order {
			if !yield(at(i).lock(r)) {
				return
			}
		}
	}
}
