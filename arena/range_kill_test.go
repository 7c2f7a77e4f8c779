package arena

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

func init() {
	roles["range-waiter"] = func(args []string) {
		name := "queue"
		if len(args) > 1 {
			name = args[1]
		}
		r := reopen(args[0], &Options{Logger: quiet, Label: "waiter"}).Ranges(name)
		r.TryLock(Shared, 1<<40, 1)
		r.ReleaseAll()
		proc.Say("ready")
		for {
			var mode Mode
			var start, length int64
			switch verb := proc.Hear(); {
			case verb == "release":
				proc.Say("%s", okay(r.ReleaseAll()))
			case verb == "exec":
				exe, _ := os.Executable()
				os.Setenv(roleVariable, "executed")
				proc.Say("%s", okay(unix.Exec(exe, []string{exe}, os.Environ())))
			case verb == "latch":
				r.handle.acquire(request{ctx: context.Background(), arena: r.arena})
				r.arena.core.rangeAt(1) // inside of the latch
				proc.Say("latched")
			default:
				fmt.Sscanf(verb, "%d %d %d", &mode, &start, &length)
				proc.Say("%s", okay(r.Lock(context.Background(), mode, start, length)))
			}
		}
	}
	roles["range-granter"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		g, _ := strconv.Atoi(args[1])
		grantAndGiveUp(a.Ranges("crash"), g)
	}
}

// grantAndGiveUp does what rivalRanges do, but for every third wait, which it
// gives up: it comes by all points of a granter, until it is killed.
func grantAndGiveUp(r *Ranges, g int) {
	for k := 0; ; k++ {
		patience := proc.Soon
		if k%3 == 2 {
			patience = time.Duration(k%200) * time.Microsecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		err := r.Lock(ctx, Mode(1+(g+k)%2), int64((g*7+k)%60), 15)
		cancel()
		if err == nil {
			time.Sleep(50 * time.Microsecond) // the others come to wait
		}
		r.ReleaseAll()
	}
}

func startRangeWaiter(t testing.TB, path string) *proc.Proc {
	return proc.Start(t, "range-waiter", []string{path})
}

// A process is killed that holds ranges, in either mode, while this one waits
// for a part of them.
func TestRangesKilledHolders(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	r := a.Ranges("queue")
	tryRange(t, r, true, Shared, 200, 5)
	heir := startRangeWaiter(t, a.Path())
	for k := range killRounds() {
		p := heir
		heir = startRangeWaiter(t, a.Path())
		p.Expect("ready")
		p.Send("%d 0 50", 1+k%2)
		p.Expect("ok")
		p.Send("%d 60 50", 1+k/2%2)
		p.Expect("ok")
		waiting := lockLater(t, a, r, Exclusive, 40, 30)
		if k%5 == 0 {
			p.Signal(syscall.SIGSTOP) // and is not taken for dead
			time.Sleep(time.Millisecond)
			if waitingRanges(a) != 1 {
				t.Error("it was robbed")
			}
		}
		p.Kill()
		granted(t, waiting)
		expectHeld(t, r, Range{40, 30, Exclusive}, Range{200, 5, Shared})
		giveBack(t, r, 40, 30)
	}
	heir.Expect("ready")
	heir.Kill()
	r.ReleaseAll()
	expectNoRanges(t, a)
}

// Of processes that wait in a queue one is killed, each round at the next
// place, before or after the range comes back: the others are served in order.
func TestRangesKilledWaiters(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	r := a.Ranges("queue")
	const places = 4
	var queue [places]*proc.Proc
	for i := range queue {
		queue[i] = startRangeWaiter(t, a.Path())
		queue[i].Expect("ready")
	}
	heir := startRangeWaiter(t, a.Path())
	for round := range killRounds() {
		tryRange(t, r, true, Exclusive, 0, 100)
		for i, p := range queue {
			p.Send("1 %d 20", 5*i)
			untilRangesWait(t, a, i+1)
		}
		victim := round % places
		if round/places%2 == 0 {
			queue[victim].Signal(syscall.SIGKILL)
			giveBack(t, r, 0, 0)
		} else {
			giveBack(t, r, 0, 0)
			queue[victim].Signal(syscall.SIGKILL)
		}
		for i, p := range queue {
			if i == victim {
				continue
			}
			p.Expect("ok")
			p.Send("release")
			p.Expect("ok")
		}
		queue[victim].Kill()
		lockRange(t, r, Exclusive, 0, 0) // so that what the victim had is settled
		giveBack(t, r, 0, 0)
		heir.Expect("ready")
		queue[victim], heir = heir, startRangeWaiter(t, a.Path())
	}
	for _, p := range append(queue[:], heir) {
		p.Kill()
	}
	r.ReleaseAll()
	expectNoRanges(t, a)
}

// A process is killed while it is granting to others, half of the time in each
// of two arenas.
func TestRangesKilledGranters(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	crashPointsInSources(t)
	binary := buildWithCrashPoints(t)
	points := []string{"range.granted", "grant.rung", "range.dropped", "range.unlinked", "range.linked", "range.unlatched", "range.released"}
	for k := range 2 {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			a := testArena(t, &Options{Logger: quiet})
			all := a.Ranges("crash")
			tryRange(t, all, true, Exclusive, 0, 0)
			all.ReleaseAll()
			stop := make(chan struct{})
			var rivals sync.WaitGroup
			for g := range 3 {
				rivals.Go(func() { rivalRanges(t, a, g, stop) })
			}
			for round := range killRounds() / 2 {
				point := fmt.Sprintf("%s:%d", points[(round+k)%len(points)], 1+round%3)
				p := proc.StartCommand(t, exec.Command(binary, a.Path(), strconv.Itoa(round%3)),
					proc.Env("LOCKD_TEST_ROLE=range-granter"), proc.Env("LOCKD_CRASH="+point))
				if p.Wait() == nil {
					t.Fatalf("not killed at %s", point)
				}
			}
			close(stop)
			rivals.Wait()
			lockRange(t, all, Exclusive, 0, 0)
			all.ReleaseAll()
			expectNoRanges(t, a)
		})
	}
}

