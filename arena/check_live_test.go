package arena

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// An arena in which names come and go all the time, because it is too small
// for them, is never called damaged.
func TestCheckLiveArena(t *testing.T) {
	path := filepath.Join(t.TempDir(), "arena")
	a, err := Open(path, &Options{MaxLocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var churning sync.WaitGroup
	stop := make(chan struct{})
	for g := range 4 {
		churning.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				m := a.Mutex(fmt.Sprintf("%0*d of %d", 1+i%200, i, g%2))
				m.Lock()
				m.Unlock()
			}
		})
	}
	defer churning.Wait()
	defer close(stop)
	reused := false
	for round := 0; round < 20 || !reused; round++ {
		s, err := ReadSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range s.Locks {
			reused = reused || l.Generation > 1
		}
		problems, err := Check(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if p.Severity == Damage {
				t.Error(p)
			}
		}
	}
}
