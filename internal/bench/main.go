// Command bench measures the arena's locks beside their peers, in one run and
// in turns, so that what else the machine does meets all alike. It prints a
// table, or with -json a line of JSON for each case and peer; with -write it
// renews doc/BENCHMARKS.md and its plots.
//
// The peers in C are built with cc; a peer that is not on the machine is named
// as skipped. All processes it starts and all files it makes are gone when it
// ends, also when it is interrupted.
//
// It exits 0 when all was measured, whatever the figures, 1 if something could
// not be, 2 for wrong arguments, and 130 when interrupted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

const (
	exitWrong       = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	if act() {
		return
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the command line asks for.
type settings struct {
	plan   plan
	wanted *regexp.Regexp
	json   bool
	list   bool
	write  string
	load   int
	other  string
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pattern := flags.String("run", "", "only cases that match this `regexp`")
	rounds := flags.Int("rounds", 0, "`number` of rounds (default 7, with -short 3)")
	turn := flags.Duration("turn", 0, "`time` of one contender in one round (default 300ms, with -short 100ms)")
	short := flags.Bool("short", false, "shorter turns, fewer rounds and kills, a victim of 256 MiB")
	flags.BoolVar(&s.json, "json", false, "print lines of JSON")
	flags.BoolVar(&s.list, "list", false, "list the cases and what they are about")
	flags.StringVar(&s.write, "write", "", "renew BENCHMARKS.md and its plots in this `folder`")
	flags.IntVar(&s.load, "load", 0, "keep the machine busy with this `number` of other processes")
	flags.StringVar(&s.other, "against", "", "beside the peers, ours as another build of this `program` does it")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if s.wanted, err = regexp.Compile(*pattern); err != nil {
		return nil, err
	}
	s.plan = fullPlan()
	if *short {
		s.plan = shortPlan()
	}
	if *rounds > 0 {
		s.plan.rounds = *rounds
	}
	if *turn > 0 {
		s.plan.turn = *turn
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case *rounds < 0 || *turn < 0 || s.load < 0:
		return nil, errors.New("-rounds, -turn and -load cannot be negative")
	case s.write != "" && *pattern != "":
		return nil, errors.New("-write needs all cases: leave -run out")
	}
	return s, nil
}

func run(args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	ctx, stop := untilSignal()
	defer stop()
	switch err := s.run(ctx, stdout, stderr); {
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(stderr, "bench:", err)
		return exitInterrupted
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitWrong
	}
	return 0
}

// untilSignal makes a context that ends with any signal that would end the
// program: what it made has to be taken away first.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
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
		cancel(nil)
	}
}

// result is one case measured.
type result struct {
	benchCase
	list []measured
}

func (s *settings) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	cases := casesFor(s.plan, s.wanted)
	if s.other != "" {
		for i := range cases {
			cases[i].contenders = append(cases[i].contenders, anotherBuild(cases[i].contenders[0], s.other))
		}
	}
	if s.list {
		for _, c := range cases {
			fmt.Fprintf(stdout, "%-24s %s\n", c.name, c.about)
		}
		return nil
	}
	if len(cases) == 0 {
		return fmt.Errorf("no case matches %q; -list shows all", s.wanted)
	}
	e, err := newEnv(ctx, s.plan)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	where := machine()
	unload, err := e.load(s.load)
	if err != nil {
		return err
	}
	defer unload()

	var results []result
	var rows []row
	var failed error
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	for i, c := range cases {
		fmt.Fprintf(stderr, "%3d/%d %s\n", i+1, len(cases), c.name)
		rounds := s.plan.rounds
		if c.rounds > 0 {
			rounds = min(rounds, c.rounds)
		}
		list, err := e.run(c, rounds)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			// The other cases may be measurable all the same.
			failed = errors.Join(failed, err)
			fmt.Fprintln(stderr, "bench:", err)
			continue
		}
		results = append(results, result{c, list})
		found := rowsOf(c, list)
		rows = append(rows, found...)
		if s.json {
			for _, r := range found {
				if err := out.Encode(r); err != nil {
					return err
				}
			}
		}
	}
	if !s.json {
		fmt.Fprintf(stdout, "%s\n\n", where)
		writeTable(stdout, rows)
	}
	if s.write != "" && failed == nil {
		return s.renew(where, rows, results)
	}
	return failed
}

// anotherBuild is ours with the workers of another build, say of an older
// state of the source.
func anotherBuild(ours contender, program string) contender {
	return contender{"other build", func(s *stage) (func() (sample, error), error) {
		s.self = program
		return ours.start(s)
	}}
}

// load starts processes that only turn in circles.
func (e *env) load(n int) (stop func(), err error) {
	s, err := e.stage()
	if err != nil {
		return nil, err
	}
	for range n {
		if _, err := s.worker(busyRole); err != nil {
			s.close()
			return nil, err
		}
	}
	if n > 0 {
		err = e.pause(time.Second)
	}
	return s.close, err
}
