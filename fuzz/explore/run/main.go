// Command run explores the arena's protocols and prints what it saw.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"lockd/fuzz/explore"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "explore:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("explore", flag.ContinueOnError)
	states := flags.Int("states", 5_000_000, "visit so many states of a model at most")
	only := flags.String("only", "", "models whose name contains this")
	variants := flags.Bool("variants", true, "the broken variants too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	debug.SetGCPercent(50)
	violations := 0
	total := explore.Result{Model: "all of them", Complete: true}
	fmt.Fprintln(out, explore.Header)
	for _, s := range explore.Situations() {
		if !strings.Contains(s.Model.Name, *only) {
			continue
		}
		r := s.Model.Explore(*states)
		fmt.Fprintln(out, r)
		if r.Violation != "" {
			violations++
		}
		total.States += r.States
		total.Transitions += r.Transitions
		total.Took += r.Took
		total.Complete = total.Complete && r.Complete
	}
	fmt.Fprintln(out, total)
	missed := 0
	if *variants {
		fmt.Fprintln(out, "\n"+explore.VariantHeader)
		for _, v := range explore.Variants() {
			if !strings.Contains(v.Protocol, *only) {
				continue
			}
			found := v.Find(*states)
			fmt.Fprintln(out, found)
			if found.Violation == "" {
				missed++
			}
		}
	}
	if violations+missed > 0 {
		return fmt.Errorf("%d violations, %d variants not found out", violations, missed)
	}
	return nil
}
