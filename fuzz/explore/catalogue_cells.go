package explore

// What is explored of the cells of readers.

var (
	readsAndEvicts = []string{"read", "evict"}
	cellsHeirs     = [][]string{{"read"}, {"read", "settle"}, {"write"}}
)

func cellsMortal(process int) bool { return process == 0 }

func cellsSituations() []Situation {
	return []Situation{
		{NewCells(CellsSetup{Name: "2 processes, 2 names", Processes: 2, Records: 4, Last: 2, Roles: [][]string{readsAndEvicts, {"read", "write"}}}), 8_000},
		{NewCells(CellsSetup{Name: "3 processes, 2 names", Processes: 3, Records: 5, Last: 2, Roles: [][]string{{"read"}, readsAndEvicts, {"write"}}}), 8_000},
		{NewCells(CellsSetup{Name: "3 processes, 1 death, settling", Processes: 3, Records: 5, Last: 1, Roles: cellsHeirs, Deaths: 1, Mortal: cellsMortal}), 8_000},
		{NewCells(CellsSetup{Name: "2 processes, 2 names, 1 death, settling", Processes: 2, Records: 4, Last: 2, Roles: [][]string{{"read", "evict"}, {"read", "evict", "write", "settle"}}, Deaths: 1, Mortal: cellsMortal}), 8_000},
		{NewCells(CellsSetup{Name: "3 processes, 2 names, 1 death, settling", Processes: 3, Records: 5, Last: 2, Roles: [][]string{readsAndEvicts, {"read", "settle"}, {"evict", "write"}}, Deaths: 1, Mortal: cellsMortal}), 8_000},
	}
}

func cellsVariants(add addVariant) {
	variant := func(what string, s CellsSetup) {
		s.Processes = len(s.Roles)
		broken := s
		broken.Name, broken.Break = what, what
		s.Name = "not: " + what
		add("cells", what, NewCells(broken), NewCells(s))
	}
	names := CellsSetup{Records: 3, Last: 2, Roles: [][]string{{"read"}, readsAndEvicts}}
	heirs := CellsSetup{Records: 3, Last: 1, Roles: cellsHeirs, Deaths: 1, Mortal: cellsMortal}
	cut := CellsSetup{Records: 3, Last: 2, Roles: [][]string{{"evict"}, {"read"}}, Deaths: 1, Mortal: cellsMortal}
	variant("a cell is freed while somebody has it in hand", names)
	variant("cells are closed though somebody reads", names)
	variant("the dead are subtracted whose cell it is by then", heirs)
	variant("who moves in keeps the epoch", heirs)
	variant("a cell of the dead is freed where it is", heirs)
	variant("who could not evict leaves cells closed", names)
	variant("no rebuild after a death", cut)
}
