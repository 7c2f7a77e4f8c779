package arena

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/proc"
)

func init() {
	// rw-duelist: arena, stage, "R" or "X". It comes and goes as fast as it can
	// until it is told to stop, or meets whom it must not.
	roles["rw-duelist"] = func(args []string) {
		a := reopen(args[0], &Options{Logger: quiet})
		m, e := a.RWMutex("it"), openStage(args[1]).at(0)
		orders := orders()
		proc.Say("on")
		turns, met := 0, 0
		for met == 0 {
			for range 100 {
				if args[2] == "R" {
					m.RLock()
					e.readers.Add(1)
					met += int(e.writers.Load())
					e.readers.Add(-1)
					m.RUnlock()
				} else {
					m.Lock()
					e.writers.Store(1)
					futex.Pause(2)
					met += int(e.readers.Load())
					e.writers.Store(0)
					m.Unlock()
				}
				turns++
			}
			select {
			case <-orders:
				proc.Say("met %d", met)
				proc.Say("%d turns", turns)
				a.Close()
				return
			default:
			}
		}
		proc.Say("met %d", met)
		<-orders
	}
}

// A reader and a writer that do nothing but come and go never meet: the window
// between a reader's two looks is some nanoseconds wide.
func TestRWDuel(t *testing.T) {
	path := testPath(t)
	stagePath := filepath.Join(filepath.Dir(path), "stage")
	unix.Munmap(openStage(stagePath).raw)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var duelists []*proc.Proc
	for _, way := range []string{"R", "X"} {
		duelists = append(duelists, proc.Start(t, "rw-duelist", []string{path, stagePath, way}))
	}
	for _, p := range duelists {
		p.Expect("on")
	}
	lasting := 10 * time.Second
	if testing.Short() {
		lasting /= 10
	}
	select {
	case line := <-duelists[0].Lines():
		t.Errorf("the reader: %s", line)
	case line := <-duelists[1].Lines():
		t.Errorf("the writer: %s", line)
	case <-time.After(lasting):
		for _, p := range duelists {
			p.Send("stop")
			p.Expect("met 0")
			t.Log(p.Next())
		}
	}
}
