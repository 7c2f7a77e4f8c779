package arena

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"lockd/internal/proc"
)

// A party is a process of sessions that do what they are told, each by a
// goroutine of its own. An order is "SESSION ACT", an answer "SESSION ANSWER":
// "ok", or "deadlock", or the error.
//
//	L NAME, L- NAME                a mutex
//	X NAME, R NAME, U NAME, X- …   an rwmutex
//	UX NAME, RU NAME               upgrades
//	T NAME, T2 NAME, T- NAME       one ticket of two, two, all back
//	E NAME, S NAME                 a range, always the same
//	close                          what it holds is given back
func init() {
	roles["party"] = func(args []string) {
		a := reopen(args[0], &Options{Label: "party", Logger: quiet, MaxLocks: segmentSlots - 1})
		after, _ := strconv.Atoi(args[1])
		proc.Say("ready")
		orders := make(map[string]chan string)
		for {
			name, act, _ := strings.Cut(proc.Hear(), " ")
			if orders[name] == nil {
				orders[name] = make(chan string, 16)
				s := a.OpenSession(SessionOptions{Label: name, DeadlockAfter: time.Duration(after) * time.Millisecond})
				go func() {
					for act := range orders[name] {
						proc.Say("%s %s", name, answerTo(a.perform(s, act)))
					}
				}()
			}
			orders[name] <- act
		}
	}
}

func answerTo(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrDeadlock):
		return "deadlock"
	}
	return err.Error()
}

func (a *Arena) perform(s *Session, order string) error {
	act, name, _ := strings.Cut(order, " ")
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	m, rw := a.Mutex(name), a.RWMutex(name)
	switch act {
	case "L":
		return s.Lock(ctx, m)
	case "L-":
		return s.Unlock(m)
	case "X":
		return s.Lock(ctx, rw)
	case "X-":
		return s.Unlock(rw)
	case "R":
		return s.RLock(ctx, rw)
	case "R-":
		return s.RUnlock(rw)
	case "U":
		return s.ULock(ctx, rw)
	case "U-":
		return s.UUnlock(rw)
	case "UX":
		return s.Upgrade(ctx, rw)
	case "RU":
		return s.UpgradeToU(ctx, rw)
	case "T", "T2":
		_, err := s.Acquire(ctx, a.Semaphore(name, 2), len(act))
		return err
	case "T-":
		return s.Release(a.Semaphore(name, 2))
	case "E", "S":
		return s.LockRange(ctx, a.Ranges(name), map[string]Mode{"E": Exclusive, "S": Shared}[act], 10, 5)
	case "close":
		return s.Close()
	}
	return fmt.Errorf("what is %s?", order)
}

type party struct{ *proc.Proc }

// never is for a party none of whose sessions looks for deadlocks.
const never = -1

func startParty(t testing.TB, path string, after int) party {
	t.Helper()
	p := party{proc.Start(t, "party", []string{path, strconv.Itoa(after)})}
	p.Expect("ready")
	return p
}

// must has a session do an act that succeeds.
func (p party) must(session, format string, args ...any) {
	p.Send("%s %s", session, fmt.Sprintf(format, args...))
	p.Expect(session + " ok")
}

// begin has a session begin an act that waits. It returns once it does.
func (p party) begin(t testing.TB, a *Arena, session, format string, args ...any) {
	t.Helper()
	p.Send("%s %s", session, fmt.Sprintf(format, args...))
	awaitSession(t, a, session)
}

// awaitSession returns once a session of this label is seen to wait.
func awaitSession(t testing.TB, a *Arena, label string) {
	t.Helper()
	for ctx := within(t); ; {
		s, err := ReadSnapshot(a.Path())
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range s.Sessions {
			if x.Label == label && x.Wait != nil {
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("%s does not wait", label)
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}

// knot is one of the ways in which one session can wait for another: what the
// one holds, and what the other asks for.
type knot struct{ held, wanted string }

var knots = []knot{
	{"L mutex%d", "L mutex%d"},
	{"X write%d", "R write%d"},
	{"R read%d", "X read%d"},
	{"T2 tickets%d", "T tickets%d"},
	{"U upgradable%d", "U upgradable%d"},
	{"X writers%d", "X writers%d"},
	{"E range%d", "S range%d"},
	{"S ranges%d", "E ranges%d"},
}

// expectOneVictim has the sessions go on from a circle: each closes when it has
// got what it waited for, or was told.
func expectOneVictim(t testing.TB, parties []party, waiting int) {
	t.Helper()
	answers := make(chan string)
	done := make(chan struct{})
	defer close(done)
	for _, p := range parties {
		closed := make(map[string]bool)
		go func() {
			for line := range p.Lines() {
				name, _, _ := strings.Cut(line, " ")
				if !closed[name] {
					closed[name] = true
					p.Send("%s close", name)
				}
				select {
				case answers <- line:
				case <-done:
					return
				}
			}
		}()
	}
	victims := 0
	for left := 2 * waiting; left > 0; left-- { // each answers twice: the wait, and close
		select {
		case line := <-answers:
			switch _, answer, _ := strings.Cut(line, " "); answer {
			case "deadlock":
				victims++
			case "ok":
			default:
				t.Fatal(line)
			}
		case <-time.After(proc.Soon):
			t.Fatalf("%d victims, %d answers are missing", victims, left)
		}
	}
	if victims != 1 {
		t.Errorf("%d victims", victims)
	}
}
