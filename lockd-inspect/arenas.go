package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// arenaRow is an arena in a list; of one that cannot be read wholly, some of
// the columns are empty.
type arenaRow struct {
	name string
	*report
	counts *arenaCounts // nil if its tables could not be read
}

// arenaCounts is what one look at all members and locks finds.
type arenaCounts struct {
	names, held, inUse, waiting, abandoned int
	alive, dead, unknown                   int
}

func rowOf(r *report) arenaRow {
	row := arenaRow{name: r.Arena.Name, report: r}
	if !r.whole || r.Trouble != nil {
		return row
	}
	row.counts = r.count()
	return row
}

// behind is what JSON says of the arena behind a list of what is in it.
func (r *report) behind() string {
	return string(appendRow([]byte(`,"arena":`), keysOf(arenaColumns), arenaColumns, rowOf(r)))
}

func (c *arenaCounts) add(l *lock) {
	c.names++
	c.held += one(l.exclusivelyHeld())
	c.inUse += one(l.inUse())
	c.waiting += l.Waiters
	c.abandoned += one(l.Abandoned)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func counted(count func(*arenaCounts) int) func(arenaRow) any {
	return func(a arenaRow) any {
		if a.counts == nil {
			return nil
		}
		return count(a.counts)
	}
}

var arenaColumns = []column[arenaRow]{
	text("name", "file name, or path outside of /dev/shm", func(a arenaRow) any { return a.name }),
	text("path", "the file", func(a arenaRow) any { return a.Arena.Path }).onDemand(),
	number("size", "of the file, in bytes", func(a arenaRow) any { return a.Arena.Size }),
	number("in_use", "locks held, read, abandoned or waited for", counted(func(c *arenaCounts) int { return c.inUse })),
	number("capacity", "locks that it may grow to", func(a arenaRow) any {
		if a.counts == nil {
			return nil
		}
		return a.Arena.Capacity
	}),
	number("alive", "processes attached", counted(func(c *arenaCounts) int { return c.alive })),
	number("dead", "processes that died attached, not settled yet", counted(func(c *arenaCounts) int { return c.dead })),
	number("unknown", "processes that may be dead or alive", counted(func(c *arenaCounts) int { return c.unknown })).onDemand(),
	number("waiting", "goroutines and commands that wait for a lock", counted(func(c *arenaCounts) int { return c.waiting })),
	number("abandoned", "locks whose last owner died and that nobody has marked consistent",
		counted(func(c *arenaCounts) int { return c.abandoned })),
	number("held", "locks held", counted(func(c *arenaCounts) int { return c.held })).onDemand(),
	number("names", "locks in the table, idle ones included", counted(func(c *arenaCounts) int { return c.names })).onDemand(),
	number("segments", "of 1024 locks, in use", func(a arenaRow) any {
		if a.counts == nil {
			return nil
		}
		return a.Arena.Segments
	}).onDemand(),
	number("version", "of the file's format", func(a arenaRow) any { return a.Arena.Version }).onDemand(),
	text("created", "when", func(a arenaRow) any {
		if a.age(a.Arena.Created) == nil {
			return nil
		}
		return a.Arena.Created
	}).onDemand(),
	number("age", "since it was created; in JSON in seconds", func(a arenaRow) any { return a.age(a.Arena.Created) }),
}

// findArenas reads all arenas of the folder. Files that are none, or that this
// user may not read, are passed over; what is wrong with the rest is in problems.
func (t *tool) findArenas() (found []arenaRow, problems []error, err error) {
	names, err := t.arenaNames()
	for _, name := range names {
		r, err := t.live(filepath.Join(t.folder, name))
		if r != nil {
			found = append(found, rowOf(r))
			r.settled()
			if err != nil {
				problems = append(problems, err)
			}
		}
	}
	return found, problems, err
}

// nameArenas is findArenas for what isOfNames.
func (t *tool) nameArenas() (found []arenaRow, _ []error, err error) {
	names, err := t.arenaNames()
	for _, name := range names {
		found = append(found, arenaRow{name: name, report: &report{Arena: arenaFacts{Name: name, Path: filepath.Join(t.folder, name)}}})
	}
	return found, nil, err
}

// isOfNames tells whether no arena has to be read for that, as when a shell
// completes the name of one.
func isOfNames(columns []column[arenaRow], sort string) bool {
	known := func(name string) bool { return name == "" || name == "name" || name == "path" }
	return known(strings.ToLower(strings.TrimPrefix(sort, "-"))) && !slices.ContainsFunc(columns, func(c column[arenaRow]) bool { return !known(c.name) })
}

// arenaNames reads of each file no more than how it begins, however large it is.
func (t *tool) arenaNames() (all []string, err error) {
	entries, err := os.ReadDir(t.folder)
	for _, e := range entries {
		if e.Type().IsRegular() && !isHalfMade(e.Name()) && beginsAsArena(filepath.Join(t.folder, e.Name())) {
			all = append(all, e.Name())
		}
	}
	return all, err
}

// arenaPaths are for verbs that look at all arenas if none is named. If none
// may be read and some may be there, nothing can be told.
func (t *tool) arenaPaths() ([]string, error) {
	all, err := t.arenaNames()
	if len(all) == 0 && err == nil {
		return nil, t.mayNotRead()
	}
	for i, name := range all {
		all[i] = filepath.Join(t.folder, name)
	}
	return all, err
}

// mayNotRead names what may be an arena, by its size, and may not be read.
func (t *tool) mayNotRead() error {
	const header = 4096 // what is smaller is none
	entries, err := os.ReadDir(t.folder)
	var kept []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() < header || isHalfMade(e.Name()) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(t.folder, e.Name()), os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			f.Close()
		} else if errors.Is(err, os.ErrPermission) {
			kept = append(kept, quoted(e.Name()))
		}
	}
	if len(kept) == 0 {
		return err
	}
	return fmt.Errorf("no arenas in %s that you may read; what you may not read and may be one: %s", t.folder, strings.Join(kept, ", "))
}

