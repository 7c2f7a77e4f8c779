package arena

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// The truth of TestDisorder: memory beside the arena in which each worker
// notes what it is about to ask for, what it holds, and how often it was a
// victim.
const (
	disorderWorkers   = 16
	disorderResources = 7
)

type truth struct {
	wants   atomic.Int32 // resource + 1
	victims atomic.Int32
	holds   [disorderResources]atomic.Int32 // Mode, or what is left of a number of tickets
}

func openTruth(path string) *[disorderWorkers]truth {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	size := int(unsafe.Sizeof([disorderWorkers]truth{}))
	if err := f.Truncate(int64(size)); err != nil {
		panic(err)
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*[disorderWorkers]truth)(unsafe.Pointer(&raw[0]))
}

// resource k of the arena, taken by a session in one of its modes.
func takeResource(ctx context.Context, a *Arena, s *Session, k int, r *rand.Rand) (Mode, error) {
	switch name := "res" + strconv.Itoa(k); k {
	case 0, 1, 2:
		return Exclusive, s.Lock(ctx, a.Mutex(name))
	case 3, 4:
		switch m := a.RWMutex(name); r.IntN(4) {
		case 0, 1:
			return Shared, s.RLock(ctx, m)
		case 2:
			return Upgradable, s.ULock(ctx, m)
		default:
			// In two steps, so that a victim of the second keeps the first until
			// the verdict was held against the truth.
			if err := s.ULock(ctx, m); err != nil {
				return 0, err
			}
			return Exclusive, s.Upgrade(ctx, m)
		}
	case 5:
		_, err := s.Acquire(ctx, a.Semaphore(name, 2), 1)
		return OfTickets, err
	}
	mode := Mode(1 + r.IntN(2))
	return mode, s.LockRange(ctx, a.Ranges("res6"), mode, int64(r.IntN(3)), 2)
}

func init() {
	// disorder: arena, truth, first worker, workers, orders of each. Each worker
	// takes a few resources in random order, again and again.
	roles["disorder"] = func(args []string) {
		a := reopen(args[0], quietly("disorder"))
		all := openTruth(args[1])
		first, _ := strconv.Atoi(args[2])
		workers, _ := strconv.Atoi(args[3])
		orders, _ := strconv.Atoi(args[4])
		done := make(chan int, workers)
		for w := first; w < first+workers; w++ {
			go func() { done <- disorder(a, all, w, orders) }()
		}
		victims := 0
		for range workers {
			victims += <-done
		}
		proc.Say("%d victims", victims)
	}
}

// longestDeadlock is how long a deadlock may last on a loaded machine.
const longestDeadlock = 20 * time.Second

func disorder(a *Arena, all *[disorderWorkers]truth, w, orders int) (victims int) {
	r := rand.New(rand.NewPCG(uint64(w), 7))
	me := &all[w]
	for range orders {
		s := a.OpenSession(SessionOptions{Label: "w" + strconv.Itoa(w), DeadlockAfter: 2 * time.Millisecond})
		order := r.Perm(disorderResources)[:2+r.IntN(3)]
		for _, k := range order {
			ctx, cancel := context.WithTimeout(context.Background(), longestDeadlock)
			before := victimsOf(all)
			me.wants.Store(int32(k + 1))
			mode, err := takeResource(ctx, a, s, k, r)
			if errors.Is(err, ErrDeadlock) {
				checkVerdict(all, err, before)
				me.victims.Add(1)
				victims++
			} else if err != nil {
				proc.Say("worker %d waited for resource %d: %v", w, k, err)
			} else {
				me.holds[k].Store(int32(mode))
			}
			me.wants.Store(0)
			cancel()
			if err != nil {
				break
			}
			for range r.IntN(2000) {
				all[w].wants.Load()
			}
		}
		for k := range me.holds {
			me.holds[k].Store(0)
		}
		if err := s.Close(); err != nil {
			proc.Say("%v", err)
		}
	}
	return victims
}

func victimsOf(all *[disorderWorkers]truth) (n [disorderWorkers]int32) {
	for w := range all {
		n[w] = all[w].victims.Load()
	}
	return n
}

// checkVerdict holds each edge of a verdict against the truth. If somebody
// was a victim of another circle meanwhile, they may have gone on.
func checkVerdict(all *[disorderWorkers]truth, err error, before [disorderWorkers]int32) {
	var e *DeadlockError
	errors.As(err, &e)
	first, last := e.Edges[0], e.Edges[len(e.Edges)-1]
	if last.HeldAs == 0 || last.Mode == Shared && first.Mode == Exclusive && last.Lock == first.Lock {
		return // it went on when the victim's request was gone, and with it the others
	}
	tickets := false // which another victim, outside of the circle, may have given back
	for _, edge := range e.Edges {
		tickets = tickets || edge.Kind == KindSemaphore
	}
	for i, edge := range e.Edges {
		from, to := workerOf(edge), workerOf(e.Edges[(i+1)%len(e.Edges)])
		k, _ := strconv.Atoi(strings.TrimPrefix(edge.Lock, "res"))
		wants, holds, queues := int(all[from].wants.Load()) == k+1, all[to].holds[k].Load() != 0, int(all[to].wants.Load()) == k+1
		if edge.HeldAs == Upgradable || edge.HeldAs == 0 || k == 6 {
			holds = holds || queues // a writer that still waits for readers, or who waits ahead
		}
		after := victimsOf(all)
		if (!wants || !holds) && !anotherVictim(e, before, after) && (!tickets || after == before) {
			proc.Say("worker %d wants resource %d: %v; worker %d has it: %v; but: %v", from, k, wants, to, holds, err)
		}
	}
}

// anotherVictim tells whether somebody of the circle was a victim of another
// one: then all of them may have gone on, one after the other.
func anotherVictim(e *DeadlockError, before, after [disorderWorkers]int32) bool {
	for _, edge := range e.Edges {
		if w := workerOf(edge); after[w] != before[w] {
			return true
		}
	}
	return false
}

func workerOf(e DeadlockEdge) int {
	w, _ := strconv.Atoi(strings.TrimPrefix(e.Label, "w"))
	return w
}

// Ten thousand random orders of locks over four processes: every deadlock is
// broken, or its waiters time out; and every verdict is true.
func TestDisorder(t *testing.T) {
	const processes = 4
	orders := 10000
	if testing.Short() {
		orders = 800
	}
	a := testArena(t, nil)
	beside := filepath.Join(t.TempDir(), "truth")
	var all []*proc.Proc
	for p := range processes {
		each := disorderWorkers / processes
		all = append(all, proc.Start(t, "disorder", []string{a.Path(), beside, strconv.Itoa(p * each), strconv.Itoa(each), strconv.Itoa(orders / disorderWorkers)}))
	}
	victims := 0
	for _, p := range all {
		for line := range p.Lines() {
			var n int
			if _, err := fmt.Sscanf(line, "%d victims", &n); err != nil {
				t.Error(line)
			}
			victims += n
		}
		p.Wait()
	}
	t.Logf("%d orders, %d victims", orders, victims)
	if victims < orders/1000 {
		t.Errorf("only %d deadlocks", victims)
	}
	if seen := a.core.sight(); len(seen.sessions) != 0 {
		t.Errorf("left: %+v", seen.sessions)
	}
}
