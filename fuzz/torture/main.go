// Torture has many processes use all kinds of locks in a few arenas, kills,
// stops and replaces them at random, and checks all along, against ledgers of
// their own beside the arenas, that nobody is where somebody else is, that who
// takes over from the dead is told, and that nobody waits for ever.
//
//	torture -duration 10m
//
// It ends with code 0 if all was well, 1 if anything was not, 2 if it could not
// be told. It signals only processes that it started, and leaves nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		playRole(os.Args[1:])
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// plan is what a run is told.
type plan struct {
	duration  time.Duration
	processes int
	kills     int // stop after so many; 0 for no bound
	rate      int // kills a second, at most
	seed      uint64
	dir       string
	json      bool
	kinds     uint64 // a bit for each; 0: all
	first     bool   // end with the first finding
}

func run(args []string, stdout, stderr io.Writer) int {
	p := plan{}
	flags := flag.NewFlagSet("torture", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&p.duration, "duration", time.Minute, "how long")
	flags.IntVar(&p.processes, "processes", 16, "how many processes at a time")
	flags.IntVar(&p.kills, "kills", 0, "end after so many kills, if the duration is not over before")
	flags.IntVar(&p.rate, "rate", 50, "how many kills a second, at most")
	flags.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "of the random choices; a run cannot be repeated exactly")
	flags.BoolVar(&p.first, "first", false, "end with the first finding")
	flags.BoolVar(&p.json, "json", false, "give the summary as JSON")
	some := flags.String("kinds", allKinds, "what the workers use, such as mutex,sessions")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var err error
	if p.kinds, err = kindsOf(*some); err != nil {
		fmt.Fprintln(stderr, "torture:", err)
		return 2
	}
	if p.processes < 2 || p.processes > maxSeats || p.rate < 1 || p.duration <= 0 || flags.NArg() > 0 {
		fmt.Fprintf(stderr, "torture: 2 to %d processes, a rate and a duration above 0, and no arguments\n", maxSeats)
		return 2
	}
	dir, err := os.MkdirTemp(shm, fmt.Sprintf("lockd-torture-%d-", os.Getpid()))
	if err != nil {
		fmt.Fprintln(stderr, "torture:", err)
		return 2
	}
	defer os.RemoveAll(dir)
	p.dir = dir

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d, err := newDirector(p, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "torture:", err)
		return 2
	}
	d.progress(stdout)
	d.run(ctx)
	d.report(stdout)
	if !d.clean() {
		return 1
	}
	return 0
}
