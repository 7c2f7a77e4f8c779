package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

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

// runner is one call of the verb.
type runner struct {
	*verb
	t *tool

	patience   patience
	nonblock   bool
	shared     bool
	exclusive  bool
	tickets    int
	part       part
	conflict   int
	close      bool
	consistent bool
	verbose    bool
	trust      trust

	arena, lock string
	command     []string
}

func runVerb() *verb { return new(runner).asVerb() }

func (r *runner) asVerb() *verb {
	v := newVerb("run", "ARENA LOCK -- COMMAND [ARG…]", "hold a lock while a command runs", fmt.Sprintf(`Takes the lock, waiting for it, and runs the command. The lock is held until the
command has ended, and all that it started and left running in the background.
An arena that is not there is created. Of an abandoned lock it says so.

A name that nobody uses becomes a mutex; with --shared or --exclusive a lock
that many may read and one may write; with --range one of which commands hold
parts, exclusively or with --shared beside others that do. The names of a
semaphore's tickets are in LOCKD_TICKETS in the command's environment, such as
"0 3".

Flags stand before ARENA.

Exit code: the command's; 128 and the signal that ended it; %d, or what
--conflict-exit-code says, if the lock could not be had in time; %d if the call
is wrong; %d if the command cannot be run; %d, %d, %d and %d for an arena or a
lock that cannot be used.

Signals are passed on to the command. Those of the keyboard, Ctrl-C and Ctrl-\,
reach it anyway; run stays until it has ended. If run itself is killed by
SIGKILL the command is killed too, and nobody gets the lock before it is gone.
With --close nothing but run keeps the lock then, and the next may begin a
moment before the command is gone. A command that became another program (exec)
from a thread that is not its first is not killed: the kernel forgets that it
should be. It keeps the lock until it has ended, but with --close it does not.`, exitConflict, exitUsage, exitUnavailable, exitData, exitNoInput, exitSystem, exitCantCreate))
	r.verb = v
	v.misused = exitUsage
	f := v.flags
	f.SetInterspersed(false) // what follows belongs to the command
	f.VarP(&r.patience, "timeout", "w", "wait that long, in seconds or like 1m30s; 0 is --nonblock")
	f.BoolVarP(&r.nonblock, "nonblock", "n", false, "do not wait")
	f.BoolVarP(&r.shared, "shared", "s", false, "hold it for reading, beside other readers")
	f.BoolVarP(&r.exclusive, "exclusive", "x", false, "hold it for writing, where others use --shared")
	f.IntVar(&r.tickets, "tickets", 0, "hold that `many` tickets of a semaphore; lockd-inspect sem makes one")
	f.VarP(&r.part, "range", "", "hold that part, such as 100:50 for 100 to 149, or 100 up to the end")
	f.IntVarP(&r.conflict, "conflict-exit-code", "E", exitConflict, "exit `code` when the lock could not be had in time")
	f.BoolVarP(&r.close, "close", "o", false, "do not let the command and its children keep the lock beyond the command's end")
	f.BoolVar(&r.consistent, "mark-consistent", false, "if the lock was abandoned: the command repairs it, and if it succeeds the next owner is told nothing")
	f.BoolVar(&r.verbose, "verbose", false, "say on standard error who is waited for, and how long it took")
	r.trust.flags(f)
	v.takes = []argument{anArena, aLock}
	v.run = func(t *tool, args []string) int {
		if err := r.parse(args); err != nil {
			return t.misused(v, err)
		}
		r.t = t
		return r.do()
	}
	return v
}

func (r *runner) parse(rest []string) error {
	kinds := one(r.shared) + one(r.exclusive) + one(r.flags.Changed("tickets"))
	switch {
	case r.conflict < 0 || r.conflict > 255:
		return fmt.Errorf("exit code %d is not in 0 … 255", r.conflict)
	case kinds > 1:
		return errors.New("of --shared, --exclusive and --tickets only one can be")
	case r.flags.Changed("tickets") && (r.tickets < 1 || r.consistent):
		return errors.New("--tickets takes 1 or more, and nothing to mark consistent")
	case r.part.set && r.flags.Changed("tickets"):
		return errors.New("of --tickets and --range only one can be")
	case r.part.set && r.consistent:
		return errors.New("a range is never abandoned, there is nothing to mark consistent")
	case r.shared && r.consistent:
		return errors.New("who only reads cannot mark it consistent")
	case len(rest) < 2:
		return errors.New("run needs an ARENA, a LOCK and a COMMAND")
	}
	r.arena, r.lock, r.command = rest[0], rest[1], rest[2:]
	if len(r.command) > 0 && r.command[0] == "--" {
		r.command = r.command[1:]
	} else if len(r.command) > 0 && strings.HasPrefix(r.command[0], "-") {
		return fmt.Errorf("%s stands behind the arena; flags of run stand before it", r.command[0])
	}
	if len(r.command) == 0 {
		return errors.New("run needs a COMMAND")
	}
	return nil
}

