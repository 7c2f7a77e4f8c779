package main

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"lockd/arena"
)

// What is kept of a lock while a list is sorted is all of it, and of idle ones
// it is little.
func TestKeptLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	a, err := arena.Open(path, &arena.Options{TrackHold: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx := t.Context()
	for _, err := range []error{
		a.Mutex("counted").Do(ctx, nothing), a.RWMutex("book").RDo(ctx, nothing), a.Ranges("table").Do(ctx, arena.Shared, 0, 1, nothing), a.Mutex("\xff").LockContext(ctx),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	defer a.Mutex("\xff").Unlock()
	call(nil, "sem", path, "make", "gpu", "4")
	call(nil, "run", path, "plain", "--", "true")
	tool := toolFor(nil, nil, nil)
	defer tool.close()
	o, err := orderingBy(lockColumns, "name")
	if err != nil {
		t.Fatal(err)
	}
	var idle []string
	for _, name := range []string{path, billing} {
		r, err := tool.load(name)
		if err != nil {
			t.Fatal(err)
		}
		for l := range r.locks() {
			k := l.kept(o)
			if got := k.lock(r); !reflect.DeepEqual(got, l) || k.key != l.bytes() {
				t.Errorf("%s is\n%+v, was\n%+v", k.key, got, l)
			}
			if k.busy == nil {
				idle = append(idle, l.bytes())
			}
		}
	}
	if want := []string{"book", "table", "\x1b[31mred\n", "free"}; !slices.Equal(idle, want) {
		t.Errorf("idle are %q, want %q", idle, want)
	}
}
