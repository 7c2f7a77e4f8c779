package arena

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
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
	session atomic.Uint32
	wants   atomic.Int32 // resource + 1
	victims atomic.Int32
	holds   [disorderResources]atomic.Int32 // Mode, or what is left of a number of tickets
	untrue  atomic.Bool                     // it has met what must not be: nobody goes on
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
		done := make(chan casualties, workers)
		for w := first; w < first+workers; w++ {
			go func() { done <- disorder(a, all, w, orders) }()
		}
		var sum casualties
		for range workers {
			sum = sum.and(<-done)
		}
		proc.Say("%d victims, told after %d ms at most", sum.victims, sum.longest.Milliseconds())
	}
}

// casualties are victims, and how long the one that had to wait longest for its
// verdict had waited.
type casualties struct {
	victims int
	longest time.Duration
}

func (c casualties) and(d casualties) casualties {
	return casualties{c.victims + d.victims, max(c.longest, d.longest)}
}

// longestDeadlock is how long a deadlock may last on a loaded machine.
const longestDeadlock = time.Minute

func disorder(a *Arena, all *[disorderWorkers]truth, w, orders int) (sum casualties) {
	r := rand.New(rand.NewPCG(uint64(w), 7))
	me := &all[w]
	for range orders {
		if isUntrue(all) {
			break
		}
		s := a.OpenSession(SessionOptions{Label: "w" + strconv.Itoa(w), DeadlockAfter: 2 * time.Millisecond})
		me.session.Store(s.in.number)
		order := r.Perm(disorderResources)[:2+r.IntN(3)]
		for _, k := range order {
			ctx, cancel := context.WithTimeout(context.Background(), longestDeadlock)
			before := victimsOf(all)
			me.wants.Store(int32(k + 1))
			began := time.Now()
			mode, err := takeResource(ctx, a, s, k, r)
			if errors.Is(err, ErrDeadlock) {
				sum = sum.and(casualties{1, time.Since(began)})
				if untruth := checkVerdict(a, all, err, before); untruth != "" {
					me.untrue.Store(true)
					proc.Say("%s; but: %v", untruth, err)
				}
				me.victims.Add(1)
			} else if err != nil {
				me.untrue.Store(true)
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
	return sum
}

func isUntrue(all *[disorderWorkers]truth) bool {
	for w := range all {
		if all[w].untrue.Load() {
			return true
		}
	}
	return false
}

func victimsOf(all *[disorderWorkers]truth) (n [disorderWorkers]int32) {
	for w := range all {
		n[w] = all[w].victims.Load()
	}
	return n
}

// checkVerdict holds each edge of a verdict against the truth. If somebody
// was a victim of another circle meanwhile, they may have gone on.
func checkVerdict(a *Arena, all *[disorderWorkers]truth, err error, before [disorderWorkers]int32) (untruth string) {
	var e *DeadlockError
	errors.As(err, &e)
	first, last := e.Edges[0], e.Edges[len(e.Edges)-1]
	if last.HeldAs == 0 || last.Mode == Shared && first.Mode == Exclusive && last.Lock == first.Lock {
		return "" // it went on when the victim's request was gone, and with it the others
	}
	said := contradictions(all, e)
	if said == "" {
		return ""
	}
	awaitNotes(a, all, e, before)
	after := victimsOf(all)
	tickets := false // which another victim, outside of the circle, may have given back
	for _, edge := range e.Edges {
		tickets = tickets || edge.Kind == KindSemaphore
	}
	if anotherVictim(e, before, after) || tickets && after != before {
		return ""
	}
	return said
}

// contradictions lists the edges that the notes know nothing of.
func contradictions(all *[disorderWorkers]truth, e *DeadlockError) string {
	var said []string
	for i, edge := range e.Edges {
		from, to := workerOf(edge), workerOf(e.Edges[(i+1)%len(e.Edges)])
		k := resourceOf(edge)
		wants, holds, queues := int(all[from].wants.Load()) == k+1, all[to].holds[k].Load() != 0, int(all[to].wants.Load()) == k+1
		if edge.HeldAs == Upgradable || edge.HeldAs == 0 || k == 6 {
			holds = holds || queues // a writer that still waits for readers, or who waits ahead
		}
		if !wants || !holds {
			said = append(said, fmt.Sprintf("worker %d wants resource %d: %v; worker %d has it: %v", from, k, wants, to, holds))
		}
	}
	return strings.Join(said, "; ")
}

// awaitNotes waits until everybody of a circle whose request has come to an
// end has noted how: those behind a victim go on before it can note that it
// was one.
func awaitNotes(a *Arena, all *[disorderWorkers]truth, e *DeadlockError, before [disorderWorkers]int32) {
	unnoted := func(edge DeadlockEdge) bool {
		w := workerOf(edge)
		note := &all[w]
		return note.session.Load() == edge.Session.Number && int(note.wants.Load()) == resourceOf(edge)+1 && note.victims.Load() == before[w]
	}
	for _, edge := range e.Edges[1:] {
		for until := time.Now().Add(longestDeadlock); unnoted(edge) && !a.core.sight().waits(edge.Session) && time.Now().Before(until); {
			runtime.Gosched()
		}
	}
}

// waits tells whether a session waits and was not told to give up.
func (s *sighting) waits(id SessionID) bool {
	for i := range s.sessions {
		if x := &s.sessions[i]; x.member == id.Member && x.number == id.Number {
			return x.wait != 0 && !x.wait.isVictim()
		}
	}
	return false
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

func resourceOf(e DeadlockEdge) int {
	k, _ := strconv.Atoi(strings.TrimPrefix(e.Lock, "res"))
	return k
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
	var sum casualties
	for _, p := range all {
		for line := range p.Lines() {
			var victims, ms int
			if _, err := fmt.Sscanf(line, "%d victims, told after %d ms", &victims, &ms); err != nil {
				t.Error(line)
			}
			sum = sum.and(casualties{victims, time.Duration(ms) * time.Millisecond})
		}
		p.Wait()
	}
	t.Logf("%d orders, %d victims, told after %v at most", orders, sum.victims, sum.longest)
	if sum.victims < orders/1000 {
		t.Errorf("only %d deadlocks", sum.victims)
	}
	if seen := a.core.sight(); len(seen.sessions) != 0 {
		t.Errorf("left: %+v", seen.sessions)
	}
}
