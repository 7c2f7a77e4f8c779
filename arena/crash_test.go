package arena

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// A crashCase is a piece of work, the points of the sources that a process
// comes past while it does it, and at which of the times that it comes there
// it is killed. The work must come past each of them so often.
type crashCase struct {
	prepare func(t *testing.T, c *crashBench)
	work    func(path string)
	slots   int // the table may grow to
	points  map[string][]int
}

var crashCases = map[string]crashCase{
	"create": {work: attachOnce, points: map[string][]int{
		"create.allocated": {1}, "create.filled": {1}, "create.linked": {1},
		"join.byte": {1}, "join.joining": {1}, "join.filled": {1}, "join.live": {1},
	}},
	"attach": {prepare: makeArena, work: attachOnce, points: map[string][]int{
		"join.byte": {1}, "join.joining": {1}, "join.filled": {1}, "join.live": {1},
	}},
	"insert": {prepare: makeArena, work: insertNames(30), points: map[string][]int{
		"insert.claimed": {1, 2, 3, 20}, "insert.filled": {1, 2, 3, 20}, "insert.word": {1, 2, 3, 20},
		"insert.live": {1, 2, 3, 20}, "insert.linked": {1, 2, 3, 20},
		"latch.held": {1, 2, 20}, "latch.release": {1, 2, 20}, "acquire.taken": {1, 30}, "release.freed": {1, 30},
	}},
	"evict": {prepare: fillTable, work: insertNames(60), points: map[string][]int{
		"evict.looked": {1, 2, 3, 50}, "evict.word": {1, 2, 3, 50}, "evict.unlinked": {1, 2, 3, 50}, "evict.fence": {1, 2, 3, 50}, "evict.extension": {1, 2, 3, 50},
		"insert.claimed": {1, 2, 3, 50}, "insert.filled": {1, 2, 3, 50}, "insert.word": {1, 2, 3, 50},
		"insert.live": {1, 2, 3, 50}, "insert.linked": {1, 2, 3, 50}, "latch.held": {1, 2, 50}, "latch.release": {1, 2, 3, 4, 100},
	}},
	"grow": {prepare: fillTable, slots: 4 * segmentSlots, work: insertNames(3 * segmentSlots / 2), points: map[string][]int{
		"grow.allocated": {1, 2}, "grow.published": {1, 2}, "spread.moved": {1, 2, 3, 500, 1500},
		"latch.held": {1, 2, 3, 4, 600}, "latch.release": {1, 2, 3, 4, 600}, "insert.linked": {1, 1100},
	}},
	"settle": {prepare: leaveDead, work: settleAll, points: map[string][]int{
		"settle.begin": {1}, "settle.slot": {1, 2, 3}, "reclaim.taken": {1, 2, 3}, "reclaim.told": {1, 2, 3},
		"settle.claim": {1}, "letgo.freed": {1, 2, 3}, "settle.frees": {1}, "settle.freed": {1, 2},
	}},
	"rebuild": {prepare: leaveLatch, work: insertNames(300), points: map[string][]int{
		"rebuild.slot": {1, 2}, "latch.held": {1, 64, 128}, "insert.live": {1, 64, 128},
	}},
	"rebuild a cut eviction": {prepare: leaveEviction, work: insertNames(300), points: map[string][]int{
		"rebuild.slot": {1, 2}, "evict.fence": {1, 2}, "evict.extension": {1, 2},
	}},
	"contend": {prepare: startRivals, work: contendForHot, points: map[string][]int{
		"acquire.taken": {1, 2, 300}, "acquire.sleep": {1, 2, 30}, "acquire.woken": {1, 2, 30},
		"release.freed": {1, 2, 300}, "wake.done": {1, 2, 30}, "wake.calmed": {1, 2, 10}, "resign.resigned": {1, 2, 5},
	}},
}

// crashBench is what one crash takes place in.
type crashBench struct {
	binary string // with the crash points
	path   string
	slots  int
	rivals []*proc.Proc
}

// TestCrashPoints kills a process at points of what it does with the table and
// a mutex. After each the survivors must settle what it left, down to the last
// slot. That no point is missed is TestKilledAtEveryStep's to say.
func TestCrashPoints(t *testing.T) {
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	kills.report(t)
	inSources := crashPointsInSources(t)
	for name, c := range crashCases {
		for point := range c.points {
			if !slices.Contains(inSources, point) {
				t.Errorf("%s: no source has the point %s", name, point)
			}
		}
	}
	binary := buildWithCrashPoints(t)
	t.Run("cases", func(t *testing.T) {
		for name, c := range crashCases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for point, counts := range c.points {
					for i, count := range counts {
						if testing.Short() && i > 0 {
							continue
						}
						t.Run(fmt.Sprintf("%s:%d", point, count), func(t *testing.T) {
							c.run(t, name, binary, fmt.Sprintf("%s:%d", point, count), i%2 == 0)
						})
					}
				}
			})
		}
	})
}

