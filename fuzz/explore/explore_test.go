package explore

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// counter is two actors that add 1 to a word, in one step or in two.
func counter(atomic bool) *Model {
	m := &Model{Name: "counter"}
	sum := m.word("sum")
	program := func(p *P) {
		if atomic {
			p.Add(sum, 1)
			return
		}
		p.Store(sum, p.Load(sum)+1)
	}
	m.Actors = []Thread{{Name: "one", Program: program}, {Name: "two", Process: 1, Program: program}}
	m.Check = func(s *State) string {
		if s.Actors[0].status == ended && s.Actors[1].status == ended && s.Mem[sum] != 2 {
			return "an addition is lost"
		}
		return ""
	}
	return m
}

func TestExploreFindsLostAddition(t *testing.T) {
	if r := counter(true).Explore(1000); r.Violation != "" || r.States != 4 || r.Transitions != 4 {
		t.Errorf("atomic: %v", r)
	}
	r := counter(false).Explore(1000)
	if r.Violation != "an addition is lost" || len(r.Trace) != 4 {
		t.Errorf("in two steps: %v", r)
	}
}

// sleeper sleeps until a word is 1; setter sets it, and wakes.
func sleeper(wakes, ticks bool) *Model {
	m := &Model{Name: "sleeper"}
	word := m.word("word")
	m.Actors = []Thread{
		{Name: "sleeper", Helper: true, Program: func(p *P) {
			for top := p.Mark(); ; p.Again(top) {
				if p.Load(word) == 1 {
					return
				}
				p.Sleep(word, 0, 0)
			}
		}},
		{Name: "setter", Process: 1, Helper: true, Program: func(p *P) {
			p.Store(word, 1)
			if wakes {
				p.Wake(word)
			}
		}},
	}
	if ticks {
		m.Actors = append(m.Actors, Thread{Name: "ticker", Helper: true, Program: func(p *P) {
			for top := p.Mark(); ; p.Again(top) {
				p.WakeAll(word)
			}
		}})
	}
	m.Goal = func(s *State) bool {
		return s.Actors[0].status == ended || s.Mem[word] == 0 && s.Actors[1].status == dead
	}
	return m
}

func TestExploreFindsSleeper(t *testing.T) {
	for _, c := range []struct {
		wakes, ticks bool
		deaths       int
		stranded     bool
	}{
		{wakes: true},
		{wakes: false, stranded: true},
		{wakes: true, deaths: 1, stranded: true}, // killed between the store and the wake
		{wakes: true, ticks: true, deaths: 1},
	} {
		m := sleeper(c.wakes, c.ticks)
		m.Deaths = c.deaths
		m.Mortal = func(process int) bool { return process == 1 }
		if r := m.Explore(1000); (r.Violation != "") != c.stranded || !r.Complete && !c.stranded {
			t.Errorf("%+v: %v", c, r)
		}
		m.Spurious = true // luck does not count
		if r := m.Explore(1000); (r.Violation != "") != c.stranded {
			t.Errorf("with spurious wake-ups, %+v: %v", c, r)
		}
	}
}

// TestExploreForgets: what a loop or a call has read does not tell states apart
// once it is over.
func TestExploreForgets(t *testing.T) {
	m := &Model{Name: "forgetful"}
	word := m.word("word")
	m.Actors = []Thread{
		{Name: "reader", Program: func(p *P) {
			p.Call(func() uint64 { p.Load(word); p.Load(word); return 7 })
			for top, n := p.Mark(), uint64(0); n < 3; p.Again(top, n) {
				n = p.Var(0)
				p.Load(word)
				n++
			}
			p.Load(word)
		}},
		{Name: "writer", Process: 1, Program: func(p *P) { p.Store(word, 1) }},
	}
	r := m.Explore(1000)
	// The reader is at the beginning, within the call (having read 0 or 1), behind
	// it, in the loop's three rounds, or at its end; the writer before or behind.
	if r.Violation != "" || r.States > 20 {
		t.Errorf("%v", r)
	}
}

func TestExploreChoosesAll(t *testing.T) {
	m := &Model{Name: "chooser"}
	word := m.word("word")
	m.Actors = []Thread{{Name: "one", Program: func(p *P) {
		a, b := p.Choose("a", 3), p.Choose("b", 2)
		p.Store(word, uint64(10*a+b))
	}}}
	if r := m.Explore(100); r.States != 7 || r.Transitions != 6 {
		t.Errorf("%v", r)
	}
}

func TestTraceNamesFunctions(t *testing.T) {
	r := NewMutex(MutexSetup{Name: "t", Goroutines: []int{1, 1}, Deaths: 1, Quiet: true}).Explore(10_000)
	trace := strings.Join(r.Trace, "\n")
	for _, part := range []string{"user 1", "held(1/1)", "lock (mutex_acquire.go:", "is killed", "sleeps on word"} {
		if !strings.Contains(trace, part) {
			t.Errorf("no %q in\n%v", part, r)
		}
	}
}

func TestEncodeState(t *testing.T) {
	for seed := range uint64(200) {
		g := rand.New(rand.NewPCG(seed, 1))
		var s, again State
		for i := range s.Mem {
			if g.IntN(3) == 0 {
				s.Mem[i] = g.Uint64() >> g.IntN(64)
			}
		}
		for i := range s.Actors {
			a := &s.Actors[i]
			a.status = status(g.IntN(5))
			if a.n = uint8(g.IntN(logSize + 1)); a.status == running && a.n == 0 {
				continue
			}
			a.waits = [2]Addr{Addr(g.IntN(memorySize)), Addr(g.IntN(memorySize))}
			for k := range a.n {
				a.log[k], a.kinds[k] = g.Uint64()>>g.IntN(64), uint8(g.IntN(256))
			}
		}
		data := s.encode(nil)
		if again.decode(data); again != s {
			t.Fatalf("seed %d: decoded is not what was encoded", seed)
		}
		if printOf(data) != printOf(again.encode(nil)) {
			t.Fatalf("seed %d: two prints", seed)
		}
	}
}

func TestVisited(t *testing.T) {
	v := newVisited()
	const n = 200_000 // more than the table begins with
	for round := range 2 {
		for i := range uint64(n) {
			number, fresh := v.add(print128{i * 0x9e3779b97f4a7c15, i + 1})
			if number != uint32(i) || fresh != (round == 0) {
				t.Fatalf("round %d: state %d is number %d, new: %v", round, i, number, fresh)
			}
		}
	}
}
