package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"lockd/arena"
	"lockd/futex"
)

// director starts, kills, stops and replaces the workers, and counts.
type director struct {
	plan   plan
	exe    string
	board  *board
	stderr io.Writer
	began  time.Time
	show   func() // a line a second

	mu       sync.Mutex
	crew     []*seated
	counts   counts
	findings []string
	told     map[string]bool // goroutines that were called stranded
	leaving  bool

	lives sync.WaitGroup
}

// counts are of what the director did, and what was found.
type counts struct {
	Started, Kills, Stops, Execs, Exits, Leaves, Removals int
	Stranded, Violations                                  int
}

// seated is the process that has a seat now.
type seated struct {
	cmd     *exec.Cmd
	errors  bytes.Buffer
	on      bool // it works, and nobody is doing anything to it
	stopped bool
	ordered uint32
	killed  bool
	byCrash bool // killed itself at a point that it was told
	seat    int
	gone    chan struct{}
}

func newDirector(p plan, stderr io.Writer) (*director, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b, _, err := openBoard(p.dir)
	if err != nil {
		return nil, err
	}
	if p.kinds == 0 {
		p.kinds, _ = kindsOf(allKinds)
	}
	b.kinds.Store(p.kinds)
	return &director{plan: p, exe: exe, board: b, stderr: stderr, crew: make([]*seated, p.processes), told: map[string]bool{}}, nil
}

func (d *director) run(ctx context.Context) {
	d.began = time.Now()
	ctx, stop := context.WithTimeout(ctx, d.plan.duration)
	defer stop()
	for i := range d.crew {
		d.seat(i)
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { d.every(ctx, time.Second, d.look) })
	helpers.Go(func() { d.every(ctx, 1500*time.Millisecond, d.remove) })
	r := rand.New(rand.NewPCG(d.plan.seed, 0))
	for ctx.Err() == nil {
		if d.plan.kills > 0 && d.count().Kills >= d.plan.kills || d.plan.first && !d.clean() {
			stop()
			break
		}
		d.strike(r)
		wait := time.Second / time.Duration(d.plan.rate)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(r.Int64N(int64(2 * wait)))):
		}
	}
	helpers.Wait()
	d.dismiss()
	d.inspect()
}

func (d *director) every(ctx context.Context, pause time.Duration, f func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			f()
		}
	}
}

func (d *director) count() counts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts
}

// seat starts a worker in a seat whose last one was reaped, and another when
// it has ended.
func (d *director) seat(i int) {
	s := d.employ(i)
	d.lives.Go(func() {
		if <-s.gone; s.cmd.Process != nil {
			d.seat(i)
		}
	})
}

// employ starts a worker. s.gone is closed when it has ended, or at once if
// all are leaving.
func (d *director) employ(i int, env ...string) *seated {
	s := &seated{seat: i, gone: make(chan struct{})}
	s.cmd = exec.Command(d.exe, workerRole, d.plan.dir, strconv.Itoa(i))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is the director's
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stderr = &s.errors
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = d.start(s, i)
	}
	if err != nil {
		d.found("violation: cannot start a process: %v", err)
	}
	if s.cmd.Process == nil {
		close(s.gone)
		return s
	}
	d.lives.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if lines.Text() == "on" {
				d.mu.Lock()
				s.on = true
				d.mu.Unlock()
				continue
			}
			d.found("%s", lines.Text())
		}
		d.ended(s, i, s.cmd.Wait())
		close(s.gone)
	})
	return s
}

// start does nothing when all are leaving.
func (d *director) start(s *seated, i int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leaving {
		return nil
	}
	mine := &d.board.seats[i]
	mine.order.Store(orderGoOn)
	for g := range mine.since {
		mine.since[g].Store(0)
	}
	d.crew[i] = s
	d.counts.Started++
	return s.cmd.Start()
}

// ended looks whether a process ended as it should have.
func (d *director) ended(s *seated, i int, err error) {
	d.mu.Lock()
	killed := s.killed
	s.on = false
	d.mu.Unlock()
	suicide := who(d.board.seats[i].suicide.Load()).pid() == s.cmd.Process.Pid
	told := slices.ContainsFunc(s.cmd.Env, func(v string) bool { return strings.HasPrefix(v, "LOCKD_CRASH=") })
	status := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case killed && status.Signal() == syscall.SIGKILL:
	case suicide && status.Signal() == syscall.SIGKILL:
		d.mu.Lock()
		d.counts.Kills++
		d.mu.Unlock()
	case told && status.Signal() == syscall.SIGKILL:
		s.byCrash = true
	case err == nil && (s.ordered != orderGoOn || killed):
	default:
		text := s.errors.String()
		d.found("violation: pid %d ended: %v: %s", s.cmd.Process.Pid, err, text[:min(len(text), 6000)])
	}
}

