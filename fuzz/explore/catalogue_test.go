package explore

import (
	"sync"
	"testing"
)

// TestSituations is the short form of make explore: the beginnings of each
// model, whole if it is small.
func TestSituations(t *testing.T) {
	for _, s := range Situations() {
		t.Run(s.Model.Name, func(t *testing.T) {
			limit := s.Short
			if testing.Short() {
				limit /= 4
			}
			r := s.Model.Explore(limit)
			t.Log(r)
			if r.Violation != "" {
				t.Error(r.Violation)
			}
			if r.States < min(limit, 1000) {
				t.Errorf("only %d states: the model is stuck", r.States)
			}
		})
	}
}

// soundStates is in how many states of a variant's situation the sound protocol
// must not be found out.
const soundStates = 6_000

func TestVariants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	var mu sync.Mutex
	for _, v := range Variants() {
		t.Run(v.Protocol+"/"+v.Break, func(t *testing.T) {
			t.Parallel()
			found := v.Find(VariantStates)
			sound := v.Sound.Explore(min(found.States, soundStates))
			mu.Lock()
			defer mu.Unlock()
			t.Log(found)
			if found.Violation == "" || len(found.Trace) == 0 {
				t.Error("not found out")
			}
			if sound.Violation != "" {
				t.Errorf("the sound protocol is found out too: %v", sound)
			}
		})
	}
}
