package explore

// What is explored of semaphores that change.

func sizesSituations() []Situation {
	return []Situation{
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, 1 to 2 tickets, resizing, no ticks", Processes: 2, Tickets: 2, Most: 1, Sizes: []int{1, 2}, Waits: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, destroying, no ticks", Processes: 2, Tickets: 1, Most: 1, Destroys: true, Last: 3}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, resizing, destroying, contexts end", Processes: 2, Tickets: 2, Most: 1, Sizes: []int{1, 2}, Waits: true, Destroys: true, Last: 2, Cancels: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "2 processes, resizing, destroying, 1 death", Processes: 2, Tickets: 2, Most: 1, Sizes: []int{1, 2}, Waits: true, Destroys: true, Last: 2, Deaths: 1, Ticks: true, Settle: true}), 8_000},
		{NewSemaphore(SemaphoreSetup{Name: "3 processes, destroying, no ticks", Processes: 3, Tickets: 1, Most: 1, Destroys: true, Last: 2}), 8_000},
	}
}

func sizesVariants(add addVariant) {
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
}
