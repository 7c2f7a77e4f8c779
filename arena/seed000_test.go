package arena

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/internal/proc"
)

// What the first of the systems that this one replaces promises, in the order
// of its README: a lock for a block of code, without a name, a server or root.

// blockOfCode has a lock of its own by what it is, wherever it is called from.
func blockOfCode(ctx context.Context, a *Arena, f func(context.Context) error) error {
	return a.Here(ctx, f)
}

// anotherBlock is another one.
func anotherBlock(ctx context.Context, a *Arena, f func(context.Context) error) error {
	return a.Here(ctx, f)
}

func init() {
	// seed000: arena and ledger. It goes through the block of code as often as
	// it is told, with several threads.
	roles["seed000"] = func(args []string) {
		a := reopen(args[0], nil)
		l, err := openLedger(args[0])
		if err != nil {
			panic(err)
		}
		proc.Say("ready")
		proc.Hear()
		alone := seed000Work(a, l, 1)
		proc.Say("%v", alone)
		proc.Hear()
		blockOfCode(context.Background(), a, func(context.Context) error {
			proc.Say("inside")
			proc.Hear()
			return nil
		})
		proc.Say("outside")
		proc.Hear()
	}
}

const seed000Threads, seed000Rounds = 4, 500

// seed000Work says whether everybody was alone in the block of code.
func seed000Work(a *Arena, l ledger, contender int) bool {
	var crowded atomic.Bool
	var threads sync.WaitGroup
	for range seed000Threads {
		threads.Go(func() {
			for range seed000Rounds {
				blockOfCode(context.Background(), a, func(context.Context) error {
					if !l.section(uint64(1+contender), contender, 10) {
						crowded.Store(true)
					}
					return nil
				})
			}
		})
	}
	threads.Wait()
	return !crowded.Load()
}

func TestSeed000(t *testing.T) {
	a := testArena(t, nil)
	l := testLedger(t, a.Path())
	ctx := context.Background()

	// Only one runs at a time, of all threads and programs.
	other := proc.Start(t, "seed000", []string{a.Path()})
	other.Expect("ready")
	other.Send("go")
	if !seed000Work(a, l, 0) {
		t.Error("two in one block of code")
	}
	other.Expect("true")
	if total, want := l.load(ledgerTotal), uint64(2*seed000Threads*seed000Rounds); total != want {
		t.Errorf("%d sections are counted of %d", total, want)
	}

	// The lock is waited for without anybody asking again.
	other.Send("go in")
	other.Expect("inside")
	waited := proc.MustBlock(t, "the block", func() {
		if err := blockOfCode(ctx, a, nothing); err != nil {
			t.Error(err)
		}
	})

	// Each block has a lock of its own.
	if err := anotherBlock(ctx, a, nothing); err != nil {
		t.Error(err)
	}

	// If the time is over the program decides what to do, such as to try again.
	soon, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	var timeout *TimeoutError
	if err := blockOfCode(soon, a, nothing); !errors.As(err, &timeout) || timeout.HolderPID != other.PID() {
		t.Errorf("%v", err)
	}
	other.Send("go out")
	other.Expect("outside")
	waited()
	if err := blockOfCode(ctx, a, nothing); err != nil {
		t.Error(err)
	}

	// Code that ends badly leaves no lock behind.
	func() {
		defer func() { recover() }()
		blockOfCode(ctx, a, func(context.Context) error { panic("in the block") })
	}()
	if err := blockOfCode(ctx, a, nothing); err != nil {
		t.Error(err)
	}
}
