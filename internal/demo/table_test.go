package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// dyingFile is a file whose writer dies when it has written a number of bytes:
// that write is cut, and every later one fails.
type dyingFile struct {
	*os.File
	left int
}

var errDied = errors.New("writer died")

func (d *dyingFile) WriteAt(b []byte, at int64) (int, error) {
	cut := b[:min(len(b), d.left)]
	d.left -= len(cut)
	n, err := d.File.WriteAt(cut, at)
	if err == nil && len(cut) < len(b) {
		err = errDied
	}
	return n, err
}

func newTable(t *testing.T) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table")
	if err := createTable(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func scanOf(t *testing.T, f *os.File) []row {
	t.Helper()
	rows, err := (&table{file: f}).scan()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != places {
		t.Fatalf("%d rows, want %d", len(rows), places)
	}
	return rows
}

func readPlace(t *testing.T, f *os.File, place int) (r record, torn bool) {
	t.Helper()
	var b image
	if _, err := f.ReadAt(b[:], offset(place)); err != nil {
		t.Fatal(err)
	}
	return readRecord(b[:])
}

func TestTableKeepsRecords(t *testing.T) {
	f := newTable(t)
	want := record{key: 3, value: 7, worker: 4, change: 9, live: true}
	if err := (&table{file: f}).put(places-1, want); err != nil {
		t.Fatal(err)
	}
	rows := scanOf(t, f)
	if got := rows[places-1]; got.record != want || got.torn || got.place != places-1 {
		t.Errorf("last row is %+v", got)
	}
	for _, r := range rows[:places-1] {
		if r.torn || r.live != (r.place < accounts) {
			t.Errorf("new row is %+v", r)
		}
	}
}

func TestHalfWrittenRecordIsTorn(t *testing.T) {
	f := newTable(t)
	seen := 0
	tab := &table{file: f, halfWay: func(r record) {
		if seen++; !scanOf(t, f)[5].torn {
			t.Error("half-written record is not torn")
		}
	}}
	if err := tab.put(5, record{key: 6, value: 1, worker: 2, change: 1, live: true}); err != nil {
		t.Fatal(err)
	}
	if seen != 1 {
		t.Errorf("half way %d times, want once", seen)
	}
	if scanOf(t, f)[5].torn {
		t.Error("whole record is torn")
	}
}

// TestRepairAfterEveryByte lets the writer die after each byte of a change:
// afterwards the record is the old one or the new one, and the new one as soon
// as anything of it is in its place.
func TestRepairAfterEveryByte(t *testing.T) {
	const place = 4
	before := record{key: 5, value: 10, worker: 1, change: 1, live: true}
	after := record{key: 5, value: 11, worker: 2, change: 8, live: true}
	whole := noteBytes + recordSize + noteBytes
	finished := 0
	f := newTable(t)
	for bytes := range whole + 1 {
		if err := (&table{file: f}).put(place, before); err != nil {
			t.Fatal(err)
		}
		err := (&table{file: &dyingFile{File: f, left: bytes}}).put(place, after)
		if (err == nil) != (bytes == whole) {
			t.Fatalf("writer with %d of %d bytes: %v", bytes, whole, err)
		}
		tab := &table{file: f}
		r, found, err := tab.repair()
		if err != nil {
			t.Fatalf("after %d bytes: %v", bytes, err)
		}
		if found {
			finished++
			if r != after {
				t.Errorf("after %d bytes: repaired to %+v", bytes, r)
			}
		}
		want := before
		if bytes >= noteBytes {
			want = after
		}
		if got, torn := readPlace(t, f, place); torn || got != want {
			t.Errorf("after %d bytes: %+v, torn %v, want %+v", bytes, got, torn, want)
		}
		if _, again, err := tab.repair(); again || err != nil {
			t.Errorf("after %d bytes: a second repair found something: %v", bytes, err)
		}
	}
	// From the note's last byte until the first byte of its state is taken back.
	if want := recordSize + 1; finished != want {
		t.Errorf("%d repairs finished a change, want %d", finished, want)
	}
}

// TestRepairKilled lets the first heir die after each byte of its repair: the
// next one still finishes the change.
func TestRepairKilled(t *testing.T) {
	after := record{key: 1, value: 1, worker: 2, change: 1, live: true}
	f := newTable(t)
	for bytes := range recordSize {
		if err := (&table{file: f}).put(0, record{key: 1, live: true}); err != nil {
			t.Fatal(err)
		}
		if err := (&table{file: &dyingFile{File: f, left: noteBytes + recordHalf}}).put(0, after); !errors.Is(err, errDied) {
			t.Fatal(err)
		}
		if _, _, err := (&table{file: &dyingFile{File: f, left: bytes}}).repair(); !errors.Is(err, errDied) {
			t.Fatalf("repair with %d bytes: %v", bytes, err)
		}
		if _, found, err := (&table{file: f}).repair(); !found || err != nil {
			t.Fatalf("second repair after %d bytes: found %v, %v", bytes, found, err)
		}
		if got, torn := readPlace(t, f, 0); torn || got != after {
			t.Errorf("after %d bytes: %+v, torn %v", bytes, got, torn)
		}
	}
}

func TestRepairRefusesForeignNote(t *testing.T) {
	f := newTable(t)
	tab := &table{file: f}
	if err := tab.writeNote(places, record{key: 1}.image()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tab.repair(); err == nil {
		t.Error("a note for a place outside the table was obeyed")
	}
}

func TestCreateTableErrors(t *testing.T) {
	if err := createTable(filepath.Join(t.TempDir(), "missing", "table")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	f := newTable(t)
	if err := createTable(f.Name()); !errors.Is(err, os.ErrExist) {
		t.Errorf("file is there: %v", err)
	}
}
