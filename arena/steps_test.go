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
	tracks    bool                    // its performer has its holdings counted
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
	m := &stepMatrix{binary: buildWithCrashPoints(t), hits: make(map[string]map[string]int), ways: make(map[string]map[string]bool)}
	for _, point := range crashPointsInSources(t) {
		if m.hits[point] != nil {
			t.Errorf("two places in the sources are called %s", point)
		}
		m.hits[point] = make(map[string]int)
	}
	began := time.Now()
	m.whole = *everyStep
	m.playAll(t, operations())
	// Some points take luck to come to. They are tried again, and the run fails
	// only if that does not help for long.
	m.again = true
	again := time.Now()
	for round := 0; len(m.missed()) > 0 && (round < 3 || !m.enough() && time.Since(again) < longEnough); round++ {
		m.playAll(t, m.suspects(round))
	}
	m.report(t, time.Since(began))
}

// longEnough is after how long a point that was tried again, and is still missed,
// cannot be come to. All points together take two minutes.
const longEnough = 8 * time.Minute

type stepMatrix struct {
	binary string
	whole  bool // each point in each company, not each once
	again  bool // those that were missed alone

	mu     sync.Mutex
	hits   map[string]map[string]int  // cases by point and company
	ways   map[string]map[string]bool // the operations that came to a point
	deaths int                        // before
	worst  time.Duration              // that the survivor took
}

func (m *stepMatrix) playAll(t *testing.T, all []*operation) {
	work := make(chan *operation)
	var playing sync.WaitGroup
	for range *lanes {
		playing.Go(func() {
			for o := range work {
				t.Run(o.name, func(t *testing.T) { m.play(t, o) })
			}
		})
	}
	for _, o := range all {
		work <- o
	}
	close(work)
	playing.Wait()
}

// suspects are the operations that have come to a point at which nobody was
// killed; in every other round, or if there is such a point that none came to,
// all.
func (m *stepMatrix) suspects(round int) (some []*operation) {
	missed := m.missed()
	m.mu.Lock()
	defer m.mu.Unlock()
	all := operations()
	if round%2 == 1 {
		return all
	}
	for _, point := range missed {
		if len(m.ways[point]) == 0 {
			return all
		}
	}
	for _, o := range all {
		if slices.ContainsFunc(missed, func(point string) bool { return m.ways[point][o.name] }) {
			some = append(some, o)
		}
	}
	return some
}

// play kills a process in the middle of an operation, in each company.
func (m *stepMatrix) play(t *testing.T, o *operation) {
	l := newLane(t, m, o)
	plans := make(map[int][]string) // by deaths before
	for _, s := range companies {
		if !s.suits(o) || m.sparing() && (s.corpse || s.deaths > 0) {
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
		m.note(o, came)
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

// mostInRecovery bounds the cases of an operation in a company of the dead: what
// they have left is mended in the same ways, whatever comes after.
const mostInRecovery = 10

// plan chooses where to kill, of the points that were come to and how often:
// the first time, the last, and with nobody else there the second; with the
// dead some points, the first time; sparingly those that were missed so far.
func (m *stepMatrix) plan(s company, came map[string]int) (plan []string) {
	points := slices.Sorted(maps.Keys(came))
	if m.sparing() {
		for _, point := range points {
			if !m.isHit(point) {
				plan = append(plan, point+":1")
			}
		}
		return plan
	}
	if s.corpse || s.deaths > 0 {
		for i := range min(len(points), mostInRecovery) {
			point := points[(i*len(points)/mostInRecovery+s.deaths)%len(points)]
			if len(points) <= mostInRecovery {
				point = points[i]
			}
			plan = append(plan, point+":1")
		}
		return plan
	}
	for _, point := range points {
		times := []int{1, came[point]}
		if s == companies[0] {
			times = []int{1, 2, came[point]}
		}
		slices.Sort(times)
		for _, n := range slices.Compact(times) {
			if n <= came[point] {
				plan = append(plan, fmt.Sprintf("%s:%d", point, n))
			}
		}
	}
	return plan
}

// sparing tells whether each point is for one case only.
func (m *stepMatrix) sparing() bool { return !m.whole || m.again }

// tries is how often a point is tried to come to, which can take luck.
func (m *stepMatrix) tries() int {
	if m.sparing() {
		return 3
	}
	return 1
}

// note notes where an operation came.
func (m *stepMatrix) note(o *operation, came map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for point := range came {
		if m.ways[point] == nil {
			m.ways[point] = make(map[string]bool)
		}
		m.ways[point][o.name] = true
	}
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

// missed are the points at which nobody was killed.
func (m *stepMatrix) missed() (points []string) {
	for _, point := range slices.Sorted(maps.Keys(m.hits)) {
		if len(m.hits[point]) == 0 {
			points = append(points, point)
		}
	}
	return points
}

// enough tells whether so few points were missed as may be: of the whole none,
// of the short form, which tries few ways to come to one, a few.
func (m *stepMatrix) enough() bool {
	missed := len(m.missed())
	return missed == 0 || !m.whole && missed <= len(m.hits)/50
}

// report prints what was counted, and fails the test if too much was missed.
func (m *stepMatrix) report(t *testing.T, took time.Duration) {
	cases, pairs := 0, 0
	by := make(map[string]int)
	missed := m.missed()
	for _, point := range slices.Sorted(maps.Keys(m.hits)) {
		for company, n := range m.hits[point] {
			cases += n
			by[company] += n
			pairs++
		}
	}
	for _, s := range companies {
		t.Logf("%5d cases %s", by[s.name], s.name)
	}
	t.Logf("%d of %d points, %d companies, %d points in a company, %d operations: %d cases, %d deaths before them, in %v; a survivor took %v at most",
		len(m.hits)-len(missed), len(m.hits), len(by), pairs, len(operations()), cases, m.deaths, took.Round(time.Second/10), m.worst.Round(time.Millisecond))
	switch {
	case !m.enough():
		t.Errorf("nobody was killed at %v", missed)
	case len(missed) > 0:
		t.Logf("nobody was killed at %v", missed)
	}
}
