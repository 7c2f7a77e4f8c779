package arena

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lockd/internal/crash"
)

var everyStep = flag.Bool("steps.full", false, "kill at every step of every operation in every company, not at each point once")
var lanes = flag.Int("steps.lanes", 3, "how many operations are played at a time, each in arenas of its own")

// An operation is something that a process does with an arena, and is killed
// in the middle of.
//
//	another holds what hold takes · before · others begin to wait ·
//	another does meanwhile · work, at a step of which it is killed · after
type operation struct {
	name      string
	image     string                  // what the arena is like before
	first     []string                // who was killed before, in what: "operation@point:time", or "operation", which it holds
	hold      func(*performer) func() // what another holds, until somebody waits; it returns what lets go
	before    func(*performer)        //
	meanwhile func(*performer)        //
	work      func(*performer)        // nil: it is there with the crash points only
	after     func(*performer)        //
	wait      func(*performer)        // what others wait for, that is held before
	rival     func(*performer)        // what rivals do; nil: before, work, after
	slots     int                     // that the table may grow to; 0: a segment's
	opens     bool                    // work opens the arena
	closes    bool                    // and it is closed afterwards
	starve    bool                    // those who wait have starved when work begins
	lonely    bool                    // it has no rivals
	table     bool                    // afterwards all slots must be to be had
	vague     bool                    // whether the next owner is told depends on more than who was killed
	leaves    bool                    // killed, it may leave a file that is removed later
	off       string                  // kernel features that are not there
}

// A company is who else is there when a process is killed.
type company struct {
	name     string
	rivals   bool // two processes do the same all the time
	sleepers bool // two processes wait, with two goroutines each
	corpse   bool // who had what it wants was killed, and nobody has settled that
	deaths   int  // others were killed in the middle of the same, each in the recovery from the one before
}

var companies = []company{
	{name: "alone"},
	{name: "with sleepers", sleepers: true},
	{name: "contended", rivals: true},
	{name: "its victim already dead", corpse: true},
	{name: "a second death in the recovery from the first", deaths: 1},
	{name: "a third", deaths: 2},
}

func (s company) suits(o *operation) bool {
	return !(s.sleepers && o.wait == nil || s.rivals && o.lonely)
}

// operations are all of them.
func operations() []*operation {
	all := slices.Concat(mutexOperations, tableOperations, rwOperations, ticketOperations, rangeOperations, sessionOperations, robberyOperations)
	places := make([]*operation, len(all))
	for i := range all {
		places[i] = &all[i]
	}
	return places
}

func operationNamed(name string) *operation {
	for _, o := range operations() {
		if o.name == name {
			return o
		}
	}
	panic("no operation " + name)
}

// A process is killed at every step of everything that it can do with an arena,
// in every company. Those who wait get on, and a survivor gets everything, is
// told what it must be told, and finds nothing left. No point of the sources may
// be missed.
func TestKilledAtEveryStep(t *testing.T) {
	needDeath(t)
	if crash.Enabled {
		t.Skip("is the test that builds this one")
	}
	m := &stepMatrix{binary: buildWithCrashPoints(t), hits: make(map[string]map[string]int)}
	for _, point := range crashPointsInSources(t) {
		if m.hits[point] != nil {
			t.Errorf("two places in the sources are called %s", point)
		}
		m.hits[point] = make(map[string]int)
	}
	began := time.Now()
	m.playAll(t)
	m.report(t, time.Since(began))
}

type stepMatrix struct {
	binary string

	mu     sync.Mutex
	hits   map[string]map[string]int // cases by point and company
	deaths int                       // before
	worst  time.Duration             // that the survivor took
}

func (m *stepMatrix) playAll(t *testing.T) {
	work := make(chan *operation)
	var all sync.WaitGroup
	for range *lanes {
		all.Go(func() {
			for o := range work {
				t.Run(o.name, func(t *testing.T) { m.play(t, o) })
			}
		})
	}
	for _, o := range operations() {
		work <- o
	}
	close(work)
	all.Wait()
}

// play kills a process in the middle of an operation, in each company.
func (m *stepMatrix) play(t *testing.T, o *operation) {
	l := newLane(t, m, o)
	plans := make(map[int][]string) // by deaths before
	for _, s := range companies {
		if !s.suits(o) || !*everyStep && (s.corpse || s.deaths > 0) {
			continue
		}
		deaths := func(turn int) (before []string) {
			for n := range s.deaths {
				if plan := plans[n]; len(plan) > 0 {
					before = append(before, plan[(turn*7+3*n)%len(plan)])
				}
			}
			return before
		}
		came, killed := l.play(s, deaths(0), "")
		if killed {
			t.Errorf("%s: killed without being told to", s.name)
		}
		plan := m.plan(s, came)
		if _, known := plans[s.deaths]; !known {
			plans[s.deaths] = plan
		}
		for turn, point := range plan {
			for range m.tries() {
				if _, killed := l.play(s, deaths(turn), point); killed {
					m.hit(point, s)
					break
				}
			}
		}
	}
}

// plan chooses where to kill, of the points that were come to and how often:
// the first time, the last, and with nobody else there the second.
func (m *stepMatrix) plan(s company, came map[string]int) (plan []string) {
	for _, point := range slices.Sorted(maps.Keys(came)) {
		times := []int{1, came[point]}
		if s == companies[0] {
			times = []int{1, 2, came[point]}
		}
		if !*everyStep {
			if m.isHit(point) {
				continue
			}
			times = times[:1]
		}
		for _, n := range slices.Compact(times) {
			if n <= came[point] {
				plan = append(plan, fmt.Sprintf("%s:%d", point, n))
			}
		}
	}
	return plan
}

// tries is how often a point is tried to come to, which can take luck.
func (m *stepMatrix) tries() int {
	if *everyStep {
		return 1
	}
	return 3
}

// isHit tells whether anybody was killed at a point.
func (m *stepMatrix) isHit(point string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hits[point]) > 0
}

func (m *stepMatrix) hit(target string, s company) {
	point, _, _ := strings.Cut(target, ":")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hits[point][s.name]++
}

// report prints what was counted, and fails the test if a point was missed.
func (m *stepMatrix) report(t *testing.T, took time.Duration) {
	cases, pairs := 0, 0
	by := make(map[string]int)
	var missed []string
	for _, point := range slices.Sorted(maps.Keys(m.hits)) {
		for company, n := range m.hits[point] {
			cases += n
			by[company] += n
			pairs++
		}
		if len(m.hits[point]) == 0 {
			missed = append(missed, point)
		}
	}
	for _, s := range companies {
		t.Logf("%5d cases %s", by[s.name], s.name)
	}
	t.Logf("%d of %d points, %d companies, %d points in a company, %d operations: %d cases, %d deaths before them, in %v; a survivor took %v at most",
		len(m.hits)-len(missed), len(m.hits), len(by), pairs, len(operations()), cases, m.deaths, took.Round(time.Second/10), m.worst.Round(time.Millisecond))
	if len(missed) > 0 {
		t.Errorf("nobody was killed at %v", missed)
	}
}
