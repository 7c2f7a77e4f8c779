package explore

import (
	"fmt"
	"slices"

	"lockd/robust"
)

// SessionsSetup is a situation, and for tests a broken protocol.
type SessionsSetup struct {
	Name      string
	Processes []int      // of each session: its process
	Scripts   [][]string // of each session: what it locks, a letter a mutex; in the end of each it gives all back
	Begin     []string   // of each session: what of its first script it holds at the beginning
	Detectors []int      // processes that look; all if none
	Deaths    int
	Mortal    []int // processes; all if none
	Cancels   bool
	Impatient []int // sessions whose contexts end; all if none
	Break     string
}

// sessions mirrors arena/session_wait.go, session_holdings.go, detector.go,
// suspicion.go and verdict.go: sessions lock mutexes one after the other, in
// orders that make circles, and show what they hold and wait for; each process
// with a session has a detector. A victim gives back what it holds and comes
// again. How one waits for a mutex is the mutex's model; what deadlock is the
// test of arena's graph: here all locks have one holder.
type sessions struct {
	Model
	setup   SessionsSetup
	scripts [][]string

	lock    []Addr // of each mutex: its owner word
	wait    []Addr
	holding [][]Addr // of each session: what it shows to hold
	verdict Addr

	// Private to processes.
	seq, round []Addr // of each session
	mu         []Addr // of each wait
	entered    []Addr // the wait that the detector knows of, until it is over
	convicted  []Addr
	stop       []Addr // why the wait is to end: see stopped

	// Ghosts.
	holder  []Addr // of each mutex: the session that holds it
	waiting []Addr // of each session: the mutex that it waits for
	doomed  Addr   // sessions that there is a verdict on
	excused []Addr // of each detector: who was deadlocked when that ended by itself
}

// What stop says.
const (
	byContext = 1
	byVerdict = 2
)

// shownWord is what a session waits for, or holds: see arena's sessionWord.
//
//	6   5    4 3   0
//	| V | lock | seq |
type shownWord uint64

const shownVictim shownWord = 1 << 6

func newShownWord(lock int, seq uint64) shownWord { return shownWord(lock+1)<<4 | shownWord(seq&15) }

func (w shownWord) lock() int      { return int(w>>4&3) - 1 }
func (w shownWord) seq() uint64    { return uint64(w & 15) }
func (w shownWord) isVictim() bool { return w&shownVictim != 0 }

// caseWord is arena's verdictWord.
//
//	15      8 7   4 3        0
//	| record | seq | verdicts |
type caseWord uint64

func (v caseWord) next(record int, w shownWord) caseWord {
	return caseWord(record+1)<<8 | caseWord(w.seq())<<4 | (v+1)&15
}

// closed is the word with the name taken out.
func (v caseWord) closed() caseWord { return (v + 1) & 15 }

func (v caseWord) record() int { return int(v>>8) - 1 }
func (v caseWord) seq() uint64 { return uint64(v >> 4 & 15) }

// NewSessions makes the model.
func NewSessions(setup SessionsSetup) *Model {
	x := &sessions{setup: setup}
	m := &x.Model
	m.Name = "sessions: " + setup.Name
	n, locks, most := len(setup.Scripts), 0, 0
	processes := 0
	for i, scripts := range setup.Scripts {
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("session %d", i+1), Process: setup.Processes[i], Program: x.session})
		processes = max(processes, setup.Processes[i]+1)
		for _, script := range scripts {
			most = max(most, len(script))
			for _, letter := range script {
				locks = max(locks, int(letter-'A')+1)
			}
		}
	}
	x.scripts = setup.Scripts
	for k := range processes {
		if len(setup.Detectors) > 0 && !slices.Contains(setup.Detectors, k) {
			continue
		}
		m.Actors = append(m.Actors, Thread{Name: fmt.Sprintf("detector %d", k+1), Process: k, Helper: true, Program: x.detector})
	}
	for i := range locks {
		x.lock = append(x.lock, m.ownerWord("mutex %s", letterOf(i)))
	}
	x.wait = m.words(n, "wait of session %d")
	for i := range n {
		var all []Addr
		for j := range most {
			all = append(all, m.word("holding %d of session %d", j+1, i+1))
		}
		x.holding = append(x.holding, all)
	}
	x.verdict = m.word("verdict")
	x.seq, x.round, x.mu = m.words(n, "seq of session %d"), m.words(n, "round of session %d"), m.words(n, "mu of session %d")
	x.entered, x.convicted, x.stop = m.words(n, "entered: session %d"), m.words(n, "convicted: session %d"), m.words(n, "stop: session %d")
	x.holder, x.waiting, x.doomed = m.words(locks, "holder of mutex %d"), m.words(n, "session %d waits"), m.word("doomed")
	x.excused = m.words(processes, "excused before detector %d")
	if setup.Cancels {
		for i := range n {
			if len(setup.Impatient) > 0 && !slices.Contains(setup.Impatient, i) {
				continue
			}
			m.Events = append(m.Events, Event{"the context ends of " + m.Actors[i].Name, func(s *State) bool { return x.cancel(s, i) }})
		}
	}
	m.Init = func(s *State) {
		for i, letters := range setup.Begin {
			for j, letter := range letters {
				l := int(letter - 'A')
				s.Mem[x.lock[l]], s.Mem[x.holder[l]] = x.self(i), uint64(i+1)
				s.Mem[x.seq[i]] = uint64(j + 1)
				s.Mem[x.holding[i][j]] = uint64(newShownWord(l, uint64(j+1)))
			}
		}
	}
	m.Deaths = setup.Deaths
	if len(setup.Mortal) > 0 {
		m.Mortal = func(process int) bool { return slices.Contains(setup.Mortal, process) }
	}
	m.Killed = x.killed
	m.Goal = m.AllIdle
	return m
}