// beginsAsArena is false of a file that this user may not read.
func beginsAsArena(path string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // it may have become a fifo
	if err != nil {
		return false
	}
	defer f.Close()
	return hasBeginning(f)
}

// hasBeginning reads what an arena of any version begins with.
func hasBeginning(f *os.File) bool {
	var start [16]byte // the version is in there, too
	_, err := io.ReadFull(f, start[:])
	return err == nil && strings.HasPrefix(string(start[:]), "lockd\x00A1")
}

// isHalfMade tells the temporary names of arenas that are being created.
func isHalfMade(name string) bool {
	return strings.HasPrefix(name, ".") && strings.Contains(name, ".new-")
}

func arenasVerb() *verb {
	var l layout
	v := newVerb("arenas", "", "the arenas on this host; also with no verb at all", `Lists the arenas in /dev/shm that this user may read. Counts are made by reading
each of them whole; where only names and paths are asked for, none is read.`)
	l.flags(v.flags)
	v.columns = helpOn(arenaColumns)
	v.run = func(t *tool, args []string) int {
		columns, err := choose(arenaColumns, l.columns, l.json)
		if err == nil && len(args) > 0 {
			err = errors.New("arenas takes no arguments; lockd-inspect locks ARENA shows one")
		}
		if err != nil {
			return t.misused(v, err)
		}
		find := t.findArenas
		if isOfNames(columns, l.sort) {
			find = t.nameArenas
		}
		found, problems, err := find()
		if errors.Is(err, os.ErrNotExist) {
			t.complain("there is no %s on this host; name an arena by its path", t.folder)
			return exitCannotTell
		}
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		if err := ordered(arenaColumns, l.sort, found); err != nil {
			return t.misused(v, err)
		}
		code := write(t, l, columns, slices.Values(found), "arenas", nil)
		if len(found) == 0 && !l.json {
			t.complain("no arenas in %s that you may read", t.folder)
		}
		for _, p := range problems {
			t.complain("%v", p)
			code = exitCannotTell
		}
		return code
	}
	return v
}
