package arena

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// namespaced starts a process in new namespaces; as an ordinary user in a user
// namespace of its own as well, in which he is root.
func namespaced(flags uintptr) proc.Option {
	return func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if os.Geteuid() != 0 {
			c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
	}
}

// launchNamespaced skips the test where that is not permitted.
func launchNamespaced(t *testing.T, role string, args []string, flags uintptr, options ...proc.Option) *launched {
	t.Helper()
	l, err := launch(role, args, append(options, namespaced(flags))...)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSPC) {
		t.Skipf("new namespaces are not permitted here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.end)
	return l
}

// featuresOff are the kernels that the namespace tests make believe to be on.
var featuresOff = []string{"", "pidfs", "ofd_locks", "pidfd_open"}

// A process that has the pid of a dead owner is not the owner, whether it is a
// member or a stranger, and whether or not anybody waited when the owner died.
func TestReusedPID(t *testing.T) {
	for _, features := range featuresOff {
		if features == "pidfd_open" {
			continue // as without pidfs, it is the byte that tells
		}
		t.Run("without="+features, func(t *testing.T) {
			t.Parallel()
			path := deathArena(t)
			init := launchNamespaced(t, "reuser", []string{path}, unix.CLONE_NEWPID, proc.Env("LOCKD_FEATURES_OFF="+features))
			rounds := 10
			if testing.Short() {
				rounds = 3
			}
			for round := range rounds {
				for _, as := range []string{"stranger", "member", "waited"} {
					switch answer := init.ask("%s %d", as, round); answer {
					case "ok":
					case "skip":
						t.Skip("pids cannot be chosen here: " + init.hear())
					default:
						t.Fatalf("%s, round %d: %s", as, round, answer)
					}
				}
			}
		})
	}
}

func init() { roles["reuser"] = reuser }

// reuser is the first process of a pid namespace.
func reuser(args []string) {
	a := reopen(args[0], &Options{Label: "reuser", Logger: quiet})
	proc.Say("ready")
	for {
		answer := "ok"
		line := proc.Hear()
		err := a.reuse(args[0], line)
		for try := 0; err == errTaken && try < 10; try++ {
			line += "'" // another lock
			err = a.reuse(args[0], line)
		}
		if err == errNoChoice {
			answer = "skip\n" + err.Error()
		} else if err != nil {
			answer = err.Error()
		}
		proc.Say("%s", answer)
	}
}

var (
	errNoChoice = errors.New("ns_last_pid cannot be written")
	// errTaken: the number went to somebody else, perhaps to a thread of ours.
	errTaken = errors.New("never got the pid again")
)

// reuse lets an owner die, gives its pid to another process, and takes the
// lock from the dead past that one.
func (a *Arena) reuse(path, line string) error {
	owner, err := launch("actor", []string{path, "owner"})
	if err != nil {
		return err
	}
	if got := owner.ask("lock %s", line); got != "held" {
		owner.end()
		return errors.New("the owner got: " + got)
	}
	pid := owner.pid()
	m := a.Mutex(line)
	taken := make(chan struct{})
	waited := line[0] == 'w'
	if waited {
		go func() { m.Lock(); close(taken) }()
		for s, _ := ReadSnapshot(path); s == nil || len(s.Locks) == 0 || !waitedFor(s, line); s, _ = ReadSnapshot(path) {
		}
	}
	owner.end()

	next := []string{path, "namesake"}
	role := "actor"
	if line[0] == 's' {
		role = "bystander"
	}
	namesake, err := launchAs(pid, role, next)
	if err != nil {
		return err
	}
	defer namesake.end()
	if !waited {
		// A try may come while a settler has the lock in hand.
		for deadline := time.Now().Add(proc.Soon); !m.TryLock(); {
			if time.Now().After(deadline) {
				return errors.New("no try judged the dead owner")
			}
		}
	} else {
		<-taken
	}
	defer m.Unlock()
	if got, want := holding(m), heirOf(pid, "owner", Died, 1); got != want {
		return errors.New("got " + got + ", not " + want)
	}
	if err := m.MarkConsistent(); err != nil {
		return err
	}
	if role != "actor" {
		return nil
	}
	if got := namesake.ask("unlock %s", line); got == "ok" {
		return errors.New("the namesake could unlock it")
	}
	// The namesake is alive under the pid that a dead owner had.
	if got := namesake.ask("lock own %s", line); got != "held" {
		return errors.New("the namesake got: " + got)
	}
	if a.Mutex("own " + line).TryLock() {
		return errors.New("the namesake was robbed")
	}
	if got := namesake.ask("unlock own %s", line); got != "ok" {
		return errors.New("the namesake's unlock: " + got)
	}
	return nil
}

func waitedFor(s *Snapshot, name string) bool {
	for _, l := range s.Locks {
		if l.Name == name && l.Waiters > 0 {
			return true
		}
	}
	return false
}

func init() {
	roles["bystander"] = func([]string) {
		proc.Say("ready")
		proc.Hear()
	}
}

// launchAs starts a process that gets this pid. A thread of ours may snatch
// the number away, so it tries again.
func launchAs(pid int, role string, args []string) (*launched, error) {
	for range 100 {
		if os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0) != nil {
			return nil, errNoChoice
		}
		l, err := launch(role, args)
		if err != nil || l.pid() == pid {
			return l, err
		}
		l.end()
	}
	return nil, errTaken
}

