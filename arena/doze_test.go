package arena

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/futex"
	"lockd/internal/feature"
	"lockd/internal/proc"
	"lockd/robust"
)

func init() { roles["eater"] = eatWake }

// eatWake sleeps at a lock's word, and is killed by the wake that it gets:
// arena, lock.
func eatWake(args []string) {
	a := reopen(args[0], quietly("eater"))
	m := a.Mutex(args[1])
	m.TryLock() // to look it up: it is held
	word := &m.binding().slot.word
	proc.Say("ready")
	for {
		if futex.Wait(futex.Low(word), robust.Word(word.Load()).Low(), 0) == nil {
			unix.Kill(unix.Getpid(), unix.SIGKILL)
		}
	}
}

// dozingArena is for tests of those who doze, which takes what tells of deaths
// and sleeps without a bound.
func dozingArena(t *testing.T) *Arena {
	t.Helper()
	if feature.PidfdOpen.Off() || !futex.HasWaitAny() {
		t.Skip("no pidfds, or no futex_waitv, so nobody dozes")
	}
	return testArena(t, quietly("parent"))
}

// awaitDoze waits until those who wait for a lock look seldom.
func awaitDoze(t *testing.T, m *Mutex) {
	t.Helper()
	until(t, "who waits for "+m.Name()+" dozes", func() bool {
		return robust.Word(m.binding().slot.word.Load()).Has(robust.Dozing | robust.Waiters)
	})
}

// The wake goes first to one who is killed by it. Who has waited long behind
// him is woken too, and needs no tick.
func TestKilledWaiterBeforeDozer(t *testing.T) {
	a := dozingArena(t)
	m := a.Mutex("bed")
	m.Lock()
	proc.Start(t, "eater", []string{a.Path(), m.Name()}).Expect("ready")
	sleeper := proc.Start(t, "sleeper", []string{a.Path(), m.Name()})
	sleeper.Expect("ready")
	sleeper.Send("lock")
	awaitDoze(t, m)
	m.Unlock()
	if err := allHadIt([]*proc.Proc{sleeper}); err != nil {
		t.Errorf("word %#x: %v", m.binding().slot.word.Load(), err)
	}
}

// The owner's death is told to those who have waited long, and so is the
// heir's: by then they know of him.
func TestDozersInherit(t *testing.T) {
	a := dozingArena(t)
	m := a.Mutex("bed")
	m.TryLock() // to look it up
	m.Unlock()
	var all []*proc.Proc
	for i := range 3 {
		p := proc.Start(t, "actor", []string{a.Path(), fmt.Sprintf("actor %d", i)})
		p.Expect("ready")
		p.Send("lock bed")
		if i == 0 {
			p.Expect("held")
		}
		all = append(all, p)
	}
	awaitWaiters(t, m, all[1:])
	awaitDoze(t, m)
	all[0].Kill()
	heir, last := all[1], all[2]
	select {
	case line := <-heir.Lines():
		expectHeirOf(t, line, all[0])
	case line := <-last.Lines():
		expectHeirOf(t, line, all[0])
		heir, last = last, heir
	case <-time.After(proc.Soon):
		t.Fatal("nobody got the lock")
	}
	heir.Kill()
	expectHeirOf(t, last.Next(), heir)
}

// Where sleeps are bounded, and so begin again and again, nobody dozes.
func TestNobodyDozesInBoundedSleeps(t *testing.T) {
	a := dozingArena(t)
	owner := startActor(t, a.Path(), "owner")
	owner.must("held", "lock bed")
	m := a.Mutex("bed")
	m.TryLock() // to look it up
	s := m.binding().slot
	agent := &waiter{since: futex.Now() - 2*int64(dozeAfter)}
	doze := func() bool {
		w := robust.Word(s.word.Or(uint64(robust.Waiters))) | robust.Waiters
		return a.core.doze(&queue{slot: s}, w, agent)
	}
	restore := feature.FutexWaitv.SetOff(true)
	without := doze()
	restore()
	if without || robust.Word(s.word.Load()).Has(robust.Dozing) {
		t.Error("it dozes without futex_waitv")
	}
	if !doze() || !robust.Word(s.word.Load()).Has(robust.Dozing) {
		t.Error("it does not doze with futex_waitv")
	}
}

func expectHeirOf(t *testing.T, line string, dead *proc.Proc) {
	t.Helper()
	if !strings.HasPrefix(line, fmt.Sprintf("heir of %d ", dead.PID())) {
		t.Fatalf("said %q, not that it is the heir of %d", line, dead.PID())
	}
}
