package explore

// What is explored of ranges.

func rangesSituations() []Situation {
	two := [][]string{{"X0", "S0-1 X0"}, {"X1", "X0-1"}}
	readers := [][]string{{"S0 X0"}, {"S0"}, {"X0"}}
	return []Situation{
		{NewRanges(RangesSetup{Name: "2 processes, 2 places, no ticks", Scripts: two, Records: 6}), 8_000},
		{NewRanges(RangesSetup{Name: "the same, contexts end", Scripts: two, Records: 6, Cancels: true}), 8_000},
		{NewRanges(RangesSetup{Name: "2 processes, 3 places, parts, no ticks", Scripts: [][]string{{"X0-2 -1", "S0-2 X1"}, {"X1 S0", "S0-1"}}, Records: 8}), 8_000},
		{NewRanges(RangesSetup{Name: "3 processes, an upgrade, no ticks", Scripts: readers, Records: 8}), 8_000},
		{NewRanges(RangesSetup{Name: "2 processes, 2 names, contexts end, no ticks", Scripts: [][]string{{"X0", "b:X0"}, {"b:X0 X0"}}, Names: 2, Records: 6, Cancels: true}), 8_000},
		{NewRanges(RangesSetup{Name: "2 processes, late for the latch, no ticks", Scripts: [][]string{{"X0", "S0"}, {"S0 X0"}}, Records: 6, Late: true}), 8_000},
		{NewRanges(RangesSetup{Name: "2 processes, 2 places, 1 death, settling", Scripts: [][]string{{"X0-1 -0"}, {"X0-1"}}, Records: 7, Deaths: 1, Ticks: true, Settle: true}), 8_000},
		{NewRanges(RangesSetup{Name: "3 processes, 1 death", Scripts: [][]string{{"S0"}, {"S0"}, {"X0"}}, Records: 8, Deaths: 1, Ticks: true}), 8_000},
	}
}

func rangesVariants(add addVariant) {
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
	variant("the dead are buried by a store", RangesSetup{Scripts: one, Records: 4, Deaths: 1, Mortal: func(process int) bool { return process == 0 }, Ticks: true})
}