// From either side of a namespace's border the other's processes look dead.
func TestTwoPIDNamespaces(t *testing.T) {
	for _, features := range featuresOff {
		if features == "ofd_locks" {
			continue // nothing could tell: see TestForeignOwnerWithoutBytes
		}
		t.Run("without="+features, func(t *testing.T) {
			t.Parallel()
			off := proc.Env("LOCKD_FEATURES_OFF=" + features)
			path := deathArena(t)
			for _, way := range []string{"lock", "poll"} {
				inner := startInside(t, path, "inner", off)
				outer := startActor(t, path, "outer", off)
				out, in := way+" outer", way+" inner" // names of locks, and orders for them

				// A live one is never robbed, in either direction.
				outer.must("held", "lock %s", out)
				inner.must("held", "lock %s", in)
				inner.send("%s %s", way, out)
				outer.Send("%s %s", way, in)
				outer.Silent()
				inner.silent()
				startActor(t, path, "settler", off).Kill() // attaching settles the dead
				startInside(t, path, "settler", off).end()
				outer.Silent()
				inner.silent()

				// A dead one is reclaimed; its pid is that of its own namespace.
				inner.end()
				outer.Expect(heirOf(1, "inner", Died, 1))
				sibling := startInside(t, path, "sibling", off)
				sibling.send("%s %s", way, out)
				sibling.silent()
				outer.Kill()
				sibling.expect(outer.died(1))

				// Both are the first process of their namespaces.
				third := startInside(t, path, "third", off)
				third.must("busy", "try %s", out)
				third.send("%s %s", way, out)
				third.silent()
				sibling.end()
				third.expect(heirOf(1, "sibling", Died, 2))
			}
		})
	}
}

// Without a byte, and from another namespace, nobody can tell; then nothing
// is taken.
func TestForeignOwnerWithoutBytes(t *testing.T) {
	t.Parallel()
	off := proc.Env("LOCKD_FEATURES_OFF=ofd_locks")
	path := deathArena(t)
	inner := startInside(t, path, "inner", off)
	inner.must("held", "lock a")
	outer := startActor(t, path, "outer", off)
	outer.Send("poll a")
	outer.Silent()
	inner.must("ok", "unlock a")
	outer.Expect("held")
}

// inside is an actor in a pid namespace of its own.
type inside struct {
	*launched
	t      *testing.T
	answer chan string
}

func startInside(t *testing.T, path, label string, options ...proc.Option) *inside {
	t.Helper()
	l := launchNamespaced(t, "actor", []string{path, label}, unix.CLONE_NEWPID, options...)
	return &inside{launched: l, t: t, answer: make(chan string, 1)}
}

func (i *inside) send(format string, args ...any) {
	fmt.Fprintf(i.in, format+"\n", args...)
	go func() { i.answer <- i.hear() }()
}

func (i *inside) silent() {
	i.t.Helper()
	for end := time.Now().Add(proc.Soon); ; {
		select {
		case got := <-i.answer:
			i.t.Fatalf("said %q, should still be blocked", got)
		case <-time.After(proc.StillBlocks):
		}
		if proc.ProcessRests(i.pid()) || time.Now().After(end) {
			return
		}
	}
}

func (i *inside) expect(want string) {
	i.t.Helper()
	select {
	case got := <-i.answer:
		expectLine(i.t, got, want)
	case <-time.After(proc.Soon):
		i.t.Fatalf("did not say %q", want)
	}
}

func (i *inside) must(want, format string, args ...any) {
	i.t.Helper()
	i.send(format, args...)
	i.expect(want)
}
