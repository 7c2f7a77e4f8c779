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
	dir  string // of the binaries
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("variants", flag.ContinueOnError)
	write := flags.String("write", "", "write the tables to this `file`")
	most := flags.Int("most", 60, "run a test that often at most")
	only := flags.String("only", "", "variants whose name contains this")
	part := flags.String("part", "", "make only that part anew: code or models")
	states := flags.Int("states", 2_000_000, "states of a model that are visited at most")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "lockd-variants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx, out, *most, dir}
	code, models := "", ""
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
	if *write == "" || *only != "" {
		return nil
	}
	return update(*write, code, models)
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
variant until it went red, *time* how long all of these took.

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
		tests := 0
		for _, c := range variants.Catches {
			if c.Variant != s.Name {
				continue
			}
			tests++
			n, took, said, err := b.until(c)
			if err != nil {
				return "", fmt.Errorf("%s: %s of %s: %w", c.Variant, c.Test, c.Package, err)
			}
			row := fmt.Sprintf("| `%s` | %s | %s `%s` | %d | %s | %s |", s.Name, s.Broken, c.Package, c.Test, n, rounded(took), cell(said))
			fmt.Fprintln(b.out, row)
			fmt.Fprintln(table, row)
		}
		if tests == 0 {
			return "", fmt.Errorf("no test is known that catches %s", s.Name)
		}
		caught++
	}
	return fmt.Sprintf(codeIs, caught) + table.String(), nil
}

// until runs a test until it goes red.
func (b *bench) until(c variants.Catch) (n int, took time.Duration, said string, err error) {
	folder, err := filepath.Abs(c.Package)
	if err != nil {
		return 0, 0, "", err
	}
	binary := variants.Binary(b.dir, c.Package)
	if _, err := os.Stat(binary); err != nil {
		if err := variants.Build(b.ctx, folder, binary); err != nil {
			return 0, 0, "", err
		}
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
	return b.most, time.Since(began), "", fmt.Errorf("it passed %d times", b.most)
}

func (b *bench) models(only string, states int) (string, error) {
	found, table := 0, new(bytes.Buffer)
	fmt.Fprintln(table, "| protocol | what is broken | states | steps | what came of it |")
	fmt.Fprintln(table, "|---|---|---|---|---|")
	for _, v := range explore.Variants() {
		if !strings.Contains(v.Break, only) {
			continue
		}
		f := v.Find(states)
		if f.Violation == "" {
			return "", fmt.Errorf("%s: %q was not found out in %d states", v.Protocol, v.Break, f.States)
		}
		row := fmt.Sprintf("| %s | %s | %d | %d | %s |", v.Protocol, v.Break, f.States, len(f.Trace), cell(f.Violation))
		fmt.Fprintln(b.out, row)
		fmt.Fprintln(table, row)
		found++
		if err := b.ctx.Err(); err != nil {
			return "", err
		}
	}
	return modelsTitle + fmt.Sprintf(modelsAre, found) + table.String(), nil
}

func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

// cell is what fits into a cell of a table.
func cell(text string) string {
	const most = 110
	runes := []rune(strings.ReplaceAll(strings.TrimSpace(text), "|", `\|`))
	if len(runes) > most {
		runes = append(runes[:most], '…')
	}
	return string(runes)
}