func letterOf(lock int) string { return string(rune('A' + lock)) }

func (x *sessions) process(p *P) int { return x.Actors[p.Self].Process }

// self is the owner word of a session's mutexes: it says which process.
func (x *sessions) self(i int) uint64 { return uint64(selfOf(x.setup.Processes[i])) }

func (x *sessions) killed(s *State, k int) {
	x.excuse(s)
	for i, process := range x.setup.Processes {
		if process != k {
			continue
		}
		for _, at := range [][]Addr{x.seq, x.round, x.mu, x.entered, x.convicted, x.stop, x.waiting} {
			s.Mem[at[i]] = 0
		}
		s.Mem[x.doomed] &^= 1 << i
		for _, at := range x.holder {
			if s.Mem[at] == uint64(i+1) {
				s.Mem[at] = 0
			}
		}
	}
	s.Mem[x.excused[k]] = 0
}

func (x *sessions) cancel(s *State, i int) bool {
	if s.Mem[x.waiting[i]] == 0 || s.Mem[x.stop[i]] != 0 {
		return false
	}
	s.Mem[x.stop[i]] |= byContext
	return true
}

// deadlocked tells whether a session is in a deadlock in truth: it is in a
// circle of which nobody has given up, or is a victim.
func (x *sessions) deadlocked(s *State, i int) bool {
	at := i
	for range x.wait {
		if s.Mem[x.waiting[at]] == 0 || s.Mem[x.doomed]>>at&1 != 0 {
			return false
		}
		if at = int(s.Mem[x.holder[s.Mem[x.waiting[at]]-1]]) - 1; at < 0 || at == i {
			break
		}
	}
	return at == i
}

// excuse notes for all detectors who is deadlocked just before somebody gives
// up by himself, or is killed: a verdict that comes late then is in vain, and
// not wrong.
func (x *sessions) excuse(s *State) {
	for i := range x.wait {
		if x.deadlocked(s, i) {
			for _, at := range x.excused {
				s.Mem[at] |= 1 << i
			}
		}
	}
}

// session does its scripts, one after the other.
func (x *sessions) session(p *P) {
	i := p.Self
	for top := p.Mark(); ; p.Again(top) {
		round := int(p.Peek(x.round[i]))
		if round == len(x.scripts[i]) {
			return
		}
		script := x.scripts[i][round]
		held := 0
		if round == 0 && len(x.setup.Begin) > 0 {
			held = len(x.setup.Begin[i])
		}
		for held < len(script) {
			if p.Call(func() uint64 { return flag(x.lockMutex(p, i, int(script[held]-'A'), held)) }) == 0 {
				break
			}
			held++
		}
		for held--; held >= 0; held-- {
			p.Call(func() uint64 { x.unlock(p, i, int(script[held]-'A'), held); return 0 })
		}
		p.Do("is done", func(s *State) uint64 { s.Mem[x.round[i]]++; return 0 })
	}
}

