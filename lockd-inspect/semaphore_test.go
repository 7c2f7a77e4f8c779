package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"lockd/arena"
)

func TestSemaphoreLocks(t *testing.T) {
	before := folder
	folder = t.TempDir()
	t.Cleanup(func() { folder = before })
	path := filepath.Join(folder, "pool")
	a, err := arena.Open(path, &arena.Options{Label: "me"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s := a.Semaphore("gpu", 6)
	held, err := s.Acquire(context.Background(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.ReleaseSome(3); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := s.Acquire(ctx, 3)
		ended <- err
	}()
	eventually(t, "somebody waits", func() bool { return waitersOf(path, "gpu") == 1 })

	pid := os.Getpid()
	expect(t, fmt.Sprintf(`NAME  KIND       STATE   PID  WAITERS  TICKETS  TICKETS_HELD  TICKET_HOLDERS  QUEUE
gpu   semaphore  4 of 6  %d        1        6             4  %d:0-2,4       %d:3
`, pid, pid, pid), "pool", "-o", "name,kind,state,pid,waiters,tickets,tickets_held,ticket_holders,queue")
	_, stdout, _ := call(nil, "--json", "pool")
	var got struct {
		Locks []struct {
			Ticket_holders []struct {
				PID     int
				Label   string
				Alive   *bool
				Numbers []int
			}
			Queue []struct {
				PID, Tickets int
				Mode         string
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Locks) != 1 {
		t.Fatalf("%v in %s", err, stdout)
	}
	l := got.Locks[0]
	if len(l.Ticket_holders) != 1 || l.Ticket_holders[0].PID != pid || l.Ticket_holders[0].Label != "me" || len(l.Ticket_holders[0].Numbers) != 4 {
		t.Errorf("%s", stdout)
	}
	if len(l.Queue) != 1 || l.Queue[0].Mode != "tickets" || l.Queue[0].Tickets != 3 {
		t.Errorf("%s", stdout)
	}
	cancel()
	<-ended
	held.Release()
}
