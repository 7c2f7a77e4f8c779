package explore

// What is explored of sessions and their detectors.

func sessionsSituations() []Situation {
	two, again, three := [][]string{{"AB"}, {"BA"}}, [][]string{{"AB", "AB"}, {"BA", "BA"}}, [][]string{{"AB"}, {"BC"}, {"CA"}}
	return []Situation{
		{NewSessions(SessionsSetup{Name: "2 sessions, 2 processes", Processes: []int{0, 1}, Scripts: two}), 8_000},
		{NewSessions(SessionsSetup{Name: "2 sessions, twice", Processes: []int{0, 1}, Scripts: again}), 8_000},
		{NewSessions(SessionsSetup{Name: "2 sessions of a process, twice", Processes: []int{0, 0}, Scripts: again}), 8_000},
		{NewSessions(SessionsSetup{Name: "2 sessions, contexts end", Processes: []int{0, 1}, Scripts: two, Cancels: true}), 8_000},
		{NewSessions(SessionsSetup{Name: "2 sessions, 1 death", Processes: []int{0, 1}, Scripts: two, Deaths: 1}), 8_000},
		{NewSessions(SessionsSetup{Name: "3 sessions, 3 processes", Processes: []int{0, 1, 2}, Scripts: three}), 8_000},
		{NewSessions(SessionsSetup{Name: "3 sessions, 2 processes, contexts end", Processes: []int{0, 0, 1}, Scripts: three, Cancels: true}), 8_000},
		{NewSessions(SessionsSetup{Name: "3 sessions, 2 circles, contexts end", Processes: []int{0, 1, 1}, Scripts: [][]string{{"AB"}, {"BA"}, {"BA"}}, Cancels: true}), 8_000},
		{NewSessions(SessionsSetup{Name: "3 sessions, 3 processes, 1 death", Processes: []int{0, 1, 2}, Scripts: three, Deaths: 1}), 8_000},
	}
}

func sessionsVariants(add addVariant) {
	variant := func(what string, s SessionsSetup) {
		if s.Scripts == nil {
			s.Scripts = [][]string{{"AB"}, {"BA"}}
		}
		if s.Processes == nil {
			s.Processes = []int{0, 1}
		}
		s.Name, s.Break = what, what
		broken := s
		s.Name, s.Break = "not: "+what, ""
		add("sessions", what, NewSessions(broken), NewSessions(s))
	}
	variant("no second look", SessionsSetup{Processes: []int{0, 1, 2}, Scripts: [][]string{{"A", "B"}, {"AB"}, {"B"}}, Begin: []string{"", "A", "B"}, Cancels: true, Impatient: []int{0}, Detectors: []int{1}})
	variant("verdicts have no order", SessionsSetup{})
	variant("nobody marks the last victim", SessionsSetup{})
	variant("the dead are not judged", SessionsSetup{Deaths: 1})
	variant("a verdict is given to the next wait", SessionsSetup{Scripts: [][]string{{"AB", "B"}, {"BA"}}, Cancels: true, Detectors: []int{0}})
}
