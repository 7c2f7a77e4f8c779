package explore

import (
	"fmt"
	"strings"
	"time"
)

// Sums are what the explorations of each protocol came to, in the order in
// which the protocols were met.
type Sums struct {
	protocols []string
	sums      map[string]*sum
}

type sum struct {
	models, whole               int
	states, transitions, deaths int
	took                        time.Duration
}

func (s *sum) add(r Result) {
	s.models++
	if r.Complete {
		s.whole++
	}
	s.states += r.States
	s.transitions += r.Transitions
	s.deaths += r.Deaths
	s.took += r.Took
}

// Add counts a result to its protocol.
func (s *Sums) Add(r Result) {
	protocol, _, _ := strings.Cut(r.Model, ":")
	if s.sums == nil {
		s.sums = make(map[string]*sum)
	}
	if s.sums[protocol] == nil {
		s.protocols = append(s.protocols, protocol)
		s.sums[protocol] = &sum{}
	}
	s.sums[protocol].add(r)
}

// String has a line for each protocol, and one for all of them.
func (s *Sums) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-50s%6s %10s %11s %9s %12s %8s\n", "protocol", "models", "states", "transitions", "deaths", "seen whole", "seconds")
	line := func(name string, s *sum) {
		fmt.Fprintf(&b, "%-50s%6d %10d %11d %9d %12d %8.1f\n", name, s.models, s.states, s.transitions, s.deaths, s.whole, s.took.Seconds())
	}
	all := &sum{}
	for _, name := range s.protocols {
		one := s.sums[name]
		line(name, one)
		all.models += one.models
		all.whole += one.whole
		all.states += one.states
		all.transitions += one.transitions
		all.deaths += one.deaths
		all.took += one.took
	}
	line("all of them", all)
	return b.String()
}
