package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"lockd/arena"
)

// breaker is one call of the verb.
type breaker struct {
	*verb
	t     *tool
	trust trust
	yes   bool

	name, lock string
}

func breakVerb() *verb {
	b := new(breaker)
	v := newVerb("break", "ARENA LOCK", "take a mutex away from a living owner", `Takes a mutex away from a process that lives and holds it. What the lock protects
may be half-changed then, and its owner goes on as if it held it: stop or end
that process first if you can. To end it is safer, for then it changes nothing
any more, and its heir is told as well.

Says whom it robs, and asks; where nobody can be asked it needs --yes. The next
owner is told that the lock was abandoned. The robbed is told when it unlocks,
which frees nobody else's hold; until then its process cannot take the lock.

Exit code: 0 if it was taken, 1 if it was not: nobody living holds it, you said
no, or its owner changed; 2 if it cannot be taken.`)
	b.verb = v
	v.flags.BoolVarP(&b.yes, "yes", "y", false, "do not ask")
	b.trust.flags(v.flags)
	v.takes = []argument{anArena, aLock}
	v.run = func(t *tool, args []string) int {
		if len(args) != 2 {
			return t.misused(v, errors.New("break needs an ARENA and a LOCK"))
		}
		b.t, b.name, b.lock = t, args[0], args[1]
		return b.do()
	}
	return v
}

func (b *breaker) do() int {
	r, l, code := b.look()
	if l == nil {
		return code
	}
	b.present(r, l)
	switch agreed, err := b.agreed(l); {
	case err != nil:
		return b.t.misused(b.verb, err)
	case !agreed:
		b.t.complain("nothing was taken")
		return exitFound
	}
	a, err := b.t.attach(b.name, "lockd-inspect break", b.trust)
	if err != nil {
		b.t.complain("%v", err)
		return exitCannotTell
	}
	defer a.Close()
	if now := b.ownerNow(); now == nil || !now.same(l.Owner) {
		b.t.complain("nothing was taken: %s holds %s no more; look again: %s", l.Owner.title(), quoted(l.bytes()), b.call("show"))
		return exitFound
	}
	ctx, cancel := context.WithTimeout(context.Background(), settlePatience)
	defer cancel()
	robbed, err := a.Break(ctx, l.bytes())
	if err != nil {
		return b.failed(err, l)
	}
	return b.tell(robbed, l)
}

// look returns the lock if there is somebody to rob, or else what to say that is.
func (b *breaker) look() (*report, *lock, int) {
	r, err := b.t.live(b.name)
	if err != nil {
		b.t.complain("%v", err)
		return nil, nil, exitCannotTell
	}
	l := r.lockNamed(b.lock)
	switch {
	case l == nil:
		b.t.complain("no lock named %s in %s; %s", quoted(b.lock), quoted(r.Arena.Name), r.locksThere())
		return nil, nil, exitFound
	case l.Kind != "mutex":
		b.t.complain("%s is of kind %s, and only a mutex can be taken away; end the process that holds it: %s says which", quoted(b.lock), l.Kind, b.call("show"))
		return nil, nil, exitCannotTell
	case l.Owner == nil && l.Abandoned:
		b.t.complain("nobody holds %s: it is free, and was abandoned; the next who locks it is told", quoted(b.lock))
		return nil, nil, exitFound
	case l.Owner == nil:
		b.t.complain("nobody holds %s: it is free", quoted(b.lock))
		return nil, nil, exitFound
	case l.Owner.dead():
		b.t.complain("%s, which holds %s, is dead: the next who locks it inherits it; lockd-inspect settle %s gives it back now",
			l.Owner.title(), quoted(b.lock), shellLine([]string{b.name}))
		return nil, nil, exitFound
	}
	return r, l, exitFine
}

