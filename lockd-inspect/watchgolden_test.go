package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lockd/arena"
)

// watcher is a watch in this process.
type watcher struct {
	t     *testing.T
	lines chan string
	all   strings.Builder
	end   func() int
	said  strings.Builder // on standard error
}

func watch(t *testing.T, args ...string) *watcher {
	from, to := io.Pipe()
	w := &watcher{t: t, lines: make(chan string, 100)}
	ended := make(chan int, 1)
	go func() {
		ended <- run(append([]string{"watch", "--interval", "5ms"}, args...), nil, to, &w.said)
		to.Close()
	}()
	go func() {
		for lines := bufio.NewScanner(from); lines.Scan(); {
			w.lines <- lines.Text()
		}
		close(w.lines)
	}()
	w.end = func() int { return <-ended }
	t.Cleanup(func() { from.Close() })
	return w
}

// until reads lines up to one with that text.
func (w *watcher) until(text string) {
	w.t.Helper()
	for {
		select {
		case line, ok := <-w.lines:
			if !ok {
				w.t.Fatalf("it ends without %q: %s%s", text, w.all.String(), w.said.String())
			}
			if fmt.Fprintln(&w.all, line); strings.Contains(line, text) {
				return
			}
		case <-time.After(mustBeDone):
			w.t.Fatalf("it does not say %q: %s", text, w.all.String())
		}
	}
}

// Each thing is done when the one before has been told, so that nothing is
// missed and nothing comes in another order; and each is one step, of which
// nobody sees a half.
func TestGoldenWatch(t *testing.T) {
	s := transcribe(t)
	path := filepath.Join(folder, "billing")
	a, err := arena.Open(path, &arena.Options{Label: "me", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s.pid(os.Getpid(), "ME")
	ctx := t.Context()
	m, rw, gpus, r := a.Mutex("in\nvoices"), a.RWMutex("book"), a.Semaphore("gpu", 4), a.Ranges("table")
	func() {
		defer func() { recover() }()
		m.Do(ctx, func(context.Context) error { panic("half-way") })
	}()
	text, asJSON := watch(t, "billing"), watch(t, "billing", "--json")
	await := func(what string) {
		t.Helper()
		text.until(what)
		asJSON.until(what)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	await("watching")
	m.Lock()
	await("taken")
	must(m.MarkConsistent())
	await("repaired")
	m.Unlock()
	await("released")
	rw.RLock()
	await("taken")
	rw.RUnlock()
	await("released")
	ticket, err := gpus.Acquire(ctx, 1)
	must(err)
	await("taken")
	must(ticket.Release())
	await("released")
	must(gpus.Resize(6))
	await("resized")
	must(r.Lock(ctx, arena.Exclusive, 7000000000, 50))
	await("taken")
	must(r.ReleaseAll())
	await("released")
	m.Lock()
	await("taken")
	guest := s.hold("guest", path)
	await("attached")
	guest.stdin.Close()
	await("left")
	waiter := start(t, asHolder, path, "waiter", "in\nvoices")
	s.pid(waiter.Process.Pid, "WAITER")
	await("waiting")
	waiter.stop()
	must(os.Remove(path))
	for _, w := range []*watcher{text, asJSON} {
		for line := range w.lines {
			t.Errorf("it also says %s", line)
		}
		code := w.end()
		fmt.Fprintf(s, "%s%sexit code %d\n\n", w.all.String(), w.said.String(), code)
	}
	s.golden("watch")
}
