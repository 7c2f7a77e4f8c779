package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented returns the keys that doc/DUMP.md gives for each object: those in
// the left column, and those in the right one that stand in code.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "doc", "DUMP.md"))
	if os.IsNotExist(err) {
		t.Skip("the documentation is not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string][]string)
	section := ""
	code := regexp.MustCompile("`([a-z_]+)`")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(name)
			continue
		}
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, k := range code.FindAllStringSubmatch(cells[1], -1) {
			keys[section] = append(keys[section], k[1])
			for _, inner := range code.FindAllStringSubmatch(cells[2], -1) {
				keys[section+"."+k[1]] = append(keys[section+"."+k[1]], inner[1])
			}
		}
	}
	return keys
}

// A dump has the keys that are documented, and no others.
func TestDumpIsDocumented(t *testing.T) {
	w := wedge(t)
	doc := documented(t)
	party := doc["A party"]
	for _, args := range [][]string{{"dump", w.path}, {"dump", billing}} {
		code, stdout, stderr := call(nil, args...)
		if code != 0 || stderr != "" {
			t.Fatalf("exit code %d, %s", code, stderr)
		}
		var dump map[string]any
		if err := json.Unmarshal([]byte(stdout), &dump); err != nil {
			t.Fatal(err)
		}
		check := func(where string, object any, keys ...string) {
			t.Helper()
			has := slices.Sorted(maps.Keys(object.(map[string]any)))
			slices.Sort(keys)
			if !slices.Equal(has, keys) {
				t.Errorf("%s has %v, documented are %v", where, has, keys)
			}
		}
		each := func(list any, f func(map[string]any)) {
			t.Helper()
			if list == nil {
				t.Error("a list is null")
				return
			}
			for _, one := range list.([]any) {
				f(one.(map[string]any))
			}
		}
		with := func(more ...string) []string { return append(slices.Clone(party), more...) }
		check("the dump", dump, doc["The object"]...)
		check("the arena", dump["arena"], doc["arena"]...)
		each(dump["members"], func(m map[string]any) {
			check("a member", m, doc["members"]...)
			each(m["heirs"], func(h map[string]any) { check("an heir", h, doc["members.heirs"]...) })
		})
		each(dump["sessions"], func(s map[string]any) {
			check("a session", s, doc["sessions"]...)
			each(s["holds"], func(h map[string]any) { check("a holding", h, doc["sessions.holds"]...) })
			if s["wait"] != nil {
				check("a wait", s["wait"], doc["sessions.wait"]...)
			}
		})
		for _, circle := range dump["deadlocks"].([]any) {
			each(circle, func(e map[string]any) {
				check("a wait of a deadlock", e, doc["deadlocks"]...)
				check("a session's name", e["from"], "member", "generation", "session")
			})
		}
		each(dump["latches"], func(l map[string]any) { check("a latch", l, doc["latches"]...) })
		each(dump["problems"], func(p map[string]any) { check("a problem", p, doc["problems"]...) })
		each(dump["locks"], func(l map[string]any) {
			check("a lock", l, doc["locks"]...)
			if l["owner"] != nil {
				check("an owner", l["owner"], party...)
			}
			each(l["reading"], func(r map[string]any) { check("a reader", r, with(doc["locks.reading"]...)...) })
			each(l["waiting"], func(w map[string]any) {
				check("a waiter", w, with("count", "mode", "tickets", "since", "range")...)
				if w["range"] != nil {
					check("a request", w["range"], doc["range"]...)
				}
			})
			each(l["ranges"], func(r map[string]any) { check("a range", r, with(append(doc["range"], "mode")...)...) })
			if s, ok := l["tickets"].(map[string]any); ok {
				check("a semaphore", s, "size", "in_use", "ending", "holders")
				each(s["holders"], func(h map[string]any) { check("a ticket holder", h, with("numbers")...) })
			}
			if l["last_death"] != nil {
				check("a death", l["last_death"], doc["locks.last_death"]...)
			}
		})
	}
}

// The lists in JSON have the keys that are documented, and the columns that help
// explains, in all their rows.
func TestListsAreDocumented(t *testing.T) {
	doc := documented(t)
	columns := func(v *verb) (all []string) {
		for _, c := range v.columns {
			all = append(all, c.name)
		}
		return all
	}
	same := func(what string, object any, keys []string) {
		t.Helper()
		if has := slices.Sorted(maps.Keys(object.(map[string]any))); !slices.Equal(has, slices.Sorted(slices.Values(keys))) {
			t.Errorf("%s has %v, documented are %v", what, has, keys)
		}
	}
	each := func(list any, f func(any)) {
		for _, one := range list.([]any) {
			f(one)
		}
	}
	before := folder
	folder = t.TempDir()
	defer func() { folder = before }()
	if code, _, stderr := call(nil, "sem", "pool", "make", "gpu", "4"); code != 0 {
		t.Fatal(stderr)
	}
	for _, tc := range []struct {
		section, list string
		args          []string
		rows          []string
	}{
		{"Lists.arenas", "arenas", []string{"arenas"}, columns(arenasVerb())},
		{"Lists.locks", "locks", []string{"locks", billing}, columns(locksVerb())},
		{"Lists.who", "members", []string{"who", billing}, columns(whoVerb())},
		{"Lists.sem", "semaphores", []string{"sem", billing}, columns(semVerb())},
		{"Lists.check", "findings", []string{"check", billing}, doc["Findings"]},
		{"Lists.show", "", []string{"show", billing, "gpu"}, nil},
	} {
		_, stdout, stderr := call(nil, append(tc.args, "--json")...)
		var got map[string]any
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%q: %v, %s", tc.args, err, stderr)
		}
		same(tc.args[0], got, append([]string{"format"}, doc[tc.section]...))
		if a := got["arena"]; a != nil {
			same("arena behind "+tc.args[0], a, columns(arenasVerb()))
		}
		if tc.list == "" {
			same("lock", got["lock"], doc["locks"])
			continue
		}
		if len(got[tc.list].([]any)) == 0 {
			t.Errorf("%q lists nothing", tc.args)
		}
		each(got[tc.list], func(row any) {
			same("a row of "+tc.args[0], row, tc.rows)
			for key, keys := range map[string][]string{"holds": doc["Holds"], "waits": doc["Waits"]} {
				if list := row.(map[string]any)[key]; list != nil {
					each(list, func(one any) { same(key, one, keys) })
				}
			}
		})
	}
	event, _ := json.Marshal(event{})
	var got map[string]any
	json.Unmarshal(event, &got)
	same("an event", got, doc["Events"])
}

// A dump shows the same as the arena did.
func TestDumpShowsTheSame(t *testing.T) {
	w := wedge(t)
	_, dump, _ := call(nil, "dump", w.path)
	path := filepath.Join(t.TempDir(), "bug.json")
	if err := os.WriteFile(path, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"locks", "-o", "name,kind,state,pid,label,waiters,abandonments,last_death_pid"}, {"who", "-o", "pid,state,label,holds,user,member"}, {"check", "-q"}} {
		code, live, _ := call(nil, append(slices.Clone(args), w.path)...)
		again, dumped, stderr := call(nil, append(slices.Clone(args), path)...)
		if live != dumped || code != again {
			t.Errorf("%q shows\n%s(%d) of the dump:\n%s(%d) %s", args, live, code, dumped, again, stderr)
		}
	}
}
