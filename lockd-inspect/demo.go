package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"lockd/arena"
)

// demonstrator is one call of the verb.
type demonstrator struct {
	t     *tool
	ctx   context.Context
	pause time.Duration
	name  string // of an arena of its own
	crew  []*exec.Cmd
	idle  []io.Closer // what keeps them from ending
}

// demoPatience is how long a step may take, which takes a moment.
const demoPatience = 30 * time.Second

func demoVerb() *verb {
	v := newVerb("demo", "", "a show: locks held, waited for, a kill and its heir, a deadlock", `Makes an arena of its own, starts a few processes that hold locks in it and wait
for some, and shows what this command says of them. One of them is killed, and
another inherits. Two scripts wait for each other, and check finds out. Then all
of it is removed, also after Ctrl-C.`)
	pause := v.flags.Duration("pause", 0, "wait that long after each step")
	v.run = func(t *tool, args []string) int {
		if len(args) > 1 && args[0] == demoActor {
			return t.act(args[1], args[2:])
		}
		if len(args) == 3 && args[0] == demoScript {
			return t.goOn(args[1], args[2])
		}
		if len(args) > 0 || *pause < 0 {
			return t.misused(v, errors.New("demo takes no arguments, and no pause below 0"))
		}
		ctx, stop := interruptible(syscall.SIGPIPE)
		defer stop()
		d := &demonstrator{t: t, ctx: ctx, pause: *pause, name: fmt.Sprintf("lockd-demo-%d", os.Getpid())}
		return d.show()
	}
	return v
}

func (d *demonstrator) show() int {
	// The crew is killed when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := d.scenes()
	d.dismiss()
	if e := arena.Remove(d.t.path(d.name)); e != nil && !errors.Is(e, arena.ErrNotExist) {
		err = errors.Join(err, explained{e})
	}
	switch {
	case errors.Is(d.t.stdout.err, syscall.EPIPE):
		return exitUnread
	case d.ctx.Err() != nil:
		return exitInterrupted
	case err != nil && err == d.t.stdout.err:
		return exitFine // which is not said
	case err != nil:
		d.t.complain("%v", err)
		return exitCannotTell
	}
	fmt.Fprintf(d.t.stdout, "All of it is gone again. lockd-inspect help says what else there is.\n")
	return exitFine
}

func (d *demonstrator) scenes() error {
	d.say("One process holds the lock invoices, and two wait for it:")
	if d.t.stdout.err != nil {
		return d.t.stdout.err
	}
	first, err := d.enter("./number-invoices", "invoices")
	d.await(&err, "invoices", func(l *lock) bool { return l.Owner != nil })
	d.enterAnd(&err, "./print-invoices", "invoices")
	d.await(&err, "invoices", func(l *lock) bool { return l.Waiters == 1 })
	d.enterAnd(&err, "./mail-invoices", "invoices")
	d.await(&err, "invoices", func(l *lock) bool { return l.Waiters == 2 })
	d.run(&err, "locks", d.name)
	d.run(&err, "show", d.name, "invoices")
	if err != nil {
		return err
	}

	d.say("%s is killed. Who has waited inherits the lock, and is told:", first.Process)
	first.Process.Kill()
	dead := first.Process.Pid
	d.await(&err, "invoices", func(l *lock) bool { return l.LastDeath != nil && l.Owner != nil && int(l.Owner.PID) != dead })
	d.run(&err, "show", d.name, "invoices")

	d.say("Two scripts take two locks each, the one the other way round:")
	d.script(&err, "disk", "tape")
	d.script(&err, "tape", "disk")
	for _, name := range []string{"disk", "tape"} {
		d.await(&err, name, func(l *lock) bool { return l.Waiters == 1 })
	}
	d.run(&err, "check", d.name)
	d.run(&err, "graph", d.name)
	return err
}

// say introduces a scene, with the pids of processes in place of them.
func (d *demonstrator) say(format string, args ...any) {
	for i, a := range args {
		if p, ok := a.(*os.Process); ok {
			args[i] = fmt.Sprintf("Process %d", p.Pid)
		}
	}
	fmt.Fprintf(d.t.stdout, format+"\n\n", args...)
}