func (r *runner) do() int {
	caught := catchSignals()
	if !r.t.ends {
		defer caught.stop()
	}
	o := openOptions(shellLine(r.command), r.trust)
	o.ByteOnly, o.TrackHold = true, true
	a, err := arena.Open(r.t.path(r.arena), o)
	if err != nil {
		return r.failed(err)
	}
	hold := r.gripOf(a)
	if sig, err := r.acquire(hold, caught); sig != 0 || err != nil {
		a.Close()
		switch {
		case sig != 0:
			return 128 + int(sig)
		case errors.Is(err, arena.ErrTimeout):
			return r.conflict // silently, as flock(1) does
		}
		return r.failed(err)
	}
	if d, abandoned := hold.abandoned(); abandoned {
		next := "; --mark-consistent says it is repaired"
		switch {
		case r.consistent:
			next = ""
		case r.shared: // who only reads cannot
			next = "; --exclusive --mark-consistent says it is repaired"
		}
		r.t.complain("%s was abandoned: pid %d (%s) %s holding it at %s; what it protects may be half-changed%s",
			quoted(r.lock), d.PID, quoted(d.Label), ended(d.Cause.String()), d.When.Local().Format(time.DateTime), next)
	}
	code, heirs := r.underLock(a, hold, caught)
	if r.consistent && code == 0 {
		if err := hold.markConsistent(); err != nil {
			r.t.complain("%s could not be marked consistent: %v", quoted(r.lock), explained{err})
		}
	}
	r.letGo(a, hold, heirs)
	return code
}

// acquire returns why the lock is not held, or neither.
func (r *runner) acquire(h grip, caught signals) (syscall.Signal, error) {
	if h.try() {
		return 0, nil
	}
	limit := r.patience
	if r.nonblock || limit.limited && limit.limit == 0 {
		// That says nothing about why: the lock may be held, or the name bad.
		limit = patience{grace, true}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if limit.limited {
		ctx, cancel = context.WithTimeout(ctx, limit.limit)
		defer cancel()
	}
	go caught.catchRest()
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
	told := r.tellWaiting(ctx)
	err := h.acquire(ctx)
	cancel()
	sig := <-interrupted
	told(err)
	if sig != 0 && err == nil {
		err = h.release()
	}
	return sig, err
}

// grace is how long --nonblock looks for the reason why it cannot have the lock.
const grace = 10 * time.Millisecond

// underLock runs the command to its end, and tells whether others inherited
// the lock from it.
func (r *runner) underLock(a *arena.Arena, h grip, caught signals) (code int, heirs bool) {
	var inherit *os.File
	environment := append(os.Environ(), h.environment()...)
	if !r.close {
		var err error
		if inherit, err = a.Inherit(); err != nil {
			return r.failed(err), false
		}
		environment = append(environment, actorVariable+"="+actorHere())
	}
	c, err := startCommand(r.command, environment, [3]any{r.t.stdin, r.t.stdout.to, r.t.stderr}, inherit)
	switch {
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		r.t.complain("cannot run %s: %v", quoted(r.command[0]), err)
		return exitSystem, false
	case err != nil:
		r.t.complain("cannot run %s: %s", quoted(r.command[0]), reason(err))
		return exitUnavailable, false
	}
	defer c.finish()
	code = c.wait(caught)
	return code, c.hasHeirs()
}

// letGo gives the lock back, or leaves it to those who inherited it. The
// command has run: what goes wrong now does not change its exit code.
func (r *runner) letGo(a *arena.Arena, h grip, heirs bool) {
	if heirs {
		if err := a.LeaveInherited(); err != nil {
			r.t.complain("%v", explained{err})
		}
		return
	}
	if err := h.release(); err != nil {
		r.t.complain("%s was taken away while the command ran: %v", quoted(r.lock), explained{err})
	}
	if err := a.Close(); err != nil {
		r.t.complain("%v", explained{err})
	}
}
