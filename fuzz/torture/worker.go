package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"lockd/arena"
	"lockd/futex"
)

// A worker is this program again, with a role, a folder and a seat. What it
// says on its standard output is about what went wrong, a line each.
const (
	workerRole   = "torture-worker"
	executedRole = "torture-executed"
)

// playRole is the whole life of a process that the director has started.
func playRole(args []string) {
	switch {
	case args[0] == executedRole:
		time.Sleep(20 * time.Millisecond) // lives on a little, as somebody else
		os.Exit(0)
	case args[0] == workerRole && len(args) == 3:
		seat, err := strconv.Atoi(args[2])
		if err == nil {
			err = work(args[1], seat)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

type worker struct {
	board    *board
	seat     int
	me       who
	openings []*opening
	way      string
	quit     atomic.Bool
}

// The ways of a worker, in LOCKD_TORTURE: it does not kill itself, and it takes
// its time inside.
const (
	calm = "calm"
	slow = "slow"
)

// arenas are what a run has. The fickle one is removed again and again.
var arenas = []struct {
	name     string
	maxLocks int
}{{"growing", 4 << 10}, {"small", 1}, {fickle, 1}}

const fickle = "fickle"

// opening is a worker's attachment to one of the arenas. Turns hold mu for
// reading, who closes or opens it for writing.
type opening struct {
	name, dir, path string
	maxLocks        int
	mu              sync.RWMutex
	a               *arena.Arena
	ledger          *ledger
	stale           atomic.Bool // the file has lost its path
}

func work(dir string, seat int) error {
	b, _, err := openBoard(dir)
	if err != nil {
		return err
	}
	w := &worker{board: b, seat: seat, me: whoIs(os.Getpid(), seat), way: os.Getenv("LOCKD_TORTURE")}
	for _, a := range arenas {
		w.openings = append(w.openings, &opening{name: a.name, dir: dir, path: filepath.Join(dir, a.name), maxLocks: a.maxLocks})
	}
	go w.obey()
	fmt.Println("on")
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() { w.takeTurns(g) })
	}
	all.Wait()
	for _, o := range w.openings {
		w.close(o, nil)
	}
	return nil
}

// obey does what the director orders, and ends with it.
func (w *worker) obey() {
	for parent := os.Getppid(); ; time.Sleep(10 * time.Millisecond) {
		if os.Getppid() != parent {
			os.Exit(3)
		}
		s := &w.board.seats[w.seat]
		switch order := s.order.Load(); order {
		case orderLeave:
			w.quit.Store(true)
		case orderExit, orderExec:
			w.willDie()
			if order == orderExit {
				os.Exit(0)
			}
			s.execs.Store(uint64(w.me))
			exe, _ := os.Executable()
			syscall.Exec(exe, []string{exe, executedRole}, os.Environ())
			w.violated("exec failed")
		}
	}
}

func (w *worker) willDie() {
	s := &w.board.seats[w.seat]
	s.killedAt.Store(futex.Now())
	s.killed.Store(uint64(w.me))
}

// killItself is a kill that surely finds the process inside of something.
func (w *worker) killItself() {
	w.willDie()
	w.board.seats[w.seat].suicide.Store(uint64(w.me))
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (w *worker) takeTurns(g int) {
	r := rand.New(rand.NewPCG(uint64(w.me), uint64(g)))
	s := &w.board.seats[w.seat]
	for !w.quit.Load() {
		o := w.openings[r.IntN(len(w.openings))]
		s.since[g].Store(futex.Now())
		if o.stale.Load() || r.IntN(400) == 0 {
			w.close(o, r)
		}
		o.mu.RLock()
		if o.a == nil {
			o.mu.RUnlock()
			w.open(o)
			continue
		}
		t := &turn{worker: w, r: r, opening: o, a: o.a}
		k := pick(r, w.board.kinds.Load())
		t.part = o.ledger.parts[k]
		if r.IntN(32) == 0 {
			t.inPassing(kinds[k].turn)
		} else {
			kinds[k].turn(t)
		}
		o.mu.RUnlock()
		s.operations[k].Add(1)
		s.since[g].Store(0)
	}
}

// pick picks one of some kinds, by their weights.
func pick(r *rand.Rand, some uint64) int {
	sum := 0
	for i, k := range kinds {
		if some&(1<<i) != 0 {
			sum += k.weight
		}
	}
	n := r.IntN(sum)
	for i, k := range kinds {
		if some&(1<<i) == 0 {
			continue
		}
		if n -= k.weight; n < 0 {
			return i
		}
	}
	panic("weights")
}

// inPassing takes a turn through one more opening, which another goroutine
// closes meanwhile. What is held stays held, for the first one is open.
func (t *turn) inPassing(f func(*turn)) {
	a, err := arena.Open(t.opening.path, t.opening.options())
	if err != nil {
		t.mayNotOpen(t.opening, err)
		return
	}
	t.a, t.passing = a, true
	closed := make(chan error)
	go func() {
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
		closed <- a.Close()
	}()
	f(t)
	if err := <-closed; err != nil && !errors.Is(err, arena.ErrReplaced) {
		t.violated("close of a second opening of %s: %v", t.opening.name, err)
	}
}

func (o *opening) options() *arena.Options {
	return &arena.Options{MaxLocks: o.maxLocks, Logger: slog.New(slog.DiscardHandler), Label: "torture"}
}

func (w *worker) open(o *opening) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.a != nil {
		return
	}
	a, err := arena.Open(o.path, o.options())
	if err != nil {
		w.mayNotOpen(o, err)
		return
	}
	inode, err := inodeOf(o.path)
	if err == nil {
		o.ledger, err = openLedger(o.dir, o.name, inode)
	}
	if err != nil {
		w.violated("ledger of %s: %v", o.name, err)
		a.Close()
		return
	}
	for i, k := range kinds {
		if k.sit != nil {
			k.sit(o.ledger.parts[i], w.me)
		}
	}
	o.a = a
	o.stale.Store(false)
}

// mayNotOpen looks at why an arena could not be opened.
func (w *worker) mayNotOpen(o *opening, err error) {
	switch {
	case errors.Is(err, arena.ErrReplaced):
		o.stale.Store(true)
	case errors.Is(err, arena.ErrBusy) && o.name == fickle: // it came and went too often
	default:
		w.violated("open %s: %v", o.name, err)
	}
}

// close detaches, with r at times while it holds something.
func (w *worker) close(o *opening, r *rand.Rand) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.a == nil {
		return
	}
	var held bool
	if r != nil && r.IntN(4) == 0 {
		t := &turn{worker: w, r: r, opening: o, a: o.a, part: o.ledger.parts[0]}
		held = t.holdMutex()
	}
	err := o.a.Close()
	if errors.Is(err, arena.ErrWasHeld) != held || err != nil && !held && !errors.Is(err, arena.ErrReplaced) {
		w.violated("close of %s, holding a lock: %v: %v", o.name, held, err)
	}
	o.ledger.unmap()
	o.a, o.ledger = nil, nil
}

func (w *worker) violated(format string, args ...any) { w.tell("violation", format, args...) }
func (w *worker) stranded(format string, args ...any) { w.tell("stranded", format, args...) }

// tell says it in one write, which a kill does not cut.
func (w *worker) tell(what, format string, args ...any) {
	text := strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf(format, args...)), "\n", " ¶ ")
	os.Stdout.WriteString(what + ": " + text + "\n")
}
