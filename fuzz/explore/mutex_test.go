package explore

import "testing"

func TestMutexScratch(t *testing.T) {
	for _, s := range []MutexSetup{
		{Name: "two, no death, no ticks", Goroutines: []int{1, 1}, Quiet: true},
		{Name: "two, kills", Goroutines: []int{1, 1}, Deaths: 1, Ticks: true},
		{Name: "three, no ticks", Goroutines: []int{1, 1, 1}, Quiet: true},
		{Name: "two in one, one beside", Goroutines: []int{2, 1}, Quiet: true},
		{Name: "two, cancel", Goroutines: []int{1, 1}, Quiet: true, Cancels: true},
	} {
		t.Log(NewMutex(s).Explore(1000000))
	}
}