// The holder of the latch is stopped: a try gives up, a wait obeys its context.
// Killed, it is succeeded.
func TestRangesLatchHolder(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	r := a.Ranges("queue")
	tryRange(t, r, true, Shared, 0, 5)
	p := startRangeWaiter(t, a.Path())
	p.Expect("ready")
	p.Send("1 10 5")
	p.Expect("ok")
	p.Send("latch")
	p.Expect("latched")
	p.Signal(syscall.SIGSTOP)
	tryRange(t, r, false, Exclusive, 20, 5)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	err := r.Lock(ctx, Exclusive, 20, 5)
	var late *TimeoutError
	if !errors.As(err, &late) || late.HolderPID != p.PID() {
		t.Errorf("%v", err)
	}
	done := proc.MustBlock(t, "a release", func() { giveBack(t, r, 0, 1) })
	waiting := make(chan error, 1)
	go func() { waiting <- r.Lock(context.Background(), Exclusive, 10, 5) }()
	p.Kill()
	done()
	granted(t, waiting)
	expectHeld(t, r, Range{1, 4, Shared}, Range{10, 5, Exclusive})
	r.ReleaseAll()
	expectNoRanges(t, a)
}

// What a process holds goes free when it becomes another program.
func TestRangesExec(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	p := startRangeWaiter(t, a.Path())
	p.Expect("ready")
	p.Send("1 10 5")
	p.Expect("ok")
	r := a.Ranges("queue")
	waiting := lockLater(t, a, r, Shared, 0, 0)
	p.Send("exec")
	p.Expect("executed")
	granted(t, waiting)
	p.Kill()
	r.ReleaseAll()
	expectNoRanges(t, a)
}

// Who only tries gets what a dead process held.
func TestRangesPolling(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	p := startRangeWaiter(t, a.Path())
	p.Expect("ready")
	p.Send("1 10 5")
	p.Expect("ok")
	r := a.Ranges("queue")
	tryRange(t, r, false, Shared, 0, 0)
	p.Kill()
	for until := time.Now().Add(proc.Soon); ; time.Sleep(100 * time.Microsecond) {
		if ok, err := r.TryLock(Shared, 0, 0); ok {
			break
		} else if err != nil || time.Now().After(until) {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	r.ReleaseAll()
	expectNoRanges(t, a)
}
