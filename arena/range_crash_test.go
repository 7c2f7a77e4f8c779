package arena

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
)

// A rangeCrash is a piece of work, and the points of the sources at which a
// process that does it is killed, the first and a later time that it comes there.
type rangeCrash struct {
	work   func(a *Arena)
	lone   bool   // nobody else is there when the process is killed
	first  string // before it, another is killed here, in the work of "busy"
	points []string
}

var rangeCrashes = map[string]rangeCrash{
	"busy": {work: busyRanges, points: []string{
		"range.claimed", "range.latched", "range.unlatch", "range.unlatched", "range.owned", "range.linked",
		"range.unlinked", "range.released", "range.cut", "range.split", "range.downgraded", "range.freed",
		"range.counted", "range.queued", "range.granting", "range.granted", "grant.rung", "answer.sleep", "answer.woken",
		"range.withdrawn", "range.dropped", "range.collect", "range.collected",
	}},
	"alone": {work: busyRanges, lone: true, points: []string{
		"range.claimed", "range.latched", "range.owned", "range.linked", "range.released", "range.unlinked",
		"range.cut", "range.split", "range.freed", "range.unlatch",
	}},
	"mend a cut queueing": {work: busyRanges, lone: true, first: "range.owned:40", points: []string{
		"range.emptied", "range.read", "range.rebuilt", "range.mended",
	}},
	"settle": {work: settleWork, lone: true, first: "range.granted:3", points: []string{
		"range.settle", "range.emptied", "range.mended", "range.dropped",
	}},
	"reap": {work: reapRange, lone: true, points: []string{"range.reaped"}},
}

// reapRange waits for what a dead process holds, before anybody has settled it.
func reapRange(a *Arena) { reapRangeOf(a, "crash") }

func reapRangeOf(a *Arena, name string) {
	if _, err := a.core.acquireLatch(context.Background(), &a.core.head.settler, settlerDoor); err != nil {
		proc.Say("%v", err)
		return
	}
	holder, err := launch("range-waiter", []string{a.Path(), name})
	if err != nil {
		proc.Say("%v", err)
		return
	}
	holder.ask("1 0 50")
	holder.cmd.Process.Signal(syscall.SIGKILL)
	holder.cmd.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	a.Ranges(name).Lock(ctx, Exclusive, 0, 50)
}

// busyRanges does all that can be done with ranges.
func busyRanges(a *Arena) {
	var local sync.WaitGroup
	defer local.Wait()
	for g := range 4 {
		local.Go(func() {
			r := a.Ranges("crash")
			for k := range 40 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				if g == 3 && k%2 == 0 {
					cancel()
					ctx, cancel = context.WithTimeout(context.Background(), 300*time.Microsecond)
				}
				mode := Exclusive
				if (g+k)%3 == 0 {
					mode = Shared
				}
				at := int64((g + k) % 5 * 10)
				if r.Lock(ctx, mode, at, 30) == nil {
					r.Lock(ctx, Shared, at+10, 10)
					time.Sleep(100 * time.Microsecond)
					r.Release(at+12, 3)
					r.TryLock(Exclusive, at+20, 40)
				}
				if k%4 != 0 {
					r.Release(at+5, 0)
				}
				r.ReleaseAll()
				cancel()
			}
		})
	}
}

func init() {
	roles["range-crasher"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		rangeCrashes[args[1]].work(a)
		proc.Say("the work is done")
	}
}

// rangeCrashPoints are the points that ranges have.
func rangeCrashPoints() map[string]bool {
	points := make(map[string]bool)
	for _, c := range rangeCrashes {
		for _, p := range c.points {
			points[p] = true
		}
	}
	return points
}

func TestRangesCrashPoints(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	inSources := crashPointsInSources(t)
	for point := range rangeCrashPoints() {
		if !slices.Contains(inSources, point) {
			t.Errorf("no source has the point %s", point)
		}
	}
	binary := buildWithCrashPoints(t)
	for name, c := range rangeCrashes {
		t.Run(name, func(t *testing.T) {
			for _, point := range c.points {
				for _, time := range []int{1, 5} {
					if time > 1 && (testing.Short() || c.first != "" || point == "range.claimed" || point == "range.reaped") {
						continue
					}
					t.Run(fmt.Sprintf("%s:%d", point, time), func(t *testing.T) {
						c.run(t, name, binary, fmt.Sprintf("%s:%d", point, time))
					})
				}
			}
		})
	}
}

func (c rangeCrash) run(t *testing.T, name, binary, point string) {
	a := testArena(t, &Options{Logger: quiet})
	r := a.Ranges("crash")
	if ok, err := r.TryLock(Exclusive, 0, 0); !ok {
		t.Fatal(err)
	}
	r.ReleaseAll()
	if c.lone {
		// Nobody of this process may mend what the first leaves.
		path := a.Path()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if c.first != "" {
			crashRanges(t, binary, path, "busy", c.first)
		}
		crashRanges(t, binary, path, name, point)
		a = reopen(path, &Options{Logger: quiet})
		defer a.Close()
	} else {
		stop := make(chan struct{})
		var rivals sync.WaitGroup
		for g := range 2 {
			rivals.Go(func() { rivalRanges(t, a, g, stop) })
		}
		halt := sync.OnceFunc(func() {
			close(stop)
			rivals.Wait()
		})
		defer halt()
		crashRanges(t, binary, a.Path(), name, point)
		halt()
	}
	all := a.Ranges("crash")
	lockRange(t, all, Exclusive, 0, 0)
	if err := all.ReleaseAll(); err != nil {
		t.Error(err)
	}
	expectNoRanges(t, a)
}

// rivalRanges takes ranges that overlap those of busyRanges until stop.
func rivalRanges(t *testing.T, a *Arena, g int, stop chan struct{}) {
	r := a.Ranges("crash")
	for k := 0; ; k++ {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
		if err := r.Lock(ctx, Mode(1+(g+k)%2), int64((g*7+k)%60), 15); err != nil && t != nil {
			t.Error(err)
		}
		cancel()
		time.Sleep(50 * time.Microsecond)
		if err := r.ReleaseAll(); err != nil && t != nil {
			t.Error(err)
		}
	}
}

// lockRange fails the test unless the range is to be had soon.
func lockRange(t testing.TB, r *Ranges, mode Mode, start, length int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	if err := r.Lock(ctx, mode, start, length); err != nil {
		t.Error(err)
	}
}

func crashRanges(t *testing.T, binary, path, name, point string) {
	t.Helper()
	p := proc.StartCommand(t, exec.Command(binary, path, name), proc.Env("LOCKD_TEST_ROLE=range-crasher"), proc.Env("LOCKD_CRASH="+point))
	err := p.Wait()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		said := "nothing"
		if line, ok := <-p.Lines(); ok {
			said = line
		}
		t.Fatalf("the work of %q did not come to %s: %v; it said: %s", name, point, err, said)
	}
}
