package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lockd/internal/proc"
)

const hoarded = 5000

func init() {
	roles["hoarder"] = hoard
	roles["claimant"] = claimAll
}

func hoardedName(i int) string { return "hoarded " + strconv.Itoa(i) }

// hoard takes 5,000 locks and waits for its end: arena.
func hoard(args []string) {
	o := quietly("hoarder")
	o.MaxLocks = 2 * hoarded
	a := reopen(args[0], o)
	for i := range hoarded {
		a.Mutex(hoardedName(i)).Lock()
	}
	proc.Say("ready")
	proc.Hear()
}

// claimAll takes every one of the 5,000 locks once, in an order of its own,
// some of them from before their owner's death: arena, pid of the owner, how
// many to wait for at once.
func claimAll(args []string) {
	a := reopen(args[0], quietly("claimant"))
	pid, _ := strconv.Atoi(args[1])
	atOnce, _ := strconv.Atoi(args[2])
	orders := orders()
	told, err := claim(a, pid, atOnce, func() {
		proc.Say("ready")
		<-orders
	})
	proc.Say("claimed %d %q", told, fmt.Sprint(err))
	<-orders
	a.Close()
}

// claim takes all locks of the hoarder and counts those that it was told of.
// It calls waiting when it waits for as many as it should.
func claim(a *Arena, pid, atOnce int, waiting func()) (told int64, err error) {
	order := make(chan int, hoarded)
	for _, i := range rand.Perm(hoarded) {
		order <- i
	}
	close(order)
	var first atomic.Pointer[error]
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for i := range order {
				if err := claimOne(a.Mutex(hoardedName(i)), pid, &told); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	for waitersIn(a.core) < atOnce {
		time.Sleep(between)
	}
	waiting()
	all.Wait()
	if e := first.Load(); e != nil {
		err = *e
	}
	return told, err
}

func claimOne(m *Mutex, pid int, told *int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	return m.Do(ctx, func(context.Context) error {
		d, abandoned := m.Abandoned()
		if !abandoned {
			return nil
		}
		atomic.AddInt64(told, 1)
		if d.PID != pid || d.Label != "hoarder" || d.Cause != Died || d.Count != 1 || time.Since(d.When).Abs() > proc.Soon {
			return fmt.Errorf("heir of %q was told %+v", m.Name(), d)
		}
		return m.MarkConsistent()
	})
}

// One process dies holding 5,000 locks. Two others take them all: of each, one
// of the two is told, and only once.
func TestFiveThousandHeirs(t *testing.T) {
	path := testPath(t)
	hoarder := proc.Start(t, "hoarder", []string{path})
	hoarder.Expect("ready")
	pid := hoarder.PID()
	other := proc.Start(t, "claimant", []string{path, strconv.Itoa(pid), "100"})
	other.Expect("ready")

	a, err := Open(path, quietly("parent"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var died time.Time
	here, err := claim(a, pid, 100, func() {
		other.Send("go")
		died = time.Now()
		hoarder.Kill()
	})
	if err != nil {
		t.Error(err)
	}
	var there int64
	var said string
	if line := other.Next(); !scan(line, "claimed %d %q", &there, &said) || said != "<nil>" {
		t.Errorf("the other claimant: %s", line)
	}
	t.Logf("told of %d here and of %d there, %v after the death", here, there, time.Since(died))
	if here+there != hoarded {
		t.Errorf("told of %d + %d deaths, not %d", here, there, hoarded)
	}
	for i := range hoarded {
		if m := a.Mutex(hoardedName(i)); !m.TryLock() {
			t.Fatalf("%q is not free: word %#x", m.Name(), m.binding().slot.word.Load())
		} else {
			m.Unlock()
		}
	}
}
