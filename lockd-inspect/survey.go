package main

import (
	"iter"
	"slices"

	"lockd/arena"
	"lockd/robust"
)

// locks are all that have a name; those of a small arena by name.
func (r *report) locks() iter.Seq[*lock] {
	return r.locksLike(func(*arena.LockInfo) bool { return true })
}

// locksLike may leave out, of a large arena, what nobody asks for before it is
// described.
func (r *report) locksLike(wanted func(*arena.LockInfo) bool) iter.Seq[*lock] {
	if r.skimmed == nil {
		return slices.Values(r.Locks)
	}
	return func(yield func(*lock) bool) {
		for i := range r.skimmed.EachLock() {
			if wanted(i) && !yield(r.lockOf(i)) {
				return
			}
		}
	}
}

// busy are the locks that somebody holds or waits for, or of which there is
// something to tell. Those of a large arena are kept from the first look, which
// counts all others, too.
func (r *report) busy() []*lock {
	if r.skimmed == nil {
		return r.Locks
	}
	if r.noted == nil {
		r.counts = nil
		r.count()
	}
	return r.noted
}

func (r *report) count() *arenaCounts {
	if r.counts != nil {
		return r.counts
	}
	r.counts = r.countMembers()
	if r.skimmed == nil {
		for _, l := range r.Locks {
			r.counts.add(l)
		}
		return r.counts
	}
	for i := range r.skimmed.EachLock() {
		if isIdle(i) {
			r.counts.names++
			continue
		}
		l := r.lockOf(i)
		r.counts.add(l)
		r.noted = append(r.noted, l)
	}
	return r.counts
}

func (r *report) countMembers() *arenaCounts {
	c := new(arenaCounts)
	for _, m := range r.Members {
		c.alive += one(m.Alive != nil && *m.Alive)
		c.dead += one(m.dead())
		c.unknown += one(m.Alive == nil)
	}
	return c
}

// counted are the locks, which are counted as they come: what is said of all of
// them behind the last one fits what was said of each.
func (r *report) counted() iter.Seq[*lock] {
	return func(yield func(*lock) bool) {
		c := r.countMembers()
		for l := range r.locks() {
			if c.add(l); !yield(l) {
				return
			}
		}
		r.counts = c
	}
}

// missed says why some of the locks of a large arena may not have been seen.
func (r *report) missed() error {
	if r.skimmed == nil || r.skimmed.Err() == nil {
		return nil
	}
	return explained{r.skimmed.Err()}
}

// isIdle is true of a lock of which there is nothing to tell but its name.
func isIdle(i *arena.LockInfo) bool {
	return i.Kind != arena.KindSemaphore && i.Word.IsFree() && !i.Word.Has(robust.Abandoned) && i.Gate == 0 && i.Abandonments == 0 &&
		len(i.Waiting) == 0 && len(i.Reading) == 0 && len(i.Ranges) == 0
}

// settled lets go of the file, for one who has looked at what is busy.
func (r *report) settled() *report {
	if r.skimmed != nil {
		r.busy()
		r.skimmed.Close()
		r.skimmed, r.Locks = nil, r.noted
	}
	return r
}
