//go:build lockd_crash

package arena

import (
	"context"
	"os"
	"testing"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// What a review by attack found in the rwmutex, in windows that are held open.
// TestRWWindows runs these.

func init() {
	rwActs["evict, and a reader comes"] = func(m *RWMutex) error {
		crash.Pause("evict.word", m.RLock)
		m.arena.core.retireIdle()
		return nil
	}
}

// The agent of those who wait is let in by another goroutine just before it
// sleeps. The nudge that tells it so must not go to the next agent.
func TestRWAgentFollowsAgent(t *testing.T) {
	a, m := testRW(t)
	m.RLock()
	m.RUnlock()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dying, writer := startRWCrashing(t, a, exe, "open.opened"), startRW(t, a)
	do(t, dying, "X")

	paused, resume := make(chan bool), make(chan bool)
	crash.Pause("read.sleep", func() {
		close(paused)
		<-resume
	})
	agent := goes(m.RLock)
	<-paused
	ctx, cancel := context.WithCancel(context.Background())
	second := goes(func() { m.RLockContext(ctx) })
	awaitReaders(t, m, 2)
	dying.Send("X-") // opens the gate, and dies before it lets them in
	dying.Wait()
	cancel() // the second finds the gate open, and lets both in
	<-second
	writer.Send("X")
	writer.Silent()
	third := goes(m.RLock)
	awaitReaders(t, m, 1)
	writer.Silent() // time for the ticker to look, and to find nothing new

	close(resume)
	select {
	case <-agent:
	case <-time.After(proc.Soon):
		t.Fatal("it sleeps though it was let in")
	}
	m.RUnlock()
	m.RUnlock()
	writer.Expect("ok")
	do(t, writer, "X-")
	<-third
	m.RUnlock()
}

// goes runs f; the channel is closed when it has returned.
func goes(f func()) <-chan bool {
	done := make(chan bool)
	go func() {
		defer close(done)
		f()
	}()
	return done
}

// awaitReaders returns when so many goroutines of this process wait to read.
func awaitReaders(t *testing.T, m *RWMutex, n uint32) {
	t.Helper()
	until(t, "readers wait", func() bool { return m.cell.loadReading().cell.load().waiting() == n })
}

// Who takes out the dead's readers is slow to tell the writer. Meanwhile the
// cell's record has come to hold tickets.
func TestRWSlowTeller(t *testing.T) {
	a, m := testRW(t)
	c := a.core
	awaitSettlers(t, c)
	victim := startRW(t, a)
	do(t, victim, "R")
	victim.Kill()
	m.ULock()
	index, s := m.binding().index, m.binding().slot
	cell := s.records.Load()
	m.UUnlock()

	tickets := a.Semaphore("tickets", 100)
	var writer <-chan bool
	crash.Pause("bury.closed", func() {
		c.settleDead()
		c.retireIdle()
		c.head.bump.Store(c.slotCount())
		c.head.hand.Store(index)
		m.ULock() // the name comes back to its slot
		reader := startRW(t, a)
		do(t, reader, "R")
		writer = goes(func() {
			if err := m.Upgrade(context.Background()); err != nil {
				t.Error(err)
			}
		})
		until(t, "the writer waits", func() bool { return robust.Word(s.state.Load()).Has(robust.Waiters) })
		c.head.recordHand.Store(cell - 1)
		if one, ok := tickets.TryAcquire(1); !ok {
			t.Error("no tickets")
		} else {
			one.Release()
		}
		t.Cleanup(func() {
			do(t, reader, "R-")
			<-writer
			m.Unlock()
		})
	})
	c.settleDead()
	if kind := kindOfRecord(c.recordAt(cell).owner.Load()); kind != recordTickets {
		t.Fatalf("record %d is of kind %d", cell, kind)
	}
	free := loadTickets(tickets.cell.binding().slot).free()
	words := &recordIs[ticketRecord](c, cell).words
	for k := range words {
		if w := ticketWord(words[k].Load()); w != free {
			t.Errorf("ticket %d is %#x, not free: %#x", k, w, free)
		}
	}
	if err := tickets.Destroy(context.Background()); err != nil {
		t.Error(err)
	}
}

// The name of a dead reader's cell is evicted just before the settler leaves
// the cell in its chain, for the next to use.
func TestRWEvictedMeanwhile(t *testing.T) {
	a, _ := testRW(t)
	c := a.core
	awaitSettlers(t, c)
	victim := startRW(t, a)
	do(t, victim, "R")
	victim.Kill()
	crash.Pause("settle.cell", c.retireIdle)
	c.settleDead()
	for i := uint32(1); i < segmentRecords; i++ {
		if owner := c.recordAt(i).owner.Load(); owner != 0 {
			t.Errorf("record %d is lost: its owner is %#x", i, owner)
		}
	}
}

// Who looks for idle names does not touch one that is being read: while it
// did, nobody else could read it.
func TestRWEvictorPassesReaders(t *testing.T) {
	a, m := testRW(t)
	m.RLock()
	touched := false
	crash.Pause("evict.word", func() { touched = true })
	a.core.retireIdle()
	m.RUnlock()
	if touched {
		t.Error("a name was taken out of reach while it was read")
	}
	a.core.retireIdle()
	if !touched {
		t.Error("an idle name was not evicted")
	}
}
