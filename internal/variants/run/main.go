// Command run runs each protocol that is broken on purpose until a test goes
// red, or the explorer finds it out, and writes down what caught it and after
// how many runs.
//
//	go run ./internal/variants/run -write doc/VARIANTS.md
package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"lockd/fuzz/explore"
	"lockd/internal/variants"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "variants:", err)
		os.Exit(1)
	}
}

type bench struct {
	ctx  context.Context
	out  io.Writer
	most int
	dir  string   // of the binaries
	rows []string // of an interrupted run

	missed []string // of the models
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("variants", flag.ContinueOnError)
	write := flags.String("write", "", "write the tables to this `file`")
	most := flags.Int("most", 40, "run a test that often at most")
	only := flags.String("only", "", "variants whose name contains this")
	part := flags.String("part", "", "make only that part anew: code or models")
	resume := flags.String("resume", "", "take the rows that an interrupted run has printed into this `file`")
	dir := flags.String("dir", "", "build the tests in this `folder`, or take them from there if they are")
	states := flags.Int("states", explore.VariantStates, "states of a model that are visited at most")
	if err := flags.Parse(args); err != nil {
		return err
	}
	b := &bench{ctx: ctx, out: out, most: *most, dir: *dir}
	if *dir == "" {
		made, err := os.MkdirTemp("", "lockd-variants-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		b.dir = made
	}
	if *resume != "" {
		printed, err := os.ReadFile(*resume)
		if err != nil {
			return err
		}
		b.rows = strings.Split(strings.TrimSpace(string(printed)), "\n")
	}
	code, models, err := "", "", error(nil)
	if *part != inModels {
		if code, err = b.real(*only); err != nil {
			return err
		}
	}
	if *part != inCode {
		if models, err = b.models(*only, *states); err != nil {
			return err
		}
	}
	if *write != "" && *only == "" {
		if err := update(*write, code, models); err != nil {
			return err
		}
	}
	if len(b.missed) > 0 {
		return fmt.Errorf("not found out in %d states: %q", *states, b.missed)
	}
	return nil
}

// The parts of the document.
const (
	inCode   = "code"
	inModels = "models"
)

// update writes the document, with what was not made anew as it was.
func update(path, code, models string) error {
	if code == "" || models == "" {
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(old), head)
		oldCode, oldModels, whole := strings.Cut(rest, modelsTitle)
		if !whole {
			return fmt.Errorf("%s has not both parts: make it whole first", path)
		}
		code, models = cmp.Or(code, oldCode), cmp.Or(models, modelsTitle+oldModels)
	}
	return os.WriteFile(path, []byte(head+code+models), 0o644)
}

const head = `# Protocols that are broken on purpose

Written by ` + "`make variants`" + `, which runs all of this. A test that cannot fail shows nothing. So the protocols are broken, one
piece at a time, and each must be found out; a variant that were not would show that a test is missing.

`

const codeIs = `## In the code

%d variants of what really runs, behind a build tag. Each test passes in the sound code. *Runs* is how often it ran in the
variant until it went red, *time* how long all of these took. Where processes have to meet at a bad moment that depends on how
busy the machine is.

`

const modelsTitle = `
## In the models
`

const modelsAre = `
%d variants of the models that the explorer looks at (` + "`make explore`" + `). *Steps* is the shortest way to what must not be,
*states* how many were seen until then.

`

func (b *bench) real(only string) (string, error) {
	sources, err := variants.Sources(".")
	if err != nil {
		return "", err
	}
	caught, table := 0, new(bytes.Buffer)
	fmt.Fprintln(table, "| variant | what is broken | caught by | runs | time | what it said |")
	fmt.Fprintln(table, "|---|---|---|---|---|---|")
	for _, s := range sources {
		if !strings.Contains(s.Name, only) {
			continue
		}
		red := false
		for _, c := range variants.Catches {
			if c.Variant != s.Name {
				continue
			}
			row, caught, err := b.row(s, c)
			if err != nil {
				return "", fmt.Errorf("%s: %s of %s: %w", c.Variant, c.Test, c.Package, err)
			}
			red = red || caught
			fmt.Fprintln(b.out, row)
			fmt.Fprintln(table, row)
		}
		if !red {
			return "", fmt.Errorf("no test catches %s", s.Name)
		}
		caught++
	}
	return fmt.Sprintf(codeIs, caught) + table.String(), nil
}

const notRed = "not red"

// row is what came of one test in a variant, and says whether it went red.
func (b *bench) row(s variants.Source, c variants.Catch) (row string, red bool, err error) {
	begin := fmt.Sprintf("| `%s` | %s | %s `%s` | ", s.Name, s.Broken, c.Package, c.Test)
	for _, row := range b.rows {
		if strings.HasPrefix(row, begin) {
			return row, !strings.Contains(row, notRed), nil
		}
	}
	n, took, said, err := b.until(c)
	if err != nil {
		return "", false, err
	}
	runs := fmt.Sprint(n)
	if n > b.most {
		runs = fmt.Sprintf("%s in %d", notRed, b.most)
	}
	return begin + fmt.Sprintf("%s | %s | %s |", runs, rounded(took), cell(said)), n <= b.most, nil
}

// until runs a test until it goes red, or more often than b.most.
func (b *bench) until(c variants.Catch) (n int, took time.Duration, said string, err error) {
	folder, err := filepath.Abs(c.Package)
	if err != nil {
		return 0, 0, "", err
	}
	binary, err := c.Binary(b.ctx, folder, b.dir)
	if err != nil {
		return 0, 0, "", err
	}
	began := time.Now()
	for n = 1; n <= b.most; n++ {
		output, err := variants.Run(b.ctx, folder, binary, c.Variant, c.Test)
		said, red, err := variants.Red(c.Test, output, err)
		if red || err != nil {
			return n, time.Since(began), said, err
		}
		if err := b.ctx.Err(); err != nil {
			return n, 0, "", err
		}
	}
	return n, time.Since(began), "", nil
}

func (b *bench) models(only string, states int) (string, error) {
	found, table := 0, new(bytes.Buffer)
	fmt.Fprintln(table, "| protocol | what is broken | states | steps | what came of it |")
	fmt.Fprintln(table, "|---|---|---|---|---|")
	for _, v := range explore.Variants() {
		if !strings.Contains(v.Break, only) {
			continue
		}
		row := b.foundOut(v, states)
		fmt.Fprintln(b.out, row)
		fmt.Fprintln(table, row)
		found++
		if err := b.ctx.Err(); err != nil {
			return "", err
		}
	}
	return modelsTitle + fmt.Sprintf(modelsAre, found) + table.String(), nil
}

func (b *bench) foundOut(v explore.Variant, states int) string {
	begin := fmt.Sprintf("| %s | %s | ", v.Protocol, v.Break)
	for _, row := range b.rows {
		if strings.HasPrefix(row, begin) {
			return row
		}
	}
	f := v.Find(states)
	if f.Violation == "" {
		b.missed = append(b.missed, v.Break)
		return begin + fmt.Sprintf("%d | – | **not found out so far** |", f.States)
	}
	return begin + fmt.Sprintf("%d | %d | %s |", f.States, len(f.Trace), cell(f.Violation))
}

func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// ofThatRun is a file that is gone by the time anybody reads of it.
var ofThatRun = regexp.MustCompile(regexp.QuoteMeta(os.TempDir()) + `\S*`)

// cell is what fits into a cell of a table.
func cell(text string) string {
	const most = 110
	text = ofThatRun.ReplaceAllString(text, "…")
	runes := []rune(strings.ReplaceAll(strings.TrimSpace(text), "|", `\|`))
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	return string(runes)
}
