package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func entered(reports ...report) *ledger {
	l := newLedger()
	for _, r := range reports {
		l.enter(r)
	}
	return l
}

func done(op string, key uint64) report { return report{Say: sayDone, Op: op, Key: key} }

func TestLedgerFindings(t *testing.T) {
	order := insertedKey(3, 4)
	for _, c := range []struct {
		name    string
		reports []report
		puts    map[int]record // what the table got
		want    findings
	}{
		{name: "nothing happened"},
		{
			name:    "all is there",
			reports: []report{done(opUpdate, 2), done(opUpdate, 2), done(opInsert, order), done(opRead, 1)},
			puts:    map[int]record{1: {key: 2, value: 2, live: true}, accounts: {key: order, live: true}},
		},
		{
			name:    "inserted and deleted, reported in the other order",
			reports: []report{done(opDelete, order), done(opInsert, order)},
		},
		{
			name:    "lost update",
			reports: []report{done(opUpdate, 2), done(opUpdate, 2)},
			puts:    map[int]record{1: {key: 2, value: 1, live: true}},
			want:    findings{lostUpdates: 1},
		},
		{
			name:    "lost account",
			reports: []report{done(opUpdate, 2), done(opUpdate, 2)},
			puts:    map[int]record{1: {key: 2, value: 2}},
			want:    findings{lostUpdates: 2},
		},
		{
			name: "update of nobody",
			puts: map[int]record{1: {key: 2, value: 1, live: true}},
			want: findings{extraUpdates: 1},
		},
		{
			name:    "lost insert",
			reports: []report{done(opInsert, order)},
			want:    findings{lostInserts: 1},
		},
		{
			name:    "undone delete",
			reports: []report{done(opInsert, order), done(opDelete, order)},
			puts:    map[int]record{accounts: {key: order, live: true}},
			want:    findings{undoneDeletes: 1},
		},
		{
			name:    "deleted twice",
			reports: []report{done(opInsert, order), done(opDelete, order), done(opDelete, order)},
			want:    findings{deletedTwice: 1},
		},
		{
			name: "record of nobody",
			puts: map[int]record{accounts: {key: order, live: true}},
			want: findings{strangers: 1},
		},
		{
			name:    "record twice",
			reports: []report{done(opInsert, order)},
			puts:    map[int]record{accounts: {key: order, live: true}, accounts + 1: {key: order, live: true}},
			want:    findings{strangers: 1},
		},
		{
			name:    "torn on the way",
			reports: []report{{Say: sayTorn, Count: 3}},
			want:    findings{tornSeen: 3},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newTable(t)
			for place, r := range c.puts {
				if err := (&table{file: f}).put(place, r); err != nil {
					t.Fatal(err)
				}
			}
			got := entered(c.reports...).compare(scanOf(t, f))
			if got != c.want {
				t.Errorf("found %+v, want %+v", got, c.want)
			}
			if got.none() != (c.want == findings{}) {
				t.Errorf("none is %v", got.none())
			}
		})
	}
}

func TestLedgerFindsTorn(t *testing.T) {
	f := newTable(t)
	dying := &table{file: &dyingFile{File: f, left: noteBytes + recordHalf}}
	if err := dying.put(0, record{key: 1, value: 1, live: true}); err == nil {
		t.Fatal("the writer did not die")
	}
	got := entered(done(opUpdate, 1)).compare(scanOf(t, f))
	if want := (findings{torn: 1}); got != want {
		t.Errorf("found %+v, want %+v", got, want)
	}
}

// TestTwoWritersWithoutLock is the round without a lock by hand: both read
// before either writes.
func TestTwoWritersWithoutLock(t *testing.T) {
	f := newTable(t)
	var first, second table
	first.file, second.file = f, f
	read := scanOf(t, f)[0].record
	one, other := read, read
	one.value, one.worker = read.value+1, 1
	other.value, other.worker = read.value+1, 2

	l := entered(done(opUpdate, 1), done(opUpdate, 1))
	for _, err := range []error{first.put(0, one), second.put(0, other)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := l.compare(scanOf(t, f)); got != (findings{lostUpdates: 1}) {
		t.Errorf("one after the other: %+v", got)
	}

	first.halfWay = func(record) {
		if err := second.put(0, other); err != nil {
			t.Error(err)
		}
	}
	if err := first.put(0, one); err != nil {
		t.Fatal(err)
	}
	if got := l.compare(scanOf(t, f)); got.torn != 1 {
		t.Errorf("one inside the other: %+v", got)
	}
}

func TestCheckHeirs(t *testing.T) {
	killed := []kill{{pid: 10, worker: 1, change: 5}, {pid: 11, worker: 2, change: 6}}
	told := func(pid int, worker, change uint32) report {
		return report{Say: sayHeir, PID: pid, Label: label(int(worker)), Op: opUpdate, Key: 1, Worker: worker, Change: change}
	}
	nothing := told(11, 2, 0)
	nothing.Op = ""
	stranger := told(11, 2, 6)
	stranger.Label = label(3)
	for _, c := range []struct {
		name  string
		heirs []report
		want  string
	}{
		{"each told", []report{told(11, 2, 6), told(10, 1, 5)}, ""},
		{"one not told", []report{told(10, 1, 5)}, "1 heirs"},
		{"one told twice", []report{told(10, 1, 5), told(10, 1, 5)}, "2 heirs were told of the death of pid 10"},
		{"told of another", []report{told(10, 1, 5), told(12, 2, 6)}, "0 heirs were told of the death of pid 11"},
		{"another label", []report{told(10, 1, 5), stranger}, "was told"},
		{"another change finished", []report{told(10, 1, 5), told(11, 2, 7)}, "finished change 7"},
		{"nothing finished", []report{told(10, 1, 5), nothing}, "finished change 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := entered(c.heirs...)
			l.kills = killed
			err := l.checkHeirs()
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestReportRoundTrip(t *testing.T) {
	want := report{Say: sayHeir, Op: opDelete, Key: 1 << 40, Worker: 3, Change: 4, Count: 5, PID: 6, Label: "a\nb", Cause: "died", Text: "x"}
	var line bytes.Buffer
	if err := want.send(&line); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(line.Bytes(), []byte{'\n'}); n != 1 {
		t.Errorf("%d lines, want one", n)
	}
	got, err := parseReport(line.Bytes())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := parseReport([]byte("panic: x")); err == nil {
		t.Error("a line that is no report was taken for one")
	}
}
