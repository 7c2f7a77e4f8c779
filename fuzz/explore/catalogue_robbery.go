package explore

// What is explored of robbery.

func robberySituations() []Situation {
	robber := func(users int) func(int) bool { return func(process int) bool { return process >= users } }
	return []Situation{
		{NewRobbery(RobberySetup{Name: "a process of 2, a robber", Goroutines: []int{2}, Robbers: 1, Robs: 2}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, a robber", Goroutines: []int{1, 1}, Robbers: 1, Robs: 2}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, 2 robbers", Goroutines: []int{1, 1}, Robbers: 2, Robs: 1}), 8_000},
		{NewRobbery(RobberySetup{Name: "a process of 2, the robber dies, settling", Goroutines: []int{2}, Robbers: 1, Robs: 1, Deaths: 1, Mortal: robber(1), Settle: true}), 25_000},
		{NewRobbery(RobberySetup{Name: "processes of 2 and 1, the robber dies, settling", Goroutines: []int{2, 1}, Robbers: 1, Robs: 1, Deaths: 1, Mortal: robber(2), Settle: true}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, a robber, 2 deaths, settling", Goroutines: []int{1, 1}, Robbers: 1, Robs: 1, Deaths: 2, Settle: true}), 8_000},
		{NewRobbery(RobberySetup{Name: "2 processes, a robber, an eviction", Goroutines: []int{1, 1}, Robbers: 1, Robs: 1, Evictions: 1}), 8_000},
		{NewRobbery(RobberySetup{Name: "the same, 1 death, settling", Goroutines: []int{1, 1}, Robbers: 1, Robs: 1, Evictions: 1, Deaths: 1, Settle: true}), 8_000},
	}
}

func robberyVariants(add addVariant) {
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
	variant("the robbed may release what is only passed on", RobberySetup{Goroutines: []int{2}, Deaths: 1, Mortal: func(process int) bool { return process == 1 }, Settle: true})
	variant("who lets go does not notice that he was robbed", RobberySetup{Goroutines: []int{1, 1}, Deaths: 1, Mortal: func(process int) bool { return process == 0 }})
}
