package arena

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lockd/internal/proc"
)

// nothing is what a lock of a place is held for in these tests.
func nothing(context.Context) error { return nil }

// inlinedHere is small enough to be inlined into its callers; the place is
// still its own.
func inlinedHere(a *Arena) error { return a.Here(context.Background(), nothing) }

//go:noinline
func outlinedHere(a *Arena) error { return a.Here(context.Background(), nothing) }

func namesOf(t *testing.T, a *Arena) map[string]bool {
	t.Helper()
	s, err := ReadSnapshot(a.Path())
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, l := range s.Locks {
		names[l.Name] = true
	}
	return names
}

func TestHereNamesThePlace(t *testing.T) {
	a := testArena(t, nil)
	for range 2 {
		if err := errors.Join(inlinedHere(a), outlinedHere(a)); err != nil {
			t.Fatal(err)
		}
	}
	if err := func() error {

		return a.Here(context.Background(), nothing)
	}(); err != nil {
		t.Fatal(err)
	}
	names := namesOf(t, a)
	for _, want := range []string{
		"here:lockd/arena.inlinedHere+0",
		"here:lockd/arena.outlinedHere+0",
		"here:lockd/arena.TestHereNamesThePlace.func1+2",
	} {
		if !names[want] {
			t.Errorf("no lock named %q; there are %v", want, names)
		}
	}
	if len(names) != 3 {
		t.Errorf("%d locks for three places: %v", len(names), names)
	}
}

func TestHereExcludes(t *testing.T) {
	a := testArena(t, nil)
	inside, release := make(chan struct{}, 2), make(chan struct{})
	here := func() error {
		return a.Here(context.Background(), func(context.Context) error {
			inside <- struct{}{}
			<-release
			return nil
		})
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { done <- here() }()
	}
	<-inside
	release <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-inside // only now the second
	release <- struct{}{}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A go statement, or a deferred call in a panic, calls Here from the runtime,
// which is one place for all programs.
func TestHereNeedsAPlace(t *testing.T) {
	a := testArena(t, nil)
	var err error
	func() {
		defer func() { recover() }()
		defer func(here func(context.Context, func(context.Context) error) error) {
			err = a.Here(context.Background(), nothing)
		}(a.Here)
		panic("for the deferred call")
	}()
	if err != nil {
		t.Errorf("in a function literal: %v", err)
	}
	ran := make(chan struct{}, 1)
	go a.Here(context.Background(), func(context.Context) error {
		ran <- struct{}{}
		return nil
	})
	for name := range namesOf(t, a) {
		if strings.HasPrefix(name, runtimePlace) {
			t.Errorf("a lock named %q", name)
		}
	}
	proc.MustBlock(t, "the call from a go statement", func() { <-ran })
	ran <- struct{}{}
}
