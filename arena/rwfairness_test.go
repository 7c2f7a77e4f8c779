package arena

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
	"lockd/robust"
)

// Readers that come all the time do not keep a writer out, nor writers readers.
func TestRWStarvation(t *testing.T) {
	for _, many := range []string{"R", "X"} {
		t.Run("many "+many, func(t *testing.T) {
			a, m := testRW(t)
			var crew []*proc.Proc
			for range 3 {
				p := proc.Start(t, "rw-hog", []string{a.Path(), many})
				p.Expect("on")
				crew = append(crew, p)
			}
			one := modes[2]
			if many == "X" {
				one = modes[0]
			}
			var longest, sum time.Duration
			const turns = 2000
			for range turns {
				begin := time.Now()
				one.lock(m)
				took := time.Since(begin)
				one.unlock(m)
				longest, sum = max(longest, took), sum+took
			}
			t.Logf("%s among three processes of two %s each: mean %v, longest %v", one.name, many, sum/turns, longest)
			if longest > proc.Soon/4 {
				t.Errorf("waited %v", longest)
			}
			for _, p := range crew {
				p.Send("stop")
				p.Expect("off")
			}
		})
	}
}

func init() {
	// rw-hog: arena, mode. Two goroutines hold the lock so that it is never
	// free of them, if nobody makes them wait.
	roles["rw-hog"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		m := a.RWMutex("it")
		way := modes[0]
		if args[1] == "X" {
			way = modes[2]
		}
		var quit atomic.Bool
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for !quit.Load() {
					way.lock(m)
					for range 2000 {
						if quit.Load() {
							break
						}
					}
					way.unlock(m)
				}
			})
		}
		proc.Say("on")
		proc.Hear()
		quit.Store(true)
		all.Wait()
		a.Close()
		proc.Say("off")
	}
}

// untilDrains waits until somebody has shut the gate and waits for readers.
func untilDrains(t *testing.T, m *RWMutex) {
	t.Helper()
	until(t, "a writer waits for readers", func() bool {
		return robust.Word(m.binding().slot.state.Load()).Has(robust.Waiters)
	})
}

// Readers that wait for a writer get in before the next one, and writers that
// wait for readers before the next of those.
func TestRWTurns(t *testing.T) {
	a, m := testRW(t)
	writer, reader := startRW(t, a), startRW(t, a)
	for range 5 {
		m.Lock()
		writer.Send("X")
		untilWaiting(t, m, 1)
		reader.Send("R")
		untilWaiting(t, m, 2)
		writer.Silent()
		reader.Silent()
		m.Unlock()
		reader.Expect("ok")
		untilDrains(t, m)
		writer.Silent()
		later := make(chan bool)
		go func() {
			m.RLock()
			close(later)
		}()
		select {
		case <-later:
			t.Fatal("a reader passed a writer that waits")
		case <-time.After(proc.StillBlocks / 10):
		}
		do(t, reader, "R-")
		writer.Expect("ok")
		do(t, writer, "X-")
		<-later
		m.RUnlock()
	}
}

// Who holds the word and has shut the gate is stopped: nobody gets in, all who
// give up may, and when it goes on so does everybody. The same for a process
// that is stopped with the latch of the name's stripe: it keeps out those who
// read the name for the first time, nobody else.
func TestRWLatchHolderStopped(t *testing.T) {
	a, m := testRW(t)
	m.RLock()
	p, waiter := startRW(t, a), startRW(t, a)
	do(t, p, "pass R")
	p.Send("X")
	untilDrains(t, m) // the gate is shut; it waits for the reader here
	p.Silent()
	p.Signal(syscall.SIGSTOP)
	for _, way := range modes {
		if way.try(m) {
			t.Fatalf("%s beside a writer that is stopped", way.name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), proc.StillBlocks/5)
		if err := way.wait(m, ctx); !errors.Is(err, ErrTimeout) {
			t.Errorf("%s beside a writer that is stopped: %v", way.name, err)
		}
		cancel()
	}
	waiter.Send("pass R")
	waiter.Silent()
	m.RUnlock()
	waiter.Silent() // alive, though stopped
	p.Signal(syscall.SIGCONT)
	p.Expect("ok")
	do(t, p, "X-")
	waiter.Expect("ok")

	hash := m.binding().slot.hash.Load()
	l, err := a.core.latchStripe(context.Background(), hash)
	if err != nil {
		t.Fatal(err)
	}
	do(t, p, "R?") // it has read the name before, as has who waited
	do(t, p, "R-")
	do(t, waiter, "pass X")
	first := startRW(t, a)
	first.Send("R 10ms")
	if line := first.Next(); line == "ok" {
		t.Error("a new cell without the latch")
	}
	first.Send("R?")
	first.Expect("refused")
	first.Send("pass R")
	first.Silent()
	l.release()
	first.Expect("ok")
}
