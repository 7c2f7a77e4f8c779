package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"lockd/arena"
)

// layout is how a view is to be shown.
type layout struct {
	json      bool
	noHeaders bool
	columns   string
}

func viewFlags(l *layout, help *bool) *pflag.FlagSet {
	f := pflag.NewFlagSet("view", pflag.ContinueOnError)
	f.SortFlags = false
	f.BoolVar(&l.json, "json", false, "JSON, with numbers as numbers and null for none")
	f.BoolVar(&l.noHeaders, "no-headers", false, "only the lines below the headers")
	f.StringVarP(&l.columns, "columns", "o", "", "`list` of columns to show; +list adds to the usual ones")
	f.BoolVarP(help, "help", "h", false, "say what this verb does")
	return f
}

// view shows one arena if one is named, all of them if not.
func (t *tool) view(args []string) int {
	var l layout
	var help bool
	f := viewFlags(&l, &help)
	if err := f.Parse(args); err != nil {
		return t.misused(err)
	}
	named := f.Args()
	verb := ""
	if len(named) > 0 && named[0] == "locks" {
		verb, named = named[0], named[1:]
	}
	switch {
	case help && verb == "":
		return t.help(nil)
	case help:
		return t.help([]string{verb})
	case len(named) > 1:
		return t.misused(fmt.Errorf("%q is no verb, and one arena at a time can be shown", named[0]))
	case len(named) == 1:
		return t.showLocks(named[0], l)
	case verb == "locks":
		return t.misused(errors.New("locks of which arena? " + t.arenasThere()))
	}
	return t.showArenas(l)
}

func (t *tool) misused(err error) int {
	t.complain("%v; lockd-inspect help says more", err)
	return exitCannotTell
}

// read takes a snapshot and explains, if it cannot be had, what to do next.
func (t *tool) read(name string) (*arena.Snapshot, error) {
	path := t.path(name)
	s, err := arena.ReadSnapshot(path)
	switch {
	case errors.Is(err, arena.ErrNotExist) && strings.Contains(name, "/"):
		return nil, fmt.Errorf("no arena at %s; %s", quoted(path), t.arenasThere())
	case errors.Is(err, arena.ErrNotExist):
		return nil, fmt.Errorf("no arena named %s; %s", quoted(name), t.arenasThere())
	case errors.Is(err, arena.ErrPermission):
		return nil, fmt.Errorf("no permission to read %s; %s", quoted(path), whoMay(path))
	}
	if err != nil {
		err = errors.New(strings.TrimPrefix(err.Error(), "arena: "))
	}
	return s, err
}

// path is Path of another folder in tests.
func (t *tool) path(name string) string {
	if name == "" || strings.Contains(name, "/") {
		return name
	}
	return filepath.Join(t.folder, name)
}

func (t *tool) arenasThere() string {
	var all []string
	found, _, err := t.findArenas()
	for _, a := range found {
		all = append(all, quoted(a.name))
	}
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be read: %v", t.folder, err)
	case len(all) == 0:
		return "there are none in " + t.folder
	}
	return "there are: " + strings.Join(all, ", ")
}

// whoMay says which users a file's mode lets read it.
func whoMay(path string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return "its folder lets only others in"
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "root may"
	}
	may := []string{"root"}
	if owner := userName(st.Uid); st.Mode&0o400 != 0 && owner != "root" {
		may = append(may, owner)
	}
	if st.Mode&0o040 != 0 {
		may = append(may, "group "+groupName(st.Gid))
	}
	return fmt.Sprintf("%s may (mode %#o)", strings.Join(may, ", "), st.Mode&0o7777)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return "gid " + id
}

// write shows rows as a table or, under a key, as JSON; before them in the
// object come the members of front.
func write[R any](t *tool, l layout, columns []column[R], rows []R, front, key string) int {
	w := bufio.NewWriter(t.stdout)
	if l.json {
		fmt.Fprintf(w, `{"format":1,%s%q:%s}`+"\n", front, key, jsonRows(columns, rows))
	} else {
		writeTable(w, columns, rows, !l.noHeaders)
	}
	if err := w.Flush(); err != nil {
		t.complain("%v", err)
		return exitCannotTell
	}
	return exitFine
}