func (x *sessions) lockMutex(p *P, i, l, held int) bool {
	if p.CAS(x.lock[l], 0, x.self(i)) {
		x.entered1(p, i, l)
	} else if p.Call(func() uint64 { return flag(x.waitFor(p, i, l)) }) == 0 {
		return false
	}
	seq := x.number(p, i)
	p.Store(x.holding[i][held], uint64(newShownWord(l, seq)))
	return true
}

// number is the next of the session's numbers, for its waits and holdings.
func (x *sessions) number(p *P, i int) uint64 {
	return p.Quiet(func(s *State) uint64 {
		if s.Mem[x.seq[i]]++; s.Mem[x.seq[i]] > 15 {
			panic(x.Name + ": the numbers of a session come round")
		}
		return s.Mem[x.seq[i]]
	})
}

func (x *sessions) entered1(p *P, i, l int) {
	p.Ghost(func(s *State) {
		if h := s.Mem[x.holder[l]]; h != 0 {
			p.Fail("session %d and %d both hold mutex %s", h, i+1, letterOf(l))
		}
		s.Mem[x.holder[l]], s.Mem[x.waiting[i]] = uint64(i+1), 0
	})
}

func (x *sessions) unlock(p *P, i, l, held int) {
	late := x.setup.Break == "a holding is covered after it was given back"
	if !late {
		p.Store(x.holding[i][held], 0)
	}
	if p.CAS(x.lock[l], x.self(i), 0) {
		p.Ghost(func(s *State) { s.Mem[x.holder[l]] = 0 })
	} else {
		p.Fail("session %d has lost mutex %s", i+1, letterOf(l))
	}
	if late {
		p.Store(x.holding[i][held], 0)
	}
}

// waitFor is the wait that detectors see; false if it was given up.
func (x *sessions) waitFor(p *P, i, l int) bool {
	word := p.Call(func() uint64 {
		p.Store(x.wait[i], 0)
		word := uint64(newShownWord(l, x.number(p, i)))
		p.Store(x.wait[i], word)
		p.Ghost(func(s *State) { s.Mem[x.entered[i]], s.Mem[x.waiting[i]] = word, uint64(l+1) })
		return word
	})
	got := p.Call(func() uint64 {
		for top := p.Mark(); ; p.Again(top) {
			w := robust.Word(p.Await("waits", func(s *State) bool {
				return s.Mem[x.stop[i]] != 0 || s.Mem[x.lock[l]] == 0 || x.ProcessDead(s, processOf(robustWord(s, x.lock[l]).Owner()))
			}, func(s *State) uint64 { return s.Mem[x.lock[l]] }))
			if w == 0 || p.Do("judges", func(s *State) uint64 { return flag(x.ProcessDead(s, processOf(w.Owner()))) }) != 0 {
				if p.CAS(x.lock[l], uint64(w), x.self(i)) {
					x.entered1(p, i, l)
					return 1
				}
				continue
			}
			if p.Do("looks whether to give up", func(s *State) uint64 {
				if s.Mem[x.stop[i]] != 0 {
					x.excuse(s)
					s.Mem[x.waiting[i]] = 0
				}
				return s.Mem[x.stop[i]]
			}) != 0 {
				return 0
			}
		}
	})
	p.Call(func() uint64 { x.end(p, i, shownWord(word)); return 0 })
	return got != 0
}

// end shows no wait any more.
func (x *sessions) end(p *P, i int, word shownWord) {
	convicted := p.Await("ends its wait", x.unlocked(i), func(s *State) uint64 {
		s.Mem[x.mu[i]] = 1
		s.Mem[x.entered[i]], s.Mem[x.waiting[i]] = 0, 0
		return s.Mem[x.convicted[i]]
	})
	p.Store(x.wait[i], 0)
	if convicted != 0 && x.setup.Break != "the verdict word keeps its name" {
		if v := caseWord(p.Load(x.verdict)); v.record() == i && v.seq() == word.seq() {
			p.CAS(x.verdict, uint64(v), uint64(v.closed()))
		}
	}
	p.Do("is over", func(s *State) uint64 {
		s.Mem[x.mu[i]], s.Mem[x.convicted[i]], s.Mem[x.stop[i]] = 0, 0, 0
		s.Mem[x.doomed] &^= 1 << i
		return 0
	})
}

func (x *sessions) unlocked(i int) func(*State) bool {
	return func(s *State) bool { return s.Mem[x.mu[i]] == 0 }
}
