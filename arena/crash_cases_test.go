package arena

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lockd/internal/proc"
)

// crashNames are a short and a long name.
func crashNames(i int) [2]string {
	return [2]string{"short" + strconv.Itoa(i), strings.Repeat("long", 30) + strconv.Itoa(i)}
}

// openCrash opens the arena in the process that is going to crash.
func openCrash(path string, slots int) *Arena {
	return reopen(path, &Options{Label: "crasher", MaxLocks: slots - 1, Logger: quiet})
}

func attachOnce(path string) { openCrash(path, segmentSlots).Close() }

// insertNames does n pairs of a short and a long name.
func insertNames(n int) func(string) {
	return func(path string) {
		a := openCrash(path, segmentSlots)
		for i := range n {
			for _, name := range crashNames(i) {
				m := a.Mutex(name)
				if err := m.LockContext(context.Background()); err != nil {
					proc.Say("%v", err)
					return
				}
				m.Unlock()
			}
		}
	}
}

func settleAll(path string) {
	openCrash(path, segmentSlots)
	for end := time.Now().Add(proc.Soon / 2); time.Now().Before(end); {
		if problems, err := Check(path); err == nil && len(problems) == 0 {
			return
		}
	}
}

// contendForHot gives up now and then, lets go now and then without anybody
// waiting, and else takes what it can get.
func contendForHot(path string) {
	m := openCrash(path, segmentSlots).Mutex("hot")
	for end := time.Now().Add(proc.Soon / 2); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Microsecond)
		if m.LockContext(ctx) == nil {
			m.Unlock()
		}
		cancel()
		m.Lock()
		m.Unlock()
	}
}

func makeArena(t *testing.T, b *crashBench) {
	t.Helper()
	a, err := Open(b.path, &Options{MaxLocks: b.slots - 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	b.passOn(context.Background(), t, a.Mutex("hot"))
	for i := range 12 * stripeCount {
		b.passOn(context.Background(), t, a.Mutex("seed"+strconv.Itoa(i)))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// fillTable leaves no slot of the first segment without a name.
func fillTable(t *testing.T, b *crashBench) {
	t.Helper()
	a, err := Open(b.path, &Options{MaxLocks: b.slots - 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for i := range segmentSlots/2 - 1 {
		b.passOn(context.Background(), t, a.Mutex(strings.Repeat("filler", 20)+strconv.Itoa(i)))
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// leaveDead leaves two dead members that nobody has settled: one holds locks,
// the other has slots claimed and a latch.
func leaveDead(t *testing.T, b *crashBench) {
	t.Helper()
	makeArena(t, b)
	owner := startActor(t, b.path, "owner", atMost(b.slots-1))
	owner.must("held", "hold 0 5 dead")
	owner.Signal(syscall.SIGSTOP) // it would settle the other, if it were quick
	b.crash(t, "insert", "insert.word:4")
	owner.Kill()
}

func leaveLatch(t *testing.T, b *crashBench) {
	t.Helper()
	makeArena(t, b)
	b.crash(t, "insert", "insert.live:3")
}

// leaveEviction leaves the slot of a long name half-evicted.
func leaveEviction(t *testing.T, b *crashBench) {
	t.Helper()
	fillTable(t, b)
	b.crash(t, "evict", "evict.word:2")
}

func startRivals(t *testing.T, b *crashBench) {
	t.Helper()
	makeArena(t, b)
	for range 2 {
		p := proc.Start(t, "hot rival", []string{b.path})
		p.Expect("ready")
		b.rivals = append(b.rivals, p)
	}
}

func init() {
	roles["hot rival"] = func(args []string) {
		m := reopen(args[0], &Options{MaxLocks: 1, Logger: quiet}).Mutex("hot")
		stop := make(chan struct{})
		go func() { proc.Hear(); close(stop) }()
		proc.Say("ready")
		for {
			select {
			case <-stop:
				proc.Say("stopped")
				return
			default:
				m.Lock()
				m.MarkConsistent()
				m.Unlock()
			}
		}
	}
}