// run shows a call, and what comes of it.
func (d *demonstrator) run(err *error, args ...string) {
	if *err != nil {
		return
	}
	fmt.Fprintf(d.t.stdout, "$ lockd-inspect %s\n", shellLine(args))
	d.t.do(verbNamed(args[0]), args[1:])
	fmt.Fprintln(d.t.stdout)
	if *err = d.t.stdout.err; *err != nil {
		return
	}
	select {
	case <-d.ctx.Done():
		*err = d.ctx.Err()
	case <-time.After(d.pause):
	}
}

// await looks until a lock is as the show needs it.
func (d *demonstrator) await(err *error, name string, is func(*lock) bool) {
	if *err == nil {
		*err = d.t.await(d.ctx, d.name, name, is)
	}
}

func (t *tool) await(ctx context.Context, arena, name string, is func(*lock) bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		if r, err := t.live(arena); err == nil {
			if l := r.lockNamed(name); l != nil && is(l) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v %s is still not as it should be: %w", demoPatience, name, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// enter starts a process that takes locks one after the other.
func (d *demonstrator) enter(label string, locks ...string) (*exec.Cmd, error) {
	return d.start(append([]string{"demo", "--", demoActor, d.t.path(d.name), label}, locks...))
}

func (d *demonstrator) enterAnd(err *error, label string, locks ...string) {
	if *err == nil {
		_, *err = d.enter(label, locks...)
	}
}

// script starts what a shell script with one run inside of another does.
func (d *demonstrator) script(err *error, outer, inner string) {
	if *err != nil {
		return
	}
	self, path := selfPath(), d.t.path(d.name)
	_, *err = d.start([]string{"run", path, outer, "--", self, "demo", "--", demoScript, path, inner})
}

// start starts this command once more. It ends when its standard input does,
// or when this process is killed.
func (d *demonstrator) start(args []string) (*exec.Cmd, error) {
	c := exec.Command(selfPath(), args...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is for this process
	stdin, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		stdin.Close()
		return nil, fmt.Errorf("start %s once more: %w", c.Path, err)
	}
	d.crew, d.idle = append(d.crew, c), append(d.idle, stdin)
	return c, nil
}

// dismiss ends all that was started, in the order of starting, and waits for it.
func (d *demonstrator) dismiss() {
	for _, c := range d.crew {
		c.Process.Kill()
	}
	for i, c := range d.crew {
		d.idle[i].Close()
		c.Wait()
	}
	// What a killed run has started is killed a moment later.
	for deadline := time.Now().Add(demoPatience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		r, err := d.t.live(d.name)
		if err != nil || !r.hasLiving() {
			return
		}
	}
}

func (r *report) hasLiving() bool {
	for _, m := range r.Members {
		if !m.dead() {
			return true
		}
	}
	return false
}

// selfPath is this program, whatever its file is called by now.
func selfPath() string {
	if path, err := os.Executable(); err == nil && !strings.HasSuffix(path, removedMark) {
		return path
	}
	return "/proc/self/exe"
}

// The first argument of a process of the show says what it does. Behind it come
// the arena and, of an actor, what it calls itself and the locks that it takes;
// of a script, which holds one already, the second one.
const (
	demoActor  = "actor"
	demoScript = "script"
)

// act is what a process of the show does until its standard input ends.
func (t *tool) act(path string, args []string) int {
	go func() {
		io.Copy(io.Discard, t.stdin)
		os.Exit(exitFine)
	}()
	if len(args) > 1 {
		o := openOptions(args[0], trust{})
		o.TrackHold = true
		a, err := arena.Open(path, o)
		if err != nil {
			t.complain("%v", explained{err})
			return exitCannotTell
		}
		for _, name := range args[1:] {
			a.Mutex(name).Lock()
		}
	}
	select {}
}

// goOn is the rest of a script: when the other one has what this one wants, it
// wants it.
func (t *tool) goOn(path, second string) int {
	err := t.await(context.Background(), path, second, func(l *lock) bool { return l.Owner != nil })
	if err != nil {
		t.complain("%v", err)
		return exitCannotTell
	}
	// Not by exec: of a program with several threads that would lose what kills
	// it when the one that started it is killed.
	return t.dispatch([]string{"run", path, second, "--", selfPath(), "demo", "--", demoActor, path, "./copy"})
}
