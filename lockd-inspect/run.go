package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"lockd/arena"
)

// Exit codes of run when it has none of the command's, as flock(1) of
// util-linux gives them: those of sysexits.h.
const (
	exitConflict    = 1
	exitUsage       = 64
	exitData        = 65
	exitNoInput     = 66
	exitUnavailable = 69
	exitSystem      = 71
	exitCantCreate  = 73
)

// patience is how long to wait for a lock.
type patience struct {
	limit   time.Duration
	limited bool
}

func (p *patience) String() string { return "" }
func (p *patience) Type() string   { return "time" }

// Set takes seconds, as flock(1) does, or a duration such as 1m30s.
func (p *patience) Set(text string) error {
	d, err := time.ParseDuration(text)
	if n, e := strconv.ParseFloat(text, 64); e == nil && n <= math.MaxInt64/float64(time.Second) {
		d, err = time.Duration(n*float64(time.Second)), nil
	}
	if err != nil || d < 0 {
		return errors.New("give seconds, such as 2.5, or a time such as 1m30s")
	}
	p.limit, p.limited = d, true
	return nil
}

type runOptions struct {
	patience patience
	nonblock bool
	conflict int
	close    bool
	help     bool

	arena, lock string
	command     []string
}

func (o *runOptions) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.SortFlags = false
	f.SetInterspersed(false) // what follows belongs to the command
	f.VarP(&o.patience, "timeout", "w", "wait that long, in seconds or like 1m30s; 0 is --nonblock")
	f.BoolVarP(&o.nonblock, "nonblock", "n", false, "do not wait")
	f.IntVarP(&o.conflict, "conflict-exit-code", "E", exitConflict, "exit `code` when the lock could not be had in time")
	f.BoolVarP(&o.close, "close", "o", false, "do not let the command and its children keep the lock beyond the command's end")
	f.BoolVarP(&o.help, "help", "h", false, "say what this verb does")
	return f
}

func parseRun(args []string) (o runOptions, err error) {
	f := o.flags()
	if err := f.Parse(args); err != nil || o.help {
		return o, err
	}
	if o.conflict < 0 || o.conflict > 255 {
		return o, fmt.Errorf("exit code %d is not in 0 … 255", o.conflict)
	}
	rest := f.Args()
	if len(rest) < 2 {
		return o, errors.New("run needs an ARENA, a LOCK and a COMMAND")
	}
	o.arena, o.lock, o.command = rest[0], rest[1], rest[2:]
	if len(o.command) > 0 && o.command[0] == "--" {
		o.command = o.command[1:]
	} else if len(o.command) > 0 && strings.HasPrefix(o.command[0], "-") {
		return o, fmt.Errorf("%s stands behind the arena; flags of run stand before it", o.command[0])
	}
	if len(o.command) == 0 {
		return o, errors.New("run needs a COMMAND")
	}
	return o, nil
}

// run holds a lock while a command runs.
func (t *tool) run(args []string) int {
	o, err := parseRun(args)
	if err != nil {
		t.complain("%v; lockd-inspect help run says more", err)
		return exitUsage
	}
	if o.help {
		return t.help([]string{"run"})
	}
	caught := catchSignals()
	defer caught.stop()

	a, err := arena.Open(t.path(o.arena), &arena.Options{
		ByteOnly: true,
		Label:    shellLine(o.command),
		Logger:   slog.New(slog.DiscardHandler), // what matters here comes back as an error
	})
	if err != nil {
		return t.failed(err)
	}
	m := a.Mutex(o.lock)
	if sig, err := o.acquire(m, caught); sig != 0 || err != nil {
		a.Close()
		switch {
		case sig != 0:
			return 128 + int(sig)
		case errors.Is(err, arena.ErrTimeout):
			return o.conflict // silently, as flock(1) does
		}
		return t.failed(err)
	}
	if d, abandoned := m.Abandoned(); abandoned {
		t.complain("%s was abandoned: pid %d (%s) %v holding it at %s; what it protects may be half-changed",
			quoted(o.lock), d.PID, quoted(d.Label), d.Cause, d.When.Local().Format(time.DateTime))
	}
	code, heirs := t.underLock(&o, a, caught)
	t.letGo(&o, a, m, heirs)
	return code
}

