package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lockd/arena"
)

// fromStdin is the arena's name that means a dump on the standard input.
const fromStdin = "-"

const dumpHint = "\nARENA may also be the path of a dump, or - for one on the standard input."

// load reads an arena, or a dump. With an error may come a report of what
// could be read.
func (t *tool) load(name string) (*report, error) {
	if name == fromStdin {
		return t.readDump(t.stdin, "standard input")
	}
	path := t.path(name)
	if !strings.Contains(name, "/") {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) && isDump(name) {
			path = name // in the working directory
		}
	}
	if isDump(path) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return t.readDump(f, path)
	}
	s, err := t.read(name)
	if s == nil {
		return nil, err
	}
	return t.gather(s, err), err
}

// live is load for verbs that a dump is of no use to.
func (t *tool) live(name string) (*report, error) {
	s, err := t.read(name)
	if s == nil {
		return nil, err
	}
	return t.gather(s, err), err
}

// settled is live for verbs that look again and again at what is busy.
func (t *tool) settled(name string) (*report, error) {
	r, err := t.live(name)
	if r != nil {
		r.settled()
		t.skimmed = nil
	}
	return r, err
}

// dumpBegins is how each dump begins: the first key is its format.
const dumpBegins = `{"format":`

func isDump(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, 64)
	n, _ := io.ReadFull(f, start)
	return beginsAsDump(start[:n])
}

func beginsAsDump(start []byte) bool {
	squeezed := strings.Join(strings.Fields(string(start)), "")
	return strings.HasPrefix(squeezed, dumpBegins)
}

func (t *tool) readDump(from io.Reader, where string) (*report, error) {
	if from == nil {
		from = strings.NewReader("")
	}
	buffered := bufio.NewReader(from)
	if start, _ := buffered.Peek(64); !beginsAsDump(start) {
		return nil, fmt.Errorf("%s is no dump: it does not begin with %s; lockd-inspect dump ARENA makes one", where, dumpBegins)
	}
	r := new(report)
	if err := json.NewDecoder(buffered).Decode(r); err != nil {
		return nil, fmt.Errorf("%s is no whole dump: %v", where, err)
	}
	if r.Format != dumpFormat {
		return nil, fmt.Errorf("%s is a dump of format %d, this build reads format %d", where, r.Format, dumpFormat)
	}
	if r.Arena.Path == "" || r.Members == nil || r.Locks == nil {
		return nil, fmt.Errorf("%s is no dump of an arena: it lacks its arena, members or locks", where)
	}
	if err := r.link(); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if r.Trouble != nil {
		return r, errors.New(*r.Trouble)
	}
	return r, nil
}

// link finds for all that names a member its entry. A dump comes from outside:
// none of it has to fit.
func (r *report) link() error {
	last := uint16(0)
	for _, m := range r.Members {
		if m == nil || m.Index <= last {
			return errors.New("its members are not in order")
		}
		last = m.Index
	}
	entry := func(p *party) {
		if p != nil {
			p.entry = r.member(p.Index, p.Generation)
		}
	}
	for _, l := range r.Locks {
		if l == nil {
			return errors.New("one of its locks is null")
		}
		l.taken = time.Time(r.Taken)
		entry(l.Owner)
		for i := range l.Reading {
			entry(&l.Reading[i].party)
		}
		for i := range l.Waiting {
			entry(&l.Waiting[i].party)
		}
		for i := range l.Ranges {
			entry(&l.Ranges[i].party)
		}
		if l.Ranges == nil { // of a build before there were any
			l.Ranges = []rangeHold{}
		}
		if l.Tickets != nil {
			for i := range l.Tickets.Holders {
				entry(&l.Tickets.Holders[i].party)
			}
		}
	}
	for _, l := range r.Latches {
		if l == nil {
			return errors.New("one of its latches is null")
		}
		entry(l.Owner)
	}
	if err := r.linkSessions(); err != nil {
		return err
	}
	r.dumped = true
	r.whole = r.Trouble == nil || len(r.Members)+len(r.Locks) > 0
	return nil
}

// read takes a snapshot and explains, if it cannot be had, what to do next.
func (t *tool) read(name string) (*arena.Skimmed, error) {
	path := t.path(name)
	s, err := arena.Skim(path)
	switch {
	case errors.Is(err, arena.ErrNotExist) && strings.Contains(name, "/"):
		return nil, fmt.Errorf("no arena at %s; %s", quoted(path), t.arenasThere())
	case errors.Is(err, arena.ErrNotExist):
		return nil, fmt.Errorf("no arena named %s; %s", quoted(name), t.arenasThere())
	case errors.Is(err, arena.ErrPermission):
		return nil, fmt.Errorf("no permission to read %s; %s", quoted(path), whoMay(path))
	}
	if err != nil {
		err = explained{err}
	}
	return s, err
}

// explained is an error of the library without the library's name.
type explained struct{ error }

func (e explained) Error() string { return strings.TrimPrefix(e.error.Error(), "arena: ") }
func (e explained) Unwrap() error { return e.error }

// path is Path of another folder in tests.
func (t *tool) path(name string) string {
	if name == "" || strings.Contains(name, "/") {
		return name
	}
	return filepath.Join(t.folder, name)
}

func (t *tool) arenasThere() string {
	all, err := t.arenaNames()
	for i, name := range all {
		all[i] = quoted(name)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be read: %v", t.folder, err)
	case len(all) == 0:
		return "there are none in " + t.folder
	}
	return "there are: " + strings.Join(all, ", ")
}
