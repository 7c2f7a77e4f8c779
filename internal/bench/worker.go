package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lockd/arena"
	"lockd/futex"
)

// A worker is this program again: one process that does what the bench asks,
// as the peers in C do. Its arguments are where its arena and its page are,
// and the name of what it uses.
type worker struct {
	arenaPath, pagePath string
	lock                string
	page                *page
	opened              *arena.Arena
	batch               func(n int) // see pairs
}

const workerRole = "worker"

// act plays the role that the environment asks for, and says whether there is one.
func act() bool {
	switch role := os.Getenv(roleVariable); role {
	case "":
		return false
	case workerRole:
		w := &worker{arenaPath: os.Args[1], pagePath: os.Args[2], lock: os.Args[3]}
		if err := w.serve(); err != nil {
			w.say(reply{Error: err.Error()})
			os.Exit(1)
		}
	case busyRole:
		for {
			work(1 << 20)
		}
	case victimRole:
		if err := playVictim(os.Args[1:]); err != nil {
			json.NewEncoder(os.Stdout).Encode(reply{Error: err.Error()})
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "no role %q\n", role)
		os.Exit(2)
	}
	return true
}

// requests are what a worker can be asked; their arguments are numbers. Each
// group of cases adds its own.
var requests = map[string]func(w *worker, args []int64) (reply, error){
	"hello": func(w *worker, _ []int64) (reply, error) {
		_, err := w.mutex()
		return reply{Say: "ready"}, err
	},
	"pin": func(_ *worker, args []int64) (reply, error) {
		return reply{Say: "pinned"}, pin(int(args[0]), args[1] != 0)
	},
}

func (w *worker) say(r reply) { json.NewEncoder(os.Stdout).Encode(r) }

func (w *worker) serve() error {
	p, _, err := mapPage(w.pagePath)
	if err != nil {
		return err
	}
	w.page = p
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		f := requests[words[0]]
		if f == nil {
			return fmt.Errorf("no request %q", words[0])
		}
		args := make([]int64, 4)
		for i, word := range words[1:] {
			if args[i], err = strconv.ParseInt(word, 10, 64); err != nil {
				return err
			}
		}
		r, err := f(w, args)
		if err != nil {
			return err
		}
		w.say(r)
	}
	return nil
}

// arena opens the arena when it is first asked for.
func (w *worker) arena() (*arena.Arena, error) {
	if w.opened != nil {
		return w.opened, nil
	}
	var err error
	w.opened, err = arena.Open(w.arenaPath, nil)
	return w.opened, err
}

// mutex is the lock that the processes of a contender share.
func (w *worker) mutex() (*arena.Mutex, error) {
	a, err := w.arena()
	if err != nil {
		return nil, err
	}
	m := a.Mutex("bench")
	m.Lock()
	m.Unlock()
	return m, nil
}

// batchTime is how long a batch takes about: long beside a look at the clock,
// short beside a time slice, so that the median batch was not interrupted.
const batchTime = 50 * time.Microsecond

// medianBatch measures batches for so long.
func medianBatch(duration time.Duration, batch func(n int)) reply {
	n := 1
	for {
		began := time.Now()
		batch(n)
		if time.Since(began) >= batchTime {
			break
		}
		n *= 2
	}
	var before, after runtime.MemStats
	took := make([]float64, 0, 4096)
	runtime.ReadMemStats(&before)
	for end := time.Now().Add(duration); ; {
		began := time.Now()
		batch(n)
		took = append(took, float64(time.Since(began))/float64(n))
		if len(took) == cap(took) || time.Now().After(end) {
			break
		}
	}
	runtime.ReadMemStats(&after)
	ops := n * len(took)
	slices.Sort(took)
	allocs := float64(after.Mallocs-before.Mallocs) / float64(ops)
	return reply{NS: took[len(took)/2], Ops: uint64(ops), Allocs: &allocs}
}

// pin keeps all threads of this process on one processor; idle lets anybody
// else who wants it go first.
func pin(cpu int, idle bool) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(cpu)
	for _, t := range tasks {
		tid, _ := strconv.Atoi(t.Name())
		if err := unix.SchedSetaffinity(tid, &set); err != nil {
			return fmt.Errorf("pin: %w", err)
		}
		if !idle {
			continue
		}
		const schedIdle = 5
		if err := unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedIdle}, 0); err != nil {
			return fmt.Errorf("run when idle: %w", err)
		}
	}
	return nil
}

// now is the clock that the peers use, too.
func now() int64 { return futex.Now() }
