// Command run explores the arena's protocols and prints what it saw.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
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

// job is what was asked for.
type job struct {
	states   int
	only     string
	variants bool
	parallel int
	out      io.Writer
}

func run(args []string, out io.Writer) error {
	j := job{out: out}
	flags := flag.NewFlagSet("explore", flag.ContinueOnError)
	flags.IntVar(&j.states, "states", 5_000_000, "visit so many states of a model at most")
	flags.StringVar(&j.only, "only", "", "models whose name contains this")
	flags.BoolVar(&j.variants, "variants", true, "the broken variants too")
	flags.IntVar(&j.parallel, "parallel", runtime.GOMAXPROCS(0), "so many models at once")
	asJSON := flags.Bool("json", false, "the broken variants alone, each a line of JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	debug.SetGCPercent(50)
	violations, missed := 0, 0
	if *asJSON {
		missed = j.writeVariants()
	} else {
		violations = j.printSituations()
		if j.variants {
			missed = j.printVariants()
		}
	}
	if violations+missed > 0 {
		return fmt.Errorf("%d violations, %d variants not found out", violations, missed)
	}
	return nil
}

// inOrder runs f for 0 to n-1, some at once, and yields what it returns in
// order.
func inOrder[T any](n, parallel int, f func(int) T, yield func(T)) {
	done := make([]chan T, n)
	turns := make(chan struct{}, max(parallel, 1))
	for i := range done {
		done[i] = make(chan T, 1)
	}
	go func() {
		for i := range n {
			turns <- struct{}{}
			go func() {
				done[i] <- f(i)
				<-turns
			}()
		}
	}()
	for _, c := range done {
		yield(<-c)
	}
}

func (j job) printSituations() (violations int) {
	fmt.Fprintln(j.out, explore.Header)
	var all []explore.Situation
	for _, s := range explore.Situations() {
		if strings.Contains(s.Model.Name, j.only) {
			all = append(all, s)
		}
	}
	sums := explore.Sums{}
	inOrder(len(all), j.parallel, func(i int) explore.Result {
		m := all[i].Model
		all[i].Model = nil
		return m.Explore(j.states)
	}, func(r explore.Result) {
		fmt.Fprintln(j.out, r)
		sums.Add(r)
		if r.Violation != "" {
			violations++
		}
	})
	fmt.Fprintf(j.out, "\n%v", &sums)
	return violations
}

func (j job) eachVariant(yield func(explore.Found)) (missed int) {
	var all []explore.Variant
	for _, v := range explore.Variants() {
		if strings.Contains(v.Protocol, j.only) {
			all = append(all, v)
		}
	}
	inOrder(len(all), j.parallel, func(i int) explore.Found { return all[i].Find(j.states) }, func(f explore.Found) {
		if f.Violation == "" {
			missed++
		}
		yield(f)
	})
	return missed
}

func (j job) printVariants() (missed int) {
	fmt.Fprintln(j.out, "\n"+explore.VariantHeader)
	return j.eachVariant(func(f explore.Found) { fmt.Fprintln(j.out, f) })
}

// variantLine is a broken variant in JSON. Of one that was not found out,
// caught_by is empty.
type variantLine struct {
	Variant  string `json:"variant"`
	Protocol string `json:"protocol"`
	CaughtBy string `json:"caught_by"`
	Steps    int    `json:"steps"`  // of the shortest way to it
	States   int    `json:"states"` // that were seen until then
}

func (j job) writeVariants() (missed int) {
	e := json.NewEncoder(j.out)
	e.SetEscapeHTML(false)
	return j.eachVariant(func(f explore.Found) {
		if err := e.Encode(variantLine{f.Break, f.Protocol, f.Violation, len(f.Trace), f.States}); err != nil {
			missed++
		}
	})
}
