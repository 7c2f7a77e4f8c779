package arena

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"lockd/internal/proc"
	"lockd/robust"
)

func init() {
	roles["owner"] = ownUntilKilled
	roles["heir"] = inherit
}

// ownUntilKilled takes a lock and waits for its end: arena, label, lock. Told
// "crowded" it has goroutines of its own waiting too.
func ownUntilKilled(args []string) {
	a := reopen(args[0], quietly(args[1]))
	m := a.Mutex(args[2])
	l, err := openLedger(args[0])
	if err != nil {
		proc.Say("ledger: %v", err)
		return
	}
	orders := orders()
	proc.Say("ready")
	for order := range orders {
		m.Lock()
		l.store(ledgerOccupant, uint64(os.Getpid()))
		if order == "crowded" {
			for range 3 {
				go m.Lock()
			}
			for !robust.Word(m.binding().slot.word.Load()).Has(robust.Local) {
				runtime.Gosched()
			}
		}
		proc.Say("held")
	}
}

// inherit takes a lock each time it is told to, says what it was told of the
// owner before and whom it found inside, and stays until the parent has looked:
// arena, label, lock.
func inherit(args []string) {
	a := reopen(args[0], quietly(args[1]))
	m := a.Mutex(args[2])
	l, err := openLedger(args[0])
	if err != nil {
		proc.Say("ledger: %v", err)
		return
	}
	orders := orders()
	proc.Say("ready")
	for <-orders == "lock" {
		m.Lock()
		inside := l.load(ledgerOccupant)
		l.store(ledgerOccupant, uint64(os.Getpid()))
		proc.Say("%v", noticeOf(m, inside))
		if <-orders == "mark" {
			if err := m.MarkConsistent(); err != nil {
				proc.Say("mark: %v", err)
			}
		}
		if l.load(ledgerOccupant) != uint64(os.Getpid()) {
			proc.Say("not alone")
		}
		l.store(ledgerOccupant, 0)
		m.Unlock()
	}
	a.Close()
}

// notice is what a new owner knows.
type notice struct {
	inside uint64 // who had not left the section
	told   bool
	Death
}

func noticeOf(m *Mutex, inside uint64) notice {
	d, told := m.Abandoned()
	return notice{inside, told, d}
}

func (n notice) String() string {
	return fmt.Sprintf("got %d %t %d %d %d %d %q", n.inside, n.told, n.PID, n.When.UnixNano(), n.Cause, n.Count, n.Label)
}

func parseNotice(line string) (n notice, ok bool) {
	var when int64
	ok = scan(line, "got %d %t %d %d %d %d %q", &n.inside, &n.told, &n.PID, &when, &n.Cause, &n.Count, &n.Label)
	n.When = time.Unix(0, when)
	return n, ok
}

// said is a line of one of several processes.
type said struct {
	by   *proc.Proc
	line string
}

// family is a lock with heirs waiting for it, and a supply of owners to kill.
type family struct {
	t      *testing.T
	mutex  *Mutex // the parent's handle
	ledger ledger
	owners *supply
	heirs  []*proc.Proc
	speech chan said
	deaths int
}

