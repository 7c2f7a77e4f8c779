package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == racerCommand {
		os.Exit(racerMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// Nobody is overtaken, on a long ring and on one with four tracks more than
// there are processes.
func TestRace(t *testing.T) {
	races := "20"
	if testing.Short() {
		races = "5"
	}
	for _, args := range [][]string{
		{"-processes", "4", "-tracks", "50", "-races", races},
		{"-processes", "4", "-tracks", "8", "-races", races},
		{"-processes", "16", "-tracks", "20", "-races", races},
	} {
		var out, complaints strings.Builder
		if code := run(args, &out, &complaints); code != 0 {
			t.Errorf("%v: exit code %d: %s", args, code, complaints.String())
		}
		for _, kind := range kinds {
			if !strings.Contains(out.String(), kind) {
				t.Errorf("%v: no result for %s: %s", args, kind, out.String())
			}
		}
		t.Log(out.String())
	}
}

func TestRaceArguments(t *testing.T) {
	for _, args := range [][]string{{"-tracks", "4"}, {"-processes", "0"}, {"-races", "x"}, {"more"}} {
		var out, complaints strings.Builder
		if code := run(args, &out, &complaints); code != exitUsage || complaints.Len() == 0 {
			t.Errorf("%v: exit code %d, says %q", args, code, complaints.String())
		}
	}
}

// The board tells an overtaker, and two on one track.
func TestBoard(t *testing.T) {
	c := course{processes: 2, tracks: 3, races: 1}
	for name, orders := range map[string][]string{
		"":          {"01", "01", "01"},
		"overtaken": {"01", "01", "10"},
		"at once":   {"01", "0", "01"},
	} {
		b, err := makeBoard(filepath.Join(t.TempDir(), "board"), c)
		if err != nil {
			t.Fatal(err)
		}
		for track, order := range orders {
			for _, racer := range order {
				b.enter(track, int(racer-'0'))
			}
		}
		switch err := b.check(); {
		case name == "" && err != nil:
			t.Error(err)
		case name != "" && (err == nil || !strings.Contains(err.Error(), name)):
			t.Errorf("%s: %v", name, err)
		}
		b.close()
	}
}