// found counts what a worker says, or the director itself finds.
func (d *director) found(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	d.mu.Lock()
	defer d.mu.Unlock()
	if strings.HasPrefix(text, "stranded: ") {
		d.counts.Stranded++
	} else {
		d.counts.Violations++
	}
	if len(d.findings) < 50 {
		d.findings = append(d.findings, text)
		fmt.Fprintf(d.stderr, "%7.1fs  %s\n", time.Since(d.began).Seconds(), strings.ReplaceAll(text, " ¶ ", "\n          "))
	}
}

// strike does something to somebody.
func (d *director) strike(r *rand.Rand) {
	i := r.IntN(len(d.crew))
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.crew[i]
	if s == nil || !s.on {
		return
	}
	s.on = false
	switch n := r.IntN(100); {
	case n < 74:
		d.kill(s, i)
	case n < 90:
		d.counts.Stops++
		d.stop(s, i, time.Duration(r.IntN(200))*time.Millisecond, r.IntN(3) == 0)
	case n < 94:
		d.counts.Execs++
		d.order(s, i, orderExec)
	case n < 97:
		d.counts.Exits++
		d.order(s, i, orderExit)
	default:
		d.counts.Leaves++
		d.order(s, i, orderLeave)
	}
}

// kill is called with the mutex held.
func (d *director) kill(s *seated, i int) {
	mine := &d.board.seats[i]
	victim := whoIs(s.cmd.Process.Pid, i)
	if who(mine.suicide.Load()) == victim {
		return
	}
	mine.killedAt.Store(futex.Now())
	mine.killed.Store(uint64(victim))
	s.killed = true
	if s.cmd.Process.Signal(syscall.SIGKILL) == nil {
		d.counts.Kills++
	}
}

// stop stops a process for a while; then it goes on, or dies.
func (d *director) stop(s *seated, i int, pause time.Duration, die bool) {
	mine := &d.board.seats[i]
	mine.stops.Add(1)
	s.cmd.Process.Signal(syscall.SIGSTOP)
	s.stopped = true
	d.lives.Go(func() {
		time.Sleep(pause)
		d.mu.Lock()
		defer d.mu.Unlock()
		if die {
			d.kill(s, i)
			return
		}
		s.cmd.Process.Signal(syscall.SIGCONT)
		mine.stops.Add(1)
		s.stopped, s.on = false, true
	})
}

func (d *director) order(s *seated, i int, order uint32) {
	s.ordered = order
	d.board.seats[i].order.Store(order)
}

// remove takes the fickle arena's file away under those who use it, and ledgers
// that nobody opens any more.
func (d *director) remove() {
	if os.Remove(filepath.Join(d.plan.dir, fickle)) == nil {
		d.mu.Lock()
		d.counts.Removals++
		d.mu.Unlock()
	}
	ledgers, _ := filepath.Glob(filepath.Join(d.plan.dir, fickle+".*.ledger"))
	for _, path := range ledgers {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > 2*patience {
			os.Remove(path)
		}
	}
}

// look checks the files of the arenas, and whether everybody gets on.
func (d *director) look() {
	if d.show != nil {
		d.show()
	}
	for _, a := range arenas {
		problems, err := arena.Check(filepath.Join(d.plan.dir, a.name))
		if err != nil && a.name != fickle && !os.IsNotExist(err) && d.count().Started > d.plan.processes {
			d.found("violation: check of %s: %v", a.name, err)
		}
		for _, p := range problems {
			if p.Severity == arena.Damage {
				d.found("violation: check of %s: %v", a.name, p)
			}
		}
	}
	d.lookAtTurns()
}

func (d *director) lookAtTurns() {
	now := futex.Now()
	for i := range d.crew {
		d.mu.Lock()
		s := d.crew[i]
		alive := s != nil && s.on
		d.mu.Unlock()
		for g := range d.board.seats[i].since {
			since := d.board.seats[i].since[g].Load()
			key := fmt.Sprint(i, g, since)
			if alive && since != 0 && now-since > int64(patience+20*time.Second) && !d.told[key] {
				d.told[key] = true
				d.found("stranded: goroutine %d of pid %d (seat %d) has been in one turn for %v", g, s.cmd.Process.Pid, i, time.Duration(now-since))
			}
		}
	}
}

// dismiss lets everybody go in order, and kills who does not.
func (d *director) dismiss() {
	d.mu.Lock()
	d.leaving = true
	for i, s := range d.crew {
		if s != nil && s.ordered == orderGoOn {
			d.order(s, i, orderLeave)
		}
	}
	d.mu.Unlock()
	gone := make(chan struct{})
	go func() { d.lives.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(patience + 20*time.Second):
		d.found("stranded: processes did not leave")
		d.mu.Lock()
		for i, s := range d.crew {
			if s != nil {
				s.cmd.Process.Signal(syscall.SIGQUIT) // shows what they wait for
				time.Sleep(100 * time.Millisecond)
				d.kill(s, i)
			}
		}
		d.mu.Unlock()
		<-gone
	}
}