func newFamily(t *testing.T, heirs int, options ...proc.Option) *family {
	path := testPath(t)
	a, err := Open(path, quietly("parent"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	f := &family{t: t, mutex: a.Mutex("estate"), ledger: testLedger(t, path), speech: make(chan said, heirs)}
	f.owners = newSupply(3, func(n int) *proc.Proc {
		return proc.Start(t, "owner", []string{path, labelOf("owner", n), "estate"}, options...)
	})
	for i := range heirs {
		f.heirs = append(f.heirs, proc.Start(t, "heir", []string{path, labelOf("heir", i), "estate"}, options...))
	}
	for _, p := range f.heirs {
		p.Expect("ready")
		go func() {
			for line := range p.Lines() {
				f.speech <- said{p, line}
			}
		}()
	}
	f.mutex.Lock()
	f.mutex.Unlock()
	return f
}

func labelOf(role string, n int) string { return role + " " + strconv.Itoa(n) }

// own makes the next owner take the lock, and all heirs wait for it.
func (f *family) own() (owner *proc.Proc, label string) {
	f.t.Helper()
	label = labelOf("owner", f.owners.made-len(f.owners.ready))
	owner = f.owners.next()
	owner.Send([]string{"alone", "crowded"}[f.deaths%2])
	owner.Expect("held")
	for _, p := range f.heirs {
		p.Send("lock")
	}
	awaitWaiters(f.t, f.mutex, f.heirs)
	return owner, label
}

// kill kills an owner and says what its heir has to be told.
func (f *family) kill(owner *proc.Proc, label string) notice {
	f.deaths++
	when := time.Now()
	owner.Kill()
	return notice{uint64(owner.PID()), true, Death{PID: owner.PID(), Label: label, When: when, Cause: Died, Count: f.deaths}}
}

// next is the next heir's notice; there must not be another as long as this
// one has not been sent on.
func (f *family) next() (*proc.Proc, notice) {
	f.t.Helper()
	var s said
	select {
	case s = <-f.speech:
	case <-time.After(proc.Soon):
		f.t.Fatalf("no heir %v after the owner's death; the word is %#x", proc.Soon, f.mutex.binding().slot.word.Load())
	}
	n, ok := parseNotice(s.line)
	if !ok {
		f.t.Fatalf("heir %d: %s", s.by.PID(), s.line)
	}
	f.mustBeAlone()
	return s.by, n
}

func (f *family) mustBeAlone() {
	f.t.Helper()
	select {
	case s := <-f.speech:
		f.t.Fatalf("process %d too: %s", s.by.PID(), s.line)
	default:
	}
}

// clockSlack allows for a clock that is set while the test runs.
const clockSlack = 10 * time.Second

func (n notice) check(t *testing.T, want notice) {
	t.Helper()
	if early, late := want.When.Add(-clockSlack), time.Now().Add(clockSlack); n.told && (n.When.Before(early) || n.When.After(late)) {
		t.Fatalf("death at %v, reported as of %v", want.When, n.When)
	}
	n.When = want.When
	if !want.told {
		n.When, want.Death = time.Time{}, Death{}
	}
	if n != want {
		t.Fatalf("the heir knows  %v\nit should know  %v", n, want)
	}
}

// inheritance kills an owner so many times. Every second time the first heir
// marks what it protects as consistent; else all that come after are told too.
func (f *family) inheritance(rounds int) {
	for round := range rounds {
		owner, label := f.own()
		want := f.kill(owner, label)
		mark := round%2 == 0
		if len(f.heirs) == 0 {
			f.inheritHere(want, mark)
			continue
		}
		for i := range f.heirs {
			p, got := f.next()
			got.check(f.t, want)
			if round == 0 && i == 0 {
				time.Sleep(proc.StillBlocks) // a second heir would show
			}
			f.mustBeAlone()
			want.inside = 0
			if mark || i == len(f.heirs)-1 {
				want.told = false
				p.Send("mark")
			} else {
				p.Send("leave")
			}
		}
	}
}

// inheritHere is for a lock that nobody waited for: this process is the heir.
func (f *family) inheritHere(want notice, mark bool) {
	f.t.Helper()
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
		err := f.mutex.LockContext(ctx)
		cancel()
		if err != nil {
			f.t.Fatal(err)
		}
		noticeOf(f.mutex, f.ledger.load(ledgerOccupant)).check(f.t, want)
		f.ledger.store(ledgerOccupant, 0)
		want.inside = 0
		if mark || !want.told {
			want.told = false
			f.mutex.MarkConsistent()
		}
		f.mutex.Unlock()
		if !mark {
			mark = true
		}
	}
	f.mutex.Lock()
	f.mutex.MarkConsistent()
	f.mutex.Unlock()
}

// cascade kills the owner, then its heir, then the heir's heir, to the last.
func (f *family) cascade() {
	owner, label := f.own()
	want := f.kill(owner, label)
	for range f.heirs {
		p, got := f.next()
		got.check(f.t, want)
		for i := range f.heirs {
			if f.heirs[i] == p {
				label = labelOf("heir", i)
			}
		}
		want = f.kill(p, label)
	}
	f.heirs = nil
	f.inheritHere(want, true)
}

// A thousand owners killed, in front of nobody, one and fifty processes.
func TestInheritance(t *testing.T) {
	part := 1
	if testing.Short() || slowOnly {
		part = 10
	}
	t.Run("0 waiters", func(t *testing.T) { newFamily(t, 0).inheritance(470 / part) })
	t.Run("1 waiter", func(t *testing.T) { newFamily(t, 1).inheritance(420 / part) })
	t.Run("50 waiters", func(t *testing.T) { newFamily(t, 50).inheritance(60 / part) })
	t.Run("heirs die too", func(t *testing.T) { newFamily(t, 50).cascade() })
	t.Run("without futex_waitv", func(t *testing.T) {
		off := withoutWaitv(t)
		t.Run("0 waiters", func(t *testing.T) { newFamily(t, 0, off).inheritance(10) })
		t.Run("1 waiter", func(t *testing.T) { newFamily(t, 1, off).inheritance(10) })
		t.Run("8 waiters", func(t *testing.T) { newFamily(t, 8, off).inheritance(10) })
	})
}
