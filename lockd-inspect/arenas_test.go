package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

const (
	segmentsAt = 128 // where the header has the number of segments, see doc/FORMAT.md
	million    = 1024
)

// sparse is an arena of so many segments, of which only the first is there: in
// memory, a page of the rest comes to be when somebody reads it through a map.
func sparse(t *testing.T, path string, segments int) {
	t.Helper()
	a, err := arena.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	resize(t, path, segments)
}

func resize(t *testing.T, path string, segments int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const enough = 512 << 10 // for each, and for what is in front of them
	if err := f.Truncate(int64(1+segments) * enough); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint32(nil, uint32(segments)), segmentsAt); err != nil {
		t.Fatal(err)
	}
}

func blocksOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks
}

// Who asks only which arenas there are reads none: one of a million locks costs
// what any file costs.
func TestNamesAreFoundUnread(t *testing.T) {
	dir, err := os.MkdirTemp(arena.Dir, "lockd-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skipf("%s is no memory, where one sees what was read", dir)
	}
	before := folder
	folder = dir
	defer func() { folder = before }()
	large := filepath.Join(dir, "large")
	sparse(t, large, million)
	sparse(t, filepath.Join(dir, "small"), 1)
	blocks := blocksOf(t, large)

	missing := "no arena at " + filepath.Join(dir, "none") + "; there are: large, small\n"
	for _, tc := range []struct {
		args   []string
		stdout string
		stderr string
	}{
		{[]string{"locks", filepath.Join(dir, "none")}, "", missing},
		{[]string{filepath.Join(dir, "none")}, "", missing},
		{[]string{"none"}, "", "no arena named none; there are: large, small\n"},
		{[]string{"show", "none", "l"}, "", "no arena named none; there are: large, small\n"},
		{[]string{"settle", "none"}, "", "no arena named none; there are: large, small\n"},
		{[]string{"sem", "none", "resize", "s", "2"}, "", "no arena named none; there are: large, small\n"},
		{[]string{"rm", "none"}, "", "no arena named none; there are: large, small\n"},
		{[]string{"locks"}, "", "locks of which arena? there are: large, small\n"},
		{[]string{"dump"}, "", "dump of which arena? there are: large, small\n"},
		{[]string{"sem"}, "", "sem of which arena? there are: large, small\n"},
		{[]string{"rm"}, "", "rm which arena? there are: large, small\n"},
		{[]string{"--no-headers", "-o", "name"}, "large\nsmall\n", ""},
		{[]string{"--no-headers", "-o", "Path", "--sort", "-name"}, filepath.Join(dir, "small") + "\n" + large + "\n", ""},
	} {
		_, stdout, stderr := call(nil, tc.args...)
		if stdout != tc.stdout || strings.TrimPrefix(stderr, "lockd-inspect: ") != tc.stderr {
			t.Errorf("%q: %q, %q; want %q, %q", tc.args, stdout, stderr, tc.stdout, tc.stderr)
		}
		if now := blocksOf(t, large); now != blocks {
			t.Fatalf("%q reads the large arena: of %d blocks there are now %d", tc.args, blocks, now)
		}
	}

	// Counting does read it, which shows.
	resize(t, large, 40)
	if _, stdout, _ := call(nil, "--no-headers", "-o", "name,segments"); stdout != "large  40\nsmall   1\n" {
		t.Errorf("%q", stdout)
	}
	if blocksOf(t, large) == blocks {
		t.Error("what is read does not show")
	}
}
