package explore

import "testing"

func TestNamesScratch(t *testing.T) {
	for _, s := range []NamesSetup{
		{Name: "two, one slot", Processes: 2, Slots: 1, Names: 2, Last: 3, Fences: 2},
		{Name: "two, two slots", Processes: 2, Slots: 2, Names: 2, Last: 2, Fences: 1},
		{Name: "two, two slots, deaths", Processes: 2, Slots: 1, Names: 2, Last: 3, Fences: 2, Deaths: 1, Settle: true},
	} {
		t.Log(NewNames(s).Explore(200000))
	}
}
