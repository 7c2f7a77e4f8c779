package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lockd/arena"
	"lockd/robust"
)

// arenaRow is an arena in a list; of one that cannot be read wholly, some of
// the columns are empty.
type arenaRow struct {
	name string
	*arena.Snapshot
	whole bool
}

// counted is what a column counts, in an arena that could be read.
func counted[T any](count func(*arena.Snapshot, T) int, of func(*arena.Snapshot) []T) func(arenaRow) any {
	return func(a arenaRow) any {
		if !a.whole {
			return nil
		}
		sum := 0
		for _, e := range of(a.Snapshot) {
			sum += count(a.Snapshot, e)
		}
		return sum
	}
}

func locksThat(are func(*arena.LockInfo) bool) func(arenaRow) any {
	return counted(func(_ *arena.Snapshot, l arena.LockInfo) int { return one(are(&l)) },
		func(s *arena.Snapshot) []arena.LockInfo { return s.Locks })
}

func membersThat(are robust.Verdict) func(arenaRow) any {
	return counted(func(_ *arena.Snapshot, m arena.MemberInfo) int { return one(m.Verdict == are) },
		func(s *arena.Snapshot) []arena.MemberInfo { return s.Members })
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// isAbandoned is false for a semaphore: there A is about its queue's latch.
func isAbandoned(l *arena.LockInfo) bool {
	return l.Kind != arena.KindSemaphore && l.Word.Has(robust.Abandoned)
}

var arenaColumns = []column[arenaRow]{
	{"name", "file name, or path outside of " + arena.Dir, false, false, func(a arenaRow) any { return a.name }},
	{"path", "the file", true, false, func(a arenaRow) any { return a.Path }},
	{"size", "of the file, in bytes", false, true, func(a arenaRow) any { return octets(a.Size) }},
	{"in_use", "locks held, read, abandoned or waited for", false, true, locksThat(func(l *arena.LockInfo) bool {
		return l.Held() || isAbandoned(l) || l.Waiters > 0 || l.Readers > 0
	})},
	{"capacity", "locks that it may grow to", false, true, func(a arenaRow) any {
		if !a.whole {
			return nil
		}
		return a.Capacity()
	}},
	{"alive", "processes attached", false, true, membersThat(robust.Alive)},
	{"dead", "processes that died attached, not settled yet", false, true, membersThat(robust.Gone)},
	{"unknown", "processes that may be dead or alive", true, true, membersThat(robust.Unknown)},
	{"waiting", "goroutines and commands that wait for a lock", false, true, counted(
		func(_ *arena.Snapshot, l arena.LockInfo) int { return l.Waiters },
		func(s *arena.Snapshot) []arena.LockInfo { return s.Locks })},
	{"abandoned", "locks whose last owner died and that nobody has marked consistent", false, true, locksThat(isAbandoned)},
	{"held", "locks held", true, true, locksThat((*arena.LockInfo).Held)},
	{"names", "locks in the table, idle ones included", true, true, locksThat(func(*arena.LockInfo) bool { return true })},
	{"segments", "of 1024 locks, in use", true, true, func(a arenaRow) any {
		if !a.whole {
			return nil
		}
		return a.Segments
	}},
	{"version", "of the file's format", true, true, func(a arenaRow) any { return a.Version }},
	{"created", "when", true, false, func(a arenaRow) any { return when(a.Created) }},
	{"age", "since it was created; in JSON in seconds", false, true, func(a arenaRow) any {
		if a.Created.IsZero() {
			return nil
		}
		return seconds(now().Sub(a.Created))
	}},
}

// now stands still in tests.
var now = time.Now

func when(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return moment(at)
}

func (t *tool) rowOf(s *arena.Snapshot, whole bool) arenaRow {
	name := s.Path
	if filepath.Dir(s.Path) == t.folder {
		name = filepath.Base(s.Path)
	}
	return arenaRow{name, s, whole}
}

// findArenas reads all arenas of the folder. Files that are none, or that this
// user may not read, are passed over; what is wrong with the rest is in problems.
func (t *tool) findArenas() (found []arenaRow, problems []error, err error) {
	entries, err := os.ReadDir(t.folder)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || isHalfMade(e.Name()) {
			continue
		}
		s, err := t.read(filepath.Join(t.folder, e.Name()))
		if s != nil {
			found = append(found, t.rowOf(s, err == nil))
			if err != nil {
				problems = append(problems, err)
			}
		}
	}
	return found, problems, nil
}

// isHalfMade tells the temporary names of arenas that are being created.
func isHalfMade(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, ".new-")
}

func (t *tool) showArenas(l layout) int {
	columns, err := choose(arenaColumns, l.columns, l.json)
	if err != nil {
		return t.misused(err)
	}
	found, problems, err := t.findArenas()
	if errors.Is(err, os.ErrNotExist) {
		t.complain("there is no %s on this host; name an arena by its path", t.folder)
		return exitCannotTell
	}
	if err != nil {
		t.complain("%v", err)
		return exitCannotTell
	}
	code := write(t, l, columns, found, "", "arenas")
	if len(found) == 0 && !l.json {
		t.complain("no arenas in %s that you may read", t.folder)
	}
	for _, p := range problems {
		t.complain("%v", p)
		code = exitCannotTell
	}
	return code
}

func helpArenas(w io.Writer) {
	fmt.Fprintf(w, "Lists the arenas in %s.\n\n", arena.Dir)
	helpView(w, arenaColumns)
}
