package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/arena"
)

var fullMatrix = flag.Bool("crash.full", false, "kill at every point in every situation")

// A situation is who else is there when a worker is killed at a point.
type situation struct {
	name    string
	rivals  int    // workers beside it
	way     string // of theirs
	deaths  int    // workers that were killed before, alone, at points where much is under way
	fresh   bool   // there is no arena yet
	ordinal []int  // the times that the victim comes to the point before it is killed
}

var situations = []situation{
	{name: "first of all", fresh: true, ordinal: []int{1, 3}},
	{name: "alone", ordinal: []int{1, 2, 4, 7, 15}},
	{name: "contended", rivals: 2, way: calm, ordinal: []int{1, 2, 4, 7, 15}},
	{name: "with sleepers", rivals: 3, way: slow, ordinal: []int{1, 3}},
	{name: "after a death", deaths: 1, ordinal: []int{1, 2, 3, 5, 9}},
	{name: "contended, after a death", deaths: 1, rivals: 1, way: calm, ordinal: []int{1, 3}},
	{name: "after a death in the recovery from a death", deaths: 2, ordinal: []int{1, 2, 3, 5}},
	{name: "after three deaths", deaths: 3, ordinal: []int{1, 3}},
}

// firstDeaths are where the deaths before happen: in the middle of what others
// have to mend.
var firstDeaths = []string{
	"acquire.taken:9", "insert.live:3", "enqueue.wanted:2", "grant.given:2", "exclude.drained:2", "evict.word:2", "reclaim.taken:1",
	"insert.claimed:5", "semaphore.taken:9", "end.closed:1", "cell.claimed:2", "open.opened:3", "letgo.freed:1", "make.linked:1",
	"retire.closed:1", "rebuild.slot:1", "settle.frees:1", "mend.words:1", "resize.extended:1", "read.waiting:1",
}

// elsewhere are points that workers do not come to, and the tests of package
// arena do.
var elsewhere = regexp.MustCompile(`^rob|^break`)

// Everything that workers do is cut off at every point of the sources, in each
// situation; afterwards a survivor finds everything in order, and gets it.
func TestCrashMatrix(t *testing.T) {
	if testing.Short() && !*fullMatrix {
		t.Skip("the tests of package arena kill at each point")
	}
	points := pointsInSources(t)
	if !*fullMatrix { // a sample of them
		sample := points[:0]
		for i := range len(points) / 6 {
			sample = append(sample, points[6*i])
		}
		points = sample
	}
	binary := filepath.Join(t.TempDir(), "torture")
	build := exec.Command("go", "build", "-tags", "lockd_crash", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("needs the go command and the sources: %v\n%s", err, out)
	}
	m := &matrix{binary: binary, filled: fill(t), hit: map[string]int{}, by: map[string]int{}}
	for _, s := range situations {
		if !*fullMatrix && s.name != "after a death" {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			limit := make(chan struct{}, 4)
			var all sync.WaitGroup
			for i, point := range points {
				for _, n := range s.ordinal {
					if !*fullMatrix && n > 1 {
						continue
					}
					limit <- struct{}{}
					all.Go(func() {
						m.run(t, s, fmt.Sprintf("%s:%d", point, n), i+n)
						<-limit
					})
				}
			}
			all.Wait()
		})
	}
	var missed []string
	for _, point := range points {
		if m.hit[point] == 0 && !elsewhere.MatchString(point) {
			missed = append(missed, point)
		}
	}
	cases := 0
	for _, n := range m.by {
		cases += n
	}
	t.Logf("%d of %d points, %d cases of a point in a situation, %d deaths before: %v", len(m.hit), len(points), cases, m.before, m.by)
	if *fullMatrix && len(missed) > 0 {
		t.Logf("never come to by workers: %v", missed)
	}
	// Some need two processes to meet within nanoseconds, or do what workers do
	// not; arena's TestKilledAtEveryStep has a registry that misses none.
	if most := len(points) * 3 / 4; len(missed) > most || *fullMatrix && len(missed) > most/2 {
		t.Errorf("%d points are never come to: %v", len(missed), missed)
	}
}

type matrix struct {
	binary string
	filled map[string][]byte // images of full arenas

	mu     sync.Mutex
	hit    map[string]int // cases, by point
	by     map[string]int // by situation
	before int
}

func (m *matrix) run(t *testing.T, s situation, point string, turn int) {
	dir, err := os.MkdirTemp(shm, fmt.Sprintf("lockd-torture-%d-", os.Getpid()))
	if err != nil {
		t.Error(err)
		return
	}
	defer os.RemoveAll(dir)
	if !s.fresh {
		for name, image := range m.filled {
			if err := os.WriteFile(filepath.Join(dir, name), image, 0o600); err != nil {
				t.Error(err)
				return
			}
		}
	}
	d, err := newDirector(plan{dir: dir, processes: 8}, io.Discard)
	if err != nil {
		t.Error(err)
		return
	}
	d.exe = m.binary
	for i := range s.deaths {
		first := firstDeaths[(turn*7+i*3)%len(firstDeaths)]
		if m.cut(d, 7, first) {
			m.mu.Lock()
			m.before++
			m.mu.Unlock()
		}
	}
	var rivals []*seated
	for i := range s.rivals {
		rivals = append(rivals, d.employ(i, "LOCKD_TORTURE="+s.way))
	}
	if m.cut(d, 6, point) {
		name, _, _ := strings.Cut(point, ":")
		m.mu.Lock()
		m.hit[name]++
		m.by[s.name]++
		m.mu.Unlock()
	}
	// Who comes now goes through everything once more.
	survivor := d.employ(5, "LOCKD_TORTURE="+calm)
	time.Sleep(20 * time.Millisecond)
	for _, s := range append(rivals, survivor) {
		d.mu.Lock()
		d.order(s, s.seat, orderLeave)
		d.mu.Unlock()
	}
	d.lives.Wait()
	d.inspect()
	for _, finding := range d.findings {
		t.Errorf("%s at %s: %s", s.name, point, finding)
	}
}

// cut has a worker work until it comes to the point, and says whether it did.
func (m *matrix) cut(d *director, seat int, point string) bool {
	s := d.employ(seat, "LOCKD_TORTURE="+calm, "LOCKD_CRASH="+point)
	select {
	case <-s.gone:
	case <-time.After(patienceOfMatrix()):
		d.mu.Lock()
		d.order(s, seat, orderLeave)
		d.mu.Unlock()
		<-s.gone
	}
	return s.byCrash
}

func patienceOfMatrix() time.Duration {
	if *fullMatrix {
		return 400 * time.Millisecond
	}
	return 150 * time.Millisecond
}

// fill makes arenas in which each slot of the first segment has a name.
func fill(t *testing.T) map[string][]byte {
	t.Helper()
	images := make(map[string][]byte)
	for _, o := range arenas[:2] {
		path := filepath.Join(t.TempDir(), o.name)
		a, err := arena.Open(path, &arena.Options{MaxLocks: o.maxLocks, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1023 {
			if err := takeOnce(a, arena.LockInfo{Name: fmt.Sprintf("name %d", 3000+i), Kind: arena.KindMutex}); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if images[o.name], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

func pointsInSources(t *testing.T) (points []string) {
	t.Helper()
	call := regexp.MustCompile(`crash\.At\("([^"]*)"\)`)
	files, err := filepath.Glob("../../*/*.go")
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
			if !slices.Contains(points, string(m[1])) {
				points = append(points, string(m[1]))
			}
		}
	}
	if points == nil {
		t.Skip("needs the sources")
	}
	return points
}
