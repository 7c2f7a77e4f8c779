// Command demo shows in a few seconds what lockd is for: processes that change
// one flat-file table without a lock, then with one while some of them are
// killed in the middle of a write.
//
// It exits 0 if the round with the lock lost and tore nothing, 1 if it did or
// could not be run, 2 for wrong arguments, and 130 when interrupted. It leaves
// nothing behind.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lockd/arena"
)

type demo struct {
	out        io.Writer
	progress   *progress
	inspector  string
	processes  int
	kills      int
	operations int
}

// patience bounds the whole demo, which takes seconds, also on a loaded machine.
const patience = 2 * time.Minute

const (
	exitWrong       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

var (
	errInterrupted = errors.New("interrupted")
	errPatience    = fmt.Errorf("not done after %v", patience)
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == workerCommand {
		os.Exit(workerMain(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	d := &demo{out: stdout, progress: newProgress(stdout)}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&d.inspector, "inspect", "", "`path` of lockd-inspect, to show its view of the arena")
	flags.IntVar(&d.processes, "processes", 50, "`number` of processes")
	flags.IntVar(&d.kills, "kills", 8, "`number` of them to kill in the middle of a write")
	flags.IntVar(&d.operations, "operations", 16000, "`number` of operations in each round")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 || d.kills < 1 || d.processes <= d.kills || d.operations < d.processes {
		fmt.Fprintln(stderr, "demo: want at least 1 kill, more processes than kills, at least as many operations as processes, and nothing else")
		return exitUsage
	}
	ctx, stop := untilSignal()
	defer stop()
	err := d.run(ctx)
	if err == nil {
		return 0
	}
	d.progress.clear()
	fmt.Fprintln(stderr, "demo:", err)
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	return exitWrong
}

// untilSignal makes a context that ends with any signal that would end the
// program: what it made has to be taken away first. SIGPIPE is among them, for
// a reader of the output that has gone.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	ctx, stop := context.WithTimeoutCause(ctx, patience, errPatience)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		select {
		case s := <-signals:
			cancel(fmt.Errorf("%w (%v)", errInterrupted, s))
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		stop()
		cancel(nil)
	}
}

func (d *demo) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "lockd-demo-")
	if err != nil {
		return fmt.Errorf("cannot make a directory for the table: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, name, err := d.openArena()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close(), arena.Remove(name)) }()

	d.say("%d processes read, write and delete records in one flat file that has no locking\nof its own: %d places of %d bytes, each change in several writes.\n",
		d.processes, places, recordSize)
	err = d.rounds(ctx, dir, a)
	if err != nil && ctx.Err() != nil {
		// Whatever failed then failed because of this.
		err = context.Cause(ctx)
	}
	return err
}

func (d *demo) openArena() (*arena.Arena, string, error) {
	name := fmt.Sprintf("lockd-demo-%d", os.Getpid())
	a, err := arena.Open(name, &arena.Options{Label: "demo"})
	if err != nil {
		return nil, "", fmt.Errorf("cannot make the arena: %w", err)
	}
	return a, name, nil
}