// acquire returns why the lock is not held, or neither.
func (o *runOptions) acquire(m *arena.Mutex, caught signals) (syscall.Signal, error) {
	limit := o.patience
	if o.nonblock || limit.limited && limit.limit == 0 {
		if m.TryLock() {
			return 0, nil
		}
		// That says nothing about why: the lock may be held, or the name bad.
		limit = patience{grace, true}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if limit.limited {
		ctx, cancel = context.WithTimeout(ctx, limit.limit)
		defer cancel()
	}
	interrupted := make(chan syscall.Signal, 1)
	go func() {
		select {
		case sig := <-caught:
			interrupted <- sig.(syscall.Signal)
			cancel()
		case <-ctx.Done():
		}
		close(interrupted)
	}()
	err := m.LockContext(ctx)
	cancel()
	sig := <-interrupted
	if sig != 0 && err == nil {
		err = m.Release()
	}
	return sig, err
}

// grace is how long --nonblock looks for the reason why it cannot have the lock.
const grace = 10 * time.Millisecond

// underLock runs the command to its end, and tells whether others inherited
// the lock from it.
func (t *tool) underLock(o *runOptions, a *arena.Arena, caught signals) (code int, heirs bool) {
	var inherit *os.File
	if !o.close {
		var err error
		if inherit, err = a.Inherit(); err != nil {
			return t.failed(err), false
		}
	}
	c, err := startCommand(o.command, t.stdin, t.stdout, t.stderr, inherit)
	switch {
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		t.complain("cannot run %s: %v", quoted(o.command[0]), err)
		return exitSystem, false
	case err != nil:
		t.complain("cannot run %s: %s", quoted(o.command[0]), reason(err))
		return exitUnavailable, false
	}
	defer c.finish()
	code = c.wait(caught)
	return code, c.hasHeirs()
}

func reason(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "there is no such command in PATH"
	case errors.As(err, &path):
		return path.Err.Error()
	}
	return err.Error()
}

// letGo gives the lock back, or leaves it to those who inherited it. The
// command has run: what goes wrong now does not change its exit code.
func (t *tool) letGo(o *runOptions, a *arena.Arena, m *arena.Mutex, heirs bool) {
	if heirs {
		if err := a.LeaveInherited(); err != nil {
			t.complain("%s", strings.TrimPrefix(err.Error(), "arena: "))
		}
		return
	}
	if err := m.Release(); err != nil {
		t.complain("%s was taken away while the command ran: %v", quoted(o.lock), err)
	}
	if err := a.Close(); err != nil {
		t.complain("%s", strings.TrimPrefix(err.Error(), "arena: "))
	}
}

// failed says why the lock cannot be had at all.
func (t *tool) failed(err error) int {
	t.complain("%s", strings.TrimPrefix(err.Error(), "arena: "))
	switch {
	case errors.Is(err, arena.ErrName):
		return exitUsage
	case errors.Is(err, arena.ErrKind), errors.Is(err, arena.ErrDamaged), errors.Is(err, arena.ErrTruncated):
		return exitData
	case errors.Is(err, arena.ErrNoSpace):
		return exitCantCreate
	case errors.Is(err, arena.ErrTableFull), errors.Is(err, arena.ErrMembersFull), errors.Is(err, arena.ErrBusy),
		errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM):
		return exitSystem
	}
	return exitNoInput
}

func helpRun(w io.Writer) {
	var o runOptions
	fmt.Fprintf(w, `Takes the lock, waiting for it, and runs the command. The lock is held until the
command has ended, and all that it started and left running in the background.
An arena that is not there is created. Of an abandoned lock it says so.

Flags, which stand before ARENA:
%s
Exit code: the command's; 128 and the signal that ended it; %d, or what
--conflict-exit-code says, if the lock could not be had in time; %d if the call
is wrong; %d if the command cannot be run; %d, %d, %d and %d for an arena or a
lock that cannot be used.

Signals are passed on to the command. Those of the keyboard, Ctrl-C and Ctrl-\,
reach it anyway; run stays until it has ended. If run itself is killed by
SIGKILL the command is killed too, and nobody gets the lock before it is gone.
With --close nothing but run keeps the lock then, and the next may begin a
moment before the command is gone.
`, o.flags().FlagUsages(), exitConflict, exitUsage, exitUnavailable, exitData, exitNoInput, exitSystem, exitCantCreate)
}