// present says whom it robs.
func (b *breaker) present(r *report, l *lock) {
	w := bufio.NewWriter(b.t.stdout)
	defer w.Flush()
	s := &sheet{w: w, t: b.t, r: r}
	s.line("lock", "%s in %s", quoted(l.bytes()), quoted(r.Arena.Path))
	m := l.Owner.entry
	if m == nil {
		s.line("owner", "%s, not in the member table", l.Owner.title())
	} else {
		s.line("owner", "pid %d, %s", m.PID, b.t.screen.paint(m.colour(), m.state()))
		s.line("  label", "%s", quoted(m.Label))
		s.line("  user", "%s", m.User)
		command := "cannot be seen from here"
		if m.Command != nil {
			command = printable(*m.Command)
		}
		s.line("  command", "%s", command)
		for _, x := range r.holding(m, l.Slot) {
			s.line("  in", "%s", x.title())
		}
		for _, h := range m.Heirs {
			s.line("  kept by", "pid %d: %s", h.PID, printable(h.Command))
		}
		if d, exact := l.heldFor(); exact {
			s.line("held", "%s", cell(precise(d)))
		} else if age := r.age(m.Joined); age != nil {
			s.line("held", "%s at most: it attached then", age)
		}
	}
	s.line("waiters", "%d", l.Waiters)
}

// agreed asks, if somebody is there to answer.
func (b *breaker) agreed(l *lock) (bool, error) {
	if b.yes {
		return true, nil
	}
	from, ok := b.t.stdin.(*os.File)
	if !ok || !screenOf(from).isTerminal() || !screenOf(b.t.stderr).isTerminal() {
		return false, errors.New("nobody can be asked here: break needs --yes")
	}
	fmt.Fprintf(b.t.stderr, "It goes on as if it held it. Take %s away from %s? [y/N] ", quoted(l.bytes()), l.Owner.title())
	answer, err := bufio.NewReader(from).ReadString('\n')
	if err != nil {
		fmt.Fprintln(b.t.stderr)
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// ownerNow is who holds the lock when the answer has come.
func (b *breaker) ownerNow() *party {
	if r, err := b.t.live(b.name); err == nil {
		if l := r.lockNamed(b.lock); l != nil {
			return l.Owner
		}
	}
	return nil
}

func (b *breaker) tell(robbed arena.Death, l *lock) int {
	who := (&party{PID: uint32(robbed.PID), Label: robbed.Label}).title()
	fmt.Fprintf(b.t.stdout, "took %s away from %s\n", quoted(l.bytes()), who)
	fmt.Fprintf(b.t.stdout, "the next owner is told that it was abandoned; to repair what it protects: %s -- COMMAND\n", b.call("run --mark-consistent"))
	if uint32(robbed.PID) != l.Owner.PID {
		b.t.complain("it has changed hands: pid %d was robbed, not pid %d", robbed.PID, l.Owner.PID)
		return exitFound
	}
	fmt.Fprintf(b.t.stdout, "pid %d is told when it unlocks, and cannot take it before; to end it: %s\n", robbed.PID, l.Owner.entry.howToEnd())
	return exitFine
}

func (b *breaker) failed(err error, l *lock) int {
	end := "end the process that holds it: " + l.Owner.entry.howToEnd()
	switch {
	case errors.Is(err, arena.ErrNotHeld):
		b.t.complain("nothing was taken: %v; look again: %s", explained{err}, b.call("show"))
		return exitFound
	case errors.Is(err, context.DeadlineExceeded):
		b.t.complain("nothing was taken: after %v somebody is still at work on the table; lockd-inspect check %s says who", settlePatience, shellLine([]string{b.name}))
	case errors.Is(err, arena.ErrTableFull):
		b.t.complain("nothing was taken: %v; there is no room to remember the robbed, so %s", explained{err}, end)
	default:
		b.t.complain("nothing was taken: %v; %s", explained{err}, end)
	}
	return exitCannotTell
}

// howToEnd names no pid that here may be somebody else's: that of a process in
// another namespace, or of a run that has ended.
func (m *member) howToEnd() string {
	switch {
	case m == nil || m.Foreign:
		return "in its own pid namespace"
	case m.Ended && len(m.Heirs) == 0:
		return "end what its command left running"
	case m.Ended:
		return "kill " + heirs(m.Heirs).String()
	}
	return fmt.Sprintf("kill %d", m.PID)
}

// call is how this lock is given to another verb.
func (b *breaker) call(verb string) string {
	return "lockd-inspect " + verb + " " + shellLine([]string{b.name, b.lock})
}
