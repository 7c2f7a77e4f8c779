package explore

import "testing"

func TestSemaphoreScratch(t *testing.T) {
	for _, s := range []SemaphoreSetup{
		{Name: "two, one ticket", Processes: 2, Tickets: 1, Most: 1},
		{Name: "two, two tickets", Processes: 2, Tickets: 2, Most: 2},
	} {
		t.Log(NewSemaphore(s).Explore(800000))
	}
}