func crashPointsInSources(t *testing.T) (points []string) {
	t.Helper()
	call := regexp.MustCompile(`crash\.At\("([^"]*)"\)`)
	for _, dir := range []string{".", "../robust", "../futex"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range call.FindAllSubmatch(source, -1) {
				points = append(points, string(m[1]))
			}
		}
	}
	if points == nil {
		t.Skip("needs the package's sources")
	}
	return points
}

func buildWithCrashPoints(t *testing.T) string {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	if dir := strings.TrimSpace(string(cache)); os.MkdirAll(dir, 0o777) != nil || unix.Access(dir, unix.W_OK) != nil {
		t.Skipf("needs a build cache, cannot write to %q", dir)
	}
	if _, err := os.Stat("mutex.go"); err != nil {
		t.Skip("needs the package's sources")
	}
	binary := filepath.Join(t.TempDir(), "crash.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "lockd_crash", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func (c crashCase) run(t *testing.T, name, binary, point string, settleFirst bool) {
	bench := &crashBench{binary: binary, path: testPath(t), slots: max(c.slots, segmentSlots)}
	if c.prepare != nil {
		c.prepare(t, bench)
	}
	bench.crash(t, name, point)
	bench.survive(t, settleFirst)
}

// crash runs a case's work in a process that is killed at the point.
func (b *crashBench) crash(t *testing.T, name, point string) int {
	t.Helper()
	p := proc.StartCommand(t, exec.Command(b.binary, name, b.path), proc.Env(roleVariable+"=crasher"), proc.Env("LOCKD_CRASH="+point))
	err := p.Wait()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		said := "nothing"
		if line, ok := <-p.Lines(); ok {
			said = line
		}
		t.Fatalf("the work of %q did not come to %s: %v; it said: %s", name, point, err, said)
	}
	kills.at(point)
	return p.PID()
}

func init() {
	roles["crasher"] = func(args []string) {
		crashCases[args[0]].work(args[1])
		proc.Say("the work is done")
	}
}

// survive fails the test unless those who are left find nothing amiss, or put
// it right.
func (b *crashBench) survive(t *testing.T, settleFirst bool) {
	t.Helper()
	for _, p := range b.rivals {
		p.Send("stop")
		p.Expect("stopped")
		p.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	a, err := Open(b.path, &Options{MaxLocks: b.slots - 1, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			a.Close()
		}
	}()

	// What the dead inserted, or had begun to, and something in every stripe;
	// before somebody has settled them or afterwards.
	insert := func() {
		for i := range 40 {
			for _, name := range crashNames(i) {
				b.passOn(ctx, t, a.Mutex(name))
			}
		}
		for i := range 8 * stripeCount {
			b.passOn(ctx, t, a.Mutex("survivor"+strconv.Itoa(i)))
		}
		b.passOn(ctx, t, a.Mutex("hot"))
	}
	if !settleFirst {
		insert()
	}
	s := b.settled(ctx, t)
	if settleFirst {
		insert()
	}
	for i := range s.Locks {
		if s.Locks[i].Word.Has(robust.Abandoned) {
			b.passOn(ctx, t, a.Mutex(s.Locks[i].Name))
		}
	}
	if problems, err := Check(b.path); err != nil || len(problems) > 0 {
		t.Fatalf("check: %v, %d problems: %v …", err, len(problems), problems[:min(len(problems), 3)])
	}

	// No slot is lost: as many names can be held as there are slots.
	for i := 1; i < b.slots; i++ {
		if err := a.Mutex("all" + strconv.Itoa(i)).LockContext(ctx); err != nil {
			t.Fatalf("name %d of %d: %v", i, b.slots-1, err)
		}
	}
	if a.Mutex("too many").TryLock() {
		t.Errorf("more than %d names", b.slots-1)
	}
	if err := a.wholeAndHeld(b.slots - 1); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < b.slots; i++ {
		a.Mutex("all" + strconv.Itoa(i)).Unlock()
	}
	closed = true
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if left := leftIn(t, b.path); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := Remove(b.path); err != nil {
		t.Error(err)
	}
}

// settled waits until no dead member is in the table.
func (b *crashBench) settled(ctx context.Context, t *testing.T) *Snapshot {
	t.Helper()
	for {
		s, err := ReadSnapshot(b.path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(s.Members, func(m MemberInfo) bool {
			return m.Verdict != robust.Alive // unknown: it changed meanwhile
		}) {
			return s
		}
		if ctx.Err() != nil {
			t.Fatalf("the dead are not settled: %v", s.Members)
		}
	}
}

func (b *crashBench) passOn(ctx context.Context, t *testing.T, m *Mutex) {
	t.Helper()
	if err := m.LockContext(ctx); err != nil {
		t.Fatalf("survivor: %v", err)
	}
	if err := m.MarkConsistent(); err != nil {
		t.Fatalf("survivor: %v", err)
	}
	m.Unlock()
}
