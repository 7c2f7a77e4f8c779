package arena

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// Deaths of readers and writers that no pidfd tells of.

func init() {
	rwActs["exec"] = func(*RWMutex) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		os.Setenv(roleVariable, "executed")
		return unix.Exec(exe, []string{exe}, os.Environ())
	}
}

// A holder in each mode becomes another program, under the same pid.
func TestRWHolderExecs(t *testing.T) {
	needDeath(t)
	a, m := testRW(t)
	for _, held := range modes {
		p := startRW(t, a)
		do(t, p, held.name)
		wait := proc.MustBlock(t, "Lock", m.Lock)
		p.Send("exec")
		p.Expect("executed")
		wait()
		if d, abandoned := m.Abandoned(); abandoned != (held.name == "X") || abandoned && d.PID != p.PID() {
			t.Errorf("%s: abandoned %v, %+v", held.name, abandoned, d)
		}
		m.MarkConsistent()
		m.Unlock()
		p.Kill()
	}
}

// A member in another pid namespace is neither taken for dead nor missed when
// it dies, whichever of the two holds, and in whichever mode.
func TestRWTwoPIDNamespaces(t *testing.T) {
	needDeath(t)
	a, m := testRW(t)
	for _, held := range modes {
		l := launchNamespaced(t, "rw-actor", []string{a.Path()}, unix.CLONE_NEWPID)
		p := startRW(t, a)
		do(t, p, held.name)
		answer := make(chan string)
		go func() { answer <- l.ask("X") }()
		p.Silent()
		select {
		case line := <-answer:
			t.Fatalf("inside, beside %s outside: %s", held.name, line)
		default:
		}
		p.Kill()
		if line := <-answer; line != "ok" {
			t.Fatal(line)
		}
		if line := l.ask("X-") + l.ask(held.name); line != "okok" {
			t.Fatal(line)
		}
		wait := proc.MustBlock(t, "Lock", m.Lock)
		l.die()
		wait()
		if _, abandoned := m.Abandoned(); abandoned != (held.name == "X") {
			t.Errorf("%s: abandoned %v", held.name, abandoned)
		}
		m.MarkConsistent()
		m.Unlock()
		l.end()
	}
}

// Who waits for room for a cell is told when the arena is closed.
func TestCloseWhileWaitingForCells(t *testing.T) {
	a, err := Open(testPath(t), &Options{Logger: quiet, MaxLocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	m, c := a.RWMutex("m"), a.core
	m.Lock() // so that it is bound
	m.Unlock()
	for c.claimFreshRecord() != 0 {
	}
	before := c.head.hand.Load()
	waited := make(chan error)
	go func() { waited <- m.RLockContext(context.Background()) }()
	until(t, "it looks for room", func() bool { return c.head.hand.Load() != before })
	closed := make(chan error)
	go func() { closed <- a.Close() }()
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Errorf("who waited is told: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

// A reader is seen though his cell is at the end of a chain that is longer than
// what this process knows to have records.
func TestReaderAtTheEndOfALongChain(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet, MaxLocks: 2 * segmentSlots})
	m, c := a.RWMutex("it"), a.core
	m.Lock() // so that it is bound
	m.Unlock()
	reader := startRW(t, a)
	do(t, reader, "R")
	if grown, err := c.grow(t.Context(), c.segments()); !grown {
		t.Fatal(err)
	}
	b := m.binding()
	for range segmentRecords + 100 { // as those leave that were there before
		i := c.claimAnyRecord(recordReaders)
		r := c.recordAt(i)
		r.slot.Store(b.index)
		r.generation.Store(b.generation)
		r.counts.Store(0)
		r.next.Store(b.slot.records.Load())
		r.owner.Store(vacantCell(b.generation))
		b.slot.records.Store(i)
	}
	c.mapped.Load().usable.Store(fileSize(1))
	if m.TryLock() {
		t.Error("held exclusively, beside a reader")
		m.Unlock()
	}
	do(t, reader, "R-")
	m.Lock()
	m.Unlock()
}
