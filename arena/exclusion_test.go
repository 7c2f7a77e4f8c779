package arena

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"lockd/futex"
	"lockd/internal/proc"
)

func init() { roles["contender"] = contend }

// How long contenders stay inside and outside; each has its own lengths.
var (
	insides  = []time.Duration{0, 100 * time.Nanosecond, 500 * time.Nanosecond, 3 * time.Microsecond, 10 * time.Microsecond}
	outsides = []time.Duration{0, 300 * time.Nanosecond, 2 * time.Microsecond}
)

// contend takes part in TestExclusion: arena, number, goroutines, rounds of
// each, and "locked" or "bare".
func contend(args []string) {
	number, _ := strconv.Atoi(args[1])
	goroutines, _ := strconv.Atoi(args[2])
	rounds, _ := strconv.Atoi(args[3])
	bare := args[4] == "bare"

	a := reopen(args[0], quietly("contender"))
	l, err := openLedger(args[0])
	if err != nil {
		proc.Say("ledger: %v", err)
		return
	}
	inside := futex.PausesPer(insides[number%len(insides)])
	outside := futex.PausesPer(outsides[number%len(outsides)])
	orders := orders()
	proc.Say("ready")
	<-orders

	var all sync.WaitGroup
	var mu sync.Mutex
	overlaps := 0
	for g := range goroutines {
		me := uint64(os.Getpid())<<8 | uint64(g)
		all.Go(func() {
			met := 0
			m := a.Mutex("contended")
			section := func() {
				if !l.section(me, number, inside) {
					met++
				}
			}
			for round := range rounds {
				if bare {
					section()
				} else {
					enter(m, round+g, section)
				}
				futex.Pause(outside)
			}
			mu.Lock()
			overlaps += met
			mu.Unlock()
		})
	}
	all.Wait()
	proc.Say("met %d", overlaps)
	<-orders
	if err := a.Close(); err != nil {
		proc.Say("close: %v", err)
		return
	}
	proc.Say("closed")
}

// enter runs the section inside the lock once, by one of the ways in.
func enter(m *Mutex, way int, section func()) {
	switch way % 8 {
	case 0:
		for {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Microsecond)
			err := m.LockContext(ctx)
			cancel()
			if err == nil {
				break
			}
		}
	case 1:
		for tries := 0; !m.TryLock(); tries++ {
			if tries == 100 {
				m.Lock()
				break
			}
		}
	case 2:
		err := m.Do(context.Background(), func(context.Context) error {
			section()
			return nil
		})
		if err != nil {
			panic(err)
		}
		return
	default:
		m.Lock()
	}
	section()
	m.Unlock()
}

// compete runs contenders and returns how often one was not alone, and how
// many sections were lost from the count of all.
func compete(t *testing.T, processes, goroutines, rounds int, how string, options ...proc.Option) (overlaps int, lost int64) {
	t.Helper()
	path := testPath(t)
	a, err := Open(path, quietly("spectator"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	l := testLedger(t, path)

	contenders := make([]*proc.Proc, processes)
	for i := range contenders {
		contenders[i] = proc.Start(t, "contender",
			[]string{path, strconv.Itoa(i), strconv.Itoa(goroutines), strconv.Itoa(rounds), how}, options...)
	}
	for _, p := range contenders {
		p.Expect("ready")
	}
	began := time.Now()
	for _, p := range contenders {
		p.Send("go")
	}
	for _, p := range contenders {
		var met int
		if line := p.Next(); !scan(line, "met %d", &met) {
			t.Fatalf("contender: %s", line)
		}
		overlaps += met
	}
	took := time.Since(began)
	for _, p := range contenders {
		p.Send("close")
		p.Expect("closed")
	}
	each := int64(goroutines * rounds)
	for i := range contenders {
		lost += max(each-int64(l.load(tallyOf(i))), int64(l.load(tallyOf(i)))-each)
	}
	if total := int64(l.load(ledgerTotal)); lost == 0 {
		lost = int64(processes)*each - total
	}
	if occupant := l.load(ledgerOccupant); occupant != 0 && how != "bare" {
		t.Errorf("the lock is free and %#x is still inside", occupant)
	}
	t.Logf("%d processes with %d goroutines: %d sections in %v", processes, goroutines, int64(processes)*each, took)
	return overlaps, lost
}

func TestExclusion(t *testing.T) {
	for _, c := range []struct{ processes, goroutines, rounds int }{
		{2, 1, 300_000}, {2, 4, 50_000}, {8, 2, 10_000}, {50, 1, 800},
	} {
		t.Run(fmt.Sprintf("%d×%d", c.processes, c.goroutines), func(t *testing.T) {
			mustExclude(t, c.processes, c.goroutines, c.rounds)
		})
	}
	t.Run("without futex_waitv", func(t *testing.T) {
		mustExclude(t, 8, 2, 1_000, withoutWaitv(t))
	})
}

func mustExclude(t *testing.T, processes, goroutines, rounds int, options ...proc.Option) {
	t.Helper()
	if testing.Short() || slowOnly {
		rounds /= 5
	}
	overlaps, lost := compete(t, processes, goroutines, rounds, "locked", options...)
	if overlaps != 0 || lost != 0 {
		t.Errorf("%d sections were not alone, %d are missing from the counts", overlaps, lost)
	}
}

// Without a lock the same contenders are caught, or the test above shows nothing.
func TestExclusionIsMeasured(t *testing.T) {
	var overlaps int
	var lost int64
	// On a busy machine one may be done before the next begins.
	for rounds, began := 5_000, time.Now(); time.Since(began) < proc.Soon; rounds = min(2*rounds, 1_000_000) {
		overlaps, lost = compete(t, 4, 1, rounds, "bare")
		if overlaps != 0 && lost != 0 {
			return
		}
	}
	t.Errorf("%d overlaps, %d lost counts", overlaps, lost)
}
