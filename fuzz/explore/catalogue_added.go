package explore

// More situations and broken variants: ranges, sessions, robbery.

func rangesSituations() []Situation {
	two := [][]string{{"X0", "S0-1 X0"}, {"X1", "X0-1"}}
	readers := [][]string{{"S0 X0"}, {"S0"}, {"X0"}}
	return []Situation{
		{NewRanges(RangesSetup{Name: "2 processes, 2 places, no ticks", Scripts: two, Records: 6}), 8_000},
		{NewRanges(RangesSetup{Name: "the same, contexts end", Scripts: two, Records: 6, Cancels: true}), 8_000},
		{NewRanges(RangesSetup{Name: "2 processes, 3 places, parts, no ticks", Scripts: [][]string{{"X0-2 -1", "S0-2 X1"}, {"X1 S0", "S0-1"}}, Records: 8}), 8_000},
		{NewRanges(RangesSetup{Name: "3 processes, an upgrade, no ticks", Scripts: readers, Records: 8}), 8_000},
		{NewRanges(RangesSetup{Name: "2 processes, 2 places, 1 death, settling", Scripts: [][]string{{"X0-1 -0"}, {"X0-1"}}, Records: 7, Deaths: 1, Ticks: true, Settle: true}), 8_000},
		{NewRanges(RangesSetup{Name: "3 processes, 1 death", Scripts: [][]string{{"S0"}, {"S0"}, {"X0"}}, Records: 8, Deaths: 1, Ticks: true}), 8_000},
	}
}

func rangesVariants(add func(protocol, what string, broken, sound *Model)) {
	variant := func(what string, s RangesSetup) {
		s.Name, s.Break = what, what
		broken := s
		s.Name, s.Break = "not: "+what, ""
		add("ranges", what, NewRanges(broken), NewRanges(s))
	}
	one := [][]string{{"X0"}, {"X0"}}
	variant("no mending after a death", RangesSetup{Scripts: one, Records: 6, Deaths: 1, Ticks: true})
	variant("grants by a store", RangesSetup{Scripts: one, Records: 6, Cancels: true})
	variant("queues and is not counted", RangesSetup{Scripts: one, Records: 6})
	variant("leaves without granting what it has freed", RangesSetup{Scripts: one, Records: 6})
	variant("an upgrade goes beside other readers", RangesSetup{Scripts: [][]string{{"S0 X0"}, {"S0"}}, Records: 6})
	variant("conversions queue", RangesSetup{Scripts: [][]string{{"S0 X0"}, {"X0"}}, Records: 6})
	variant("the dead are buried by a store", RangesSetup{Scripts: [][]string{{"X0"}, {"X0"}, {"X0"}}, Records: 7, Deaths: 1, Ticks: true})
	variant("grants what waits for another name by now", RangesSetup{Scripts: [][]string{{"X0", "b:X0"}, {"b:X0 X0"}, {"X0"}}, Names: 2, Records: 8, Cancels: true, Hasty: true})
}

func sizesSituations() []Situation {
	return []Situation{
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, 1 to 2 tickets, resizing, no ticks", Processes: 2, Tickets: 2, Most: 1, Sizes: []int{1, 2}, Waits: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, destroying, no ticks", Processes: 2, Tickets: 1, Most: 1, Destroys: true, Last: 3}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, resizing, destroying, contexts end", Processes: 2, Tickets: 2, Most: 1, Sizes: []int{1, 2}, Waits: true, Destroys: true, Last: 2, Cancels: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, resizing, destroying, 1 death", Processes: 2, Tickets: 2, Most: 1, Sizes: []int{1, 2}, Waits: true, Destroys: true, Last: 2, Deaths: 1, Ticks: true, Settle: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "3 processes, destroying, no ticks", Processes: 3, Tickets: 1, Most: 1, Destroys: true, Last: 2}), 8_000},
	}
}

func sizesVariants(add func(protocol, what string, broken, sound *Model)) {
	variant := func(what string, s SemaphoreSetup) {
		s.Name, s.Break, s.Processes, s.Most = what, what, max(s.Processes, 2), 1
		s.Tickets = max(s.Tickets, 1)
		broken := s
		s.Name, s.Break = "not: "+what, ""
		add("semaphore", what, NewSemaphore(broken), NewSemaphore(s))
	}
	variant("the size changes before its tickets are made", SemaphoreSetup{Tickets: 2, Sizes: []int{2}, Deaths: 1, Ticks: true})
	variant("ends with a ticket out that is beyond the size", SemaphoreSetup{Tickets: 2, Sizes: []int{1, 2}, Destroys: true, Last: 2})
	variant("ends and does not answer who waits", SemaphoreSetup{Destroys: true, Last: 2})
	variant("the end answers who has withdrawn", SemaphoreSetup{Destroys: true, Last: 1, Cancels: true, Processes: 2})
	variant("a mender leaves closed what was closed", SemaphoreSetup{Tickets: 1, Destroys: true, Last: 2, Deaths: 1, Ticks: true})
}

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

func sessionsVariants(add func(protocol, what string, broken, sound *Model)) {
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

func robberySituations() []Situation {
	robber := func(users int) func(int) bool { return func(process int) bool { return process >= users } }
	return []Situation{
		{NewRobbery(RobberySetup{Name: "a process of 2, a robber", Goroutines: []int{2}, Robbers: 1, Robs: 2}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, a robber", Goroutines: []int{1, 1}, Robbers: 1, Robs: 2}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, 2 robbers", Goroutines: []int{1, 1}, Robbers: 2, Robs: 1}), 8_000},
		{NewRobbery(RobberySetup{Name: "processes of 2 and 1, the robber dies, settling", Goroutines: []int{2, 1}, Robbers: 1, Robs: 1, Deaths: 1, Mortal: robber(2), Settle: true}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, a robber, 2 deaths, settling", Goroutines: []int{1, 1}, Robbers: 1, Robs: 1, Deaths: 2, Settle: true}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, a robber, an eviction", Goroutines: []int{1, 1}, Robbers: 1, Robs: 1, Evictions: 1}), 8_000},
		{NewRobbery(RobberySetup{Name: "the same, 1 death, settling", Goroutines: []int{1, 1}, Robbers: 1, Robs: 1, Evictions: 1, Deaths: 1, Settle: true}), 8_000},
	}
}

func robberyVariants(add func(protocol, what string, broken, sound *Model)) {
	variant := func(what string, s RobberySetup) {
		s.Name, s.Break = what, what
		s.Robbers, s.Robs = 1, max(s.Robs, 1)
		broken := s
		s.Name, s.Break = "not: "+what, ""
		add("robbery", what, NewRobbery(broken), NewRobbery(s))
	}
	variant("the robbed bind anew", RobberySetup{Goroutines: []int{2}})
	variant("the slot stays in its generation", RobberySetup{Goroutines: []int{2}})
	variant("the robber tells nobody", RobberySetup{Goroutines: []int{1, 1}, Deaths: 1, Settle: true})
	variant("the heir of a robber passes nothing on", RobberySetup{Goroutines: []int{1, 1}, Deaths: 1, Settle: true})
	variant("hands over to who was settled", RobberySetup{Goroutines: []int{1, 1}, Deaths: 1, Settle: true})
	variant("who lets go does not notice that he was robbed", RobberySetup{Goroutines: []int{1, 1}, Deaths: 1, Mortal: func(process int) bool { return process == 0 }})
	variant("a slot with robberies is evicted", RobberySetup{Goroutines: []int{1, 1}, Evictions: 1})
}
