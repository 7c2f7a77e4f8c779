package arena

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"lockd/internal/proc"
	"lockd/robust"
)

// A table full of locks in use says so, with counts; nothing is half-inserted;
// and it serves again as soon as one is free.
func TestTableFull(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	ctx := context.Background()
	const slots = segmentSlots - 1
	other := startActor(t, a.Path(), "other", atMost(1))
	other.must("held", "hold 0 20 theirs")
	for i := range slots - 20 {
		a.Mutex("ours" + strconv.Itoa(i)).Lock()
	}

	long := strings.Repeat("x", inlineName+1)
	isFull := func(name string, says ...string) {
		t.Helper()
		err := a.Mutex(name).LockContext(ctx)
		if !errors.Is(err, ErrTableFull) {
			t.Fatalf("lock %.20q: %v", name, err)
		}
		for _, s := range append(says, a.Path(), strconv.Itoa(slots)+" slots", "MaxLocks") {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%q does not say %q", err, s)
			}
		}
		if a.Mutex(name).TryLock() {
			t.Errorf("TryLock of %.20q took it", name)
		}
		if err := recovered(a.Mutex(name).Lock); !errors.Is(err, ErrTableFull) {
			t.Errorf("Lock panics with: %v", err)
		}
	}
	isFull("one more", fmt.Sprintf("%d held and 0 abandoned", slots))
	isFull(long)
	if got := other.ask("within 100000 one more"); !strings.Contains(got, ErrTableFull.Error()) {
		t.Errorf("another process, of a full table: %s", got)
	}
	if err := a.wholeAndHeld(slots); err != nil {
		t.Error(err)
	}

	// One slot is enough for a short name, not for a long one.
	a.Mutex("ours0").Unlock()
	isFull(long)
	if err := a.Mutex("one more").LockContext(ctx); err != nil {
		t.Fatalf("with one name idle: %v", err)
	}
	isFull("ours0")
	a.Mutex("ours1").Unlock()
	a.Mutex("one more").Unlock()
	if err := a.Mutex(long).LockContext(ctx); err != nil {
		t.Fatalf("with two names idle: %v", err)
	}
	a.Mutex(long).Unlock()

	// What the dead held is theirs no more, but somebody must repair it first.
	other.Kill()
	for _, name := range []string{"ours0", "ours1"} {
		a.Mutex(name).Lock()
	}
	isFull("one more", fmt.Sprintf("%d held and 20 abandoned", slots-20))
	heir := a.Mutex("theirs7")
	heir.Lock()
	if d, ok := heir.Abandoned(); !ok || d.PID != other.PID() {
		t.Errorf("heir is told %v, %v", d, ok)
	}
	heir.MarkConsistent()
	heir.Unlock()
	if err := a.Mutex("one more").LockContext(ctx); err != nil {
		t.Fatalf("with one name repaired: %v", err)
	}
	a.Mutex("one more").Unlock()
	// A larger limit helps at once.
	startActor(t, a.Path(), "larger", atMost(2*segmentSlots)).must("held", "hold 0 100 larger")
	a.Mutex("here too").Lock()
}

// Many processes that need the last few slots all the time get them.
func TestNearlyFullTable(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{MaxLocks: 1, Logger: quiet})
	const processes, free = 4, 24
	for i := range segmentSlots - 1 - free {
		a.Mutex("held" + strconv.Itoa(i)).Lock()
	}
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	var all []*proc.Proc
	for i := range processes {
		p := proc.Start(t, "churner", []string{a.Path(), strconv.Itoa(i), strconv.Itoa(rounds)})
		p.Expect("ready")
		all = append(all, p)
	}
	for _, p := range all {
		p.Send("go")
	}
	for _, p := range all {
		p.Expect("done")
	}
	for i := range segmentSlots - 1 - free {
		a.Mutex("held" + strconv.Itoa(i)).Unlock()
	}
}

func init() {
	roles["churner"] = func(args []string) {
		a := reopen(args[0], &Options{MaxLocks: 1, Logger: quiet})
		rounds, _ := strconv.Atoi(args[2])
		proc.Say("ready")
		proc.Hear()
		for i := range rounds {
			m := a.Mutex(fmt.Sprint("churn", args[1], " ", i))
			if err := m.LockContext(context.Background()); err != nil {
				proc.Say("round %d: %v", i, err)
				os.Exit(1)
			}
			m.Unlock()
		}
		proc.Say("done")
	}
}

// A thousand members, all of whom live as far as anybody can tell: their
// bytes are locked through a second open file description, and their entries
// are written by hand.
func TestMemberTableFull(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	f, err := openExisting(path)
	if err != nil {
		t.Fatal(err)
	}
	closing := sync.OnceFunc(func() { f.Close() })
	defer closing()
	bytes := gateOf(f)
	for i := uint16(1); i <= memberLimit; i++ {
		if i == a.core.member.Index {
			continue
		}
		if err := bytes.Lock(int(i)); errors.Is(err, robust.ErrNoOFD) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		m := a.core.memberAt(i)
		m.state.Store(uint64(newMemberState(1, phaseLive, 0, 1<<21)))
	}

	late := proc.Start(t, "creator", nil)
	late.Expect("ready")
	isFull := func() {
		t.Helper()
		late.Send("%s", path)
		got := late.Next()
		for _, s := range []string{ErrMembersFull.Error(), path, strconv.Itoa(memberLimit)} {
			if !strings.Contains(got, s) {
				t.Fatalf("a thousand and first member: %q does not say %q", got, s)
			}
		}
		for i := uint16(memberLimit + 1); i < memberEntries; i++ {
			if state := memberState(a.core.memberAt(i).state.Load()); state.phase() != phaseFree {
				t.Fatalf("entry %d was left in phase %d", i, state.phase())
			}
		}
	}
	isFull()
	isFull()

	// One that leaves makes room for one.
	a.Mutex("shared").Lock()
	if err := a.Close(); !errors.Is(err, ErrWasHeld) {
		t.Fatal(err)
	}
	late.Send("%s", path)
	if got := late.Next(); strings.Contains(got, "arena") {
		t.Fatalf("with one place free: %s", got)
	}
	second := proc.Start(t, "creator", nil)
	second.Expect("ready")
	second.Send("%s", path)
	if got := second.Next(); !strings.Contains(got, ErrMembersFull.Error()) {
		t.Fatalf("with all places taken again: %s", got)
	}

	// The dead are settled by whoever finds the table full.
	closing()
	second.Send("%s", path)
	if got := second.Next(); strings.Contains(got, "arena") {
		t.Fatalf("with all others dead: %s", got)
	}
	// The other one's pass may have made the room, and be under way still.
	until(t, "only two are members", func() bool {
		s, err := ReadSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		return len(s.Members) == 2
	})
}
