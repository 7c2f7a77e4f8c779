// Command race has processes go round a ring of tracks, hand over hand: each
// holds the track that it is on until it has the next one. So nobody can
// overtake anybody, and every track must see the processes come in the same
// order. The ring is locked in three ways, one after the other: by one range a
// track of an arena's Ranges, by an arena's mutex a track, and by fcntl(2)'s
// open-file-description locks on one byte a track; for each it says how long
// the race took.
//
// It exits 0 if nobody was overtaken, 1 if somebody was or the race could not
// be run, 2 for wrong arguments. It leaves nothing behind.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"lockd/arena"
)

const (
	exitWrong = 1
	exitUsage = 2
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == racerCommand {
		os.Exit(racerMain(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// course is what is raced on.
type course struct{ processes, tracks, races int }

func run(args []string, stdout, stderr io.Writer) int {
	var c course
	flags := flag.NewFlagSet("race", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.processes, "processes", 4, "`number` of processes")
	flags.IntVar(&c.tracks, "tracks", 50, "`number` of tracks; more than processes")
	flags.IntVar(&c.races, "races", 100, "`number` of times that each goes round")
	if flags.Parse(args) != nil {
		return exitUsage
	}
	if c.processes < 1 || c.processes > 200 || c.tracks <= c.processes || c.tracks > 10_000 || c.races < 1 || c.races > 10_000 || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "race: needs 1 to 200 processes, more tracks than processes, and races to run")
		return exitUsage
	}
	dir, err := os.MkdirTemp(arena.Dir, "lockd-race-")
	if err != nil {
		fmt.Fprintln(stderr, "race:", err)
		return exitWrong
	}
	defer os.RemoveAll(dir)
	code := 0
	fmt.Fprintf(stdout, "%d processes, %d tracks, %d times round\n", c.processes, c.tracks, c.races)
	for _, kind := range kinds {
		took, err := c.hold(kind, filepath.Join(dir, kind))
		if err != nil {
			fmt.Fprintf(stderr, "race: %s: %v\n", kind, err)
			code = exitWrong
			continue
		}
		steps := c.processes * c.tracks * c.races
		fmt.Fprintf(stdout, "%-8s %8.1f ms  %6.2f µs a step\n", kind, float64(took.Microseconds())/1000, float64(took.Microseconds())/float64(steps))
	}
	return code
}

// hold has one race and returns how long it took.
func (c course) hold(kind, path string) (time.Duration, error) {
	b, err := makeBoard(path+".board", c)
	if err != nil {
		return 0, err
	}
	defer b.close()
	if err := os.WriteFile(path+".bytes", nil, 0o600); err != nil {
		return 0, err
	}
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	racers := make([]*racer, 0, c.processes)
	defer func() {
		for _, r := range racers {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
	}()
	for i := range c.processes {
		cmd := exec.Command(exe, racerCommand, kind, path, strconv.Itoa(i), strconv.Itoa(c.processes), strconv.Itoa(c.tracks), strconv.Itoa(c.races))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, err
		}
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		racers = append(racers, &racer{cmd, in, bufio.NewReader(out)})
	}
	for _, r := range racers {
		if err := r.expect("ready\n"); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	for _, r := range racers {
		io.WriteString(r.in, "go\n")
	}
	for _, r := range racers {
		if err := r.expect("done\n"); err != nil {
			return 0, err
		}
	}
	took := time.Since(began)
	return took, b.check()
}

// racer is one process in the race.
type racer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (r *racer) expect(want string) error {
	got, err := r.out.ReadString('\n')
	if err != nil || got != want {
		return errors.Join(fmt.Errorf("a racer said %q, not %q", got, want), err)
	}
	return nil
}
