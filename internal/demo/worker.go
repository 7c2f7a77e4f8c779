package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"lockd/arena"
)

// workerCommand as first argument makes the program one of the fifty:
//
//	worker TABLE ARENA NUMBER HALT
//
// ARENA is empty for the round without a lock. HALT is the number of the
// change in which the worker stays half-way for ever, 0 for none.
const (
	workerCommand = "worker"
	lockName      = "table"
)

// worker works from the first byte on its standard input to the end of it. So
// it ends with the demo, however the demo ends.
type worker struct {
	number uint32
	table  *table
	lock   *arena.Mutex // nil: without
	out    io.Writer
	change uint32
	rng    *rand.Rand
}

func workerMain(args []string) int {
	// Ctrl-C reaches the whole foreground group; the demo ends its workers itself.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	if err := work(args, os.Stdin, os.Stdout); err != nil {
		_ = report{Say: sayFailed, Text: err.Error()}.send(os.Stdout)
		return 1
	}
	return 0
}

func work(args []string, in io.Reader, out io.Writer) (err error) {
	if len(args) != 4 {
		return fmt.Errorf("%s: want TABLE ARENA NUMBER HALT, got %q", workerCommand, args)
	}
	number, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	halt, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	f, err := os.OpenFile(args[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &worker{
		number: uint32(number),
		table:  &table{file: f},
		out:    out,
		rng:    rand.New(rand.NewPCG(uint64(number), 2)),
	}
	if args[1] != "" {
		a, err := arena.Open(args[1], &arena.Options{Label: label(number), MustExist: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.Close()) }()
		w.lock = a.Mutex(lockName)
	}
	ctx, start, err := follow(in, out)
	if err != nil {
		return err
	}
	w.table.halfWay = func(r record) {
		if halt > 0 && r.change == uint32(halt) {
			w.stayHalfWay(ctx, r)
		}
	}
	<-start
	return w.run(ctx)
}

// follow says ready, and turns in into a start (its first byte) and an end.
func follow(in io.Reader, out io.Writer) (ctx context.Context, start chan struct{}, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	start = make(chan struct{})
	go func() {
		defer cancel()
		var b [1]byte
		_, err := io.ReadFull(in, b[:])
		if err != nil {
			cancel()
		}
		close(start)
		if err == nil {
			_, _ = io.Copy(io.Discard, in)
		}
	}()
	return ctx, start, report{Say: sayReady}.send(out)
}

func (w *worker) run(ctx context.Context) error {
	for ctx.Err() == nil {
		done, err := w.turn(ctx)
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if err := done.send(w.out); err != nil {
			return err
		}
	}
	return nil
}

// turn does one operation, with the lock if there is one.
func (w *worker) turn(ctx context.Context) (done report, err error) {
	if w.lock == nil {
		return w.operate()
	}
	if err := (report{Say: sayAsk}).send(w.out); err != nil {
		return report{}, err
	}
	err = w.lock.Do(ctx, func(context.Context) error {
		if err := w.inherit(); err != nil {
			return err
		}
		done, err = w.operate()
		return err
	})
	return done, err
}

// inherit repairs the table if the lock's last owner died with it.
func (w *worker) inherit() error {
	death, ok := w.lock.Abandoned()
	if !ok {
		return nil
	}
	heir, err := repairAfter(w.table, death)
	if err != nil {
		return err
	}
	if err := w.lock.MarkConsistent(); err != nil {
		return err
	}
	return heir.send(w.out)
}

// repairAfter finishes what the dead owner had begun. A report without a
// change means that there was nothing to finish.
func repairAfter(t *table, death arena.Death) (report, error) {
	r, found, err := t.repair()
	if err != nil {
		return report{}, err
	}
	heir := report{Say: sayHeir, PID: death.PID, Label: death.Label, Cause: death.Cause.String()}
	if found {
		heir.Op, heir.Key, heir.Worker, heir.Change = operation(r), r.key, r.worker, r.change
	}
	return heir, nil
}

// stayHalfWay tells the demo that one half of r is written, and waits to be
// killed.
func (w *worker) stayHalfWay(ctx context.Context, r record) {
	_ = report{Say: sayHalfWay, Op: operation(r), Key: r.key, Worker: w.number, Change: r.change}.send(w.out)
	<-ctx.Done()
	os.Exit(1)
}
