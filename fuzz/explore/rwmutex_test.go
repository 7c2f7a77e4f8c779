package explore

import "testing"

func TestRWMutexScratch(t *testing.T) {
	all := []string{"read", "write", "write, downgrade", "upgrade", "read, try upgrade"}
	for _, s := range []RWMutexSetup{
		{Name: "two", Processes: 2, Roles: all},
		{Name: "two, cancels", Processes: 2, Roles: all[:2], Cancels: true},
		{Name: "two, deaths", Processes: 2, Roles: all[:2], Deaths: 1, Ticks: true},
		{Name: "three", Processes: 3, Roles: all[:2]},
	} {
		t.Log(NewRWMutex(s).Explore(400000))
	}
}
