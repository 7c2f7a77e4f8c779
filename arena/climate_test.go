package arena

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
	"lockd/internal/proc"
)

// Kernels that lack one thing or all of it, file systems, and clocks. What each
// of these changes in detail other tests show; these go once through the life
// of a lock.

// With each feature off, and with all, two processes exclude each other, wait,
// give up and go on; the table grows; and of a killed one the other is told.
func TestEachFeatureOff(t *testing.T) {
	for _, off := range append(feature.Names(), "all", "pidfd_open,ofd_locks") {
		t.Run(off, func(t *testing.T) {
			t.Parallel()
			path, env := testPath(t), proc.Env("LOCKD_FEATURES_OFF="+off)
			a, b := startActor(t, path, "a", env), startActor(t, path, "b", env)
			if err := lifeOfALock(a.ask, b.ask); err != nil {
				t.Fatal(err)
			}
			a.must("held", "hold 0 1100 name") // more than a segment has
			a.must("ok", "drop 0 1100 name")

			a.must("held", "lock orphan")
			a.Kill()
			if got := b.ask("lock orphan"); got != a.died(1) {
				t.Errorf("the heir: %s", got)
			}
			b.must("held", "lock another")
		})
	}
}

// Without pidfds and without a byte, that nobody has its pid proves that an
// owner is gone.
func TestOwnerWithoutWitnesses(t *testing.T) {
	for _, way := range []string{"lock", "poll"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			off := proc.Env("LOCKD_FEATURES_OFF=all")
			path := deathArena(t)
			owner, heir := startActor(t, path, "owner", off), startActor(t, path, "heir", off)
			owner.must("held", "lock a")
			heir.Send("%s a", way)
			heir.Silent()
			owner.Kill()
			heir.Expect(owner.died(1))
		})
	}
}

// lifeOfALock has two processes, that are asked, exclude each other.
func lifeOfALock(a, b func(format string, args ...any) string) error {
	said := func(want, got string) error {
		if want == got || want == "timeout" && strings.Contains(got, "timed out") {
			return nil
		}
		return fmt.Errorf("got %q, not %q", got, want)
	}
	return errors.Join(
		said("held", a("lock m")),
		said("busy", b("try m")),
		said("timeout", b("within 30 m")),
		said("ok", a("unlock m")),
		said("held", b("within 100000 m")),
		said("timeout", a("within 30 m")),
		said("ok", b("unlock m")),
		said("held", a("try m")),
		said("ok", a("unlock m")),
	)
}

func init() {
	weather["ramfs"] = onRamfs
	weather["another clock"] = withAnotherClock
	if os.Getenv(roleVariable) == "weather" {
		runtime.LockOSThread() // a time namespace is entered by the first thread
	}
}

// onRamfs has neither O_TMPFILE nor fallocate.
func onRamfs() error {
	if err := mountTmpfs(Dir, "", 0); err != nil { // makes mounts private
		return err
	}
	if err := unix.Mount("ramfs", Dir, "ramfs", 0, ""); err != nil {
		return fmt.Errorf("%w: mount: %w", errSkip, err)
	}
	return inheritedBetween("arena")
}

// inheritedBetween goes through the life of a lock in two processes, of which
// one is killed.
func inheritedBetween(name string) error {
	a, err := launch("actor", []string{name, "a"})
	if err != nil {
		return err
	}
	defer a.end()
	b, err := launch("actor", []string{name, "b"})
	if err != nil {
		return err
	}
	defer b.end()
	if err := lifeOfALock(a.ask, b.ask); err != nil {
		return err
	}
	if got := a.ask("lock orphan"); got != "held" {
		return fmt.Errorf("lock: %s", got)
	}
	pid := a.pid()
	a.end()
	if got := b.ask("lock orphan"); got != heirOf(pid, "a", Died, 1) {
		return fmt.Errorf("the heir: %s", got)
	}
	return nil
}

// On the file system of temporary files, whichever that is.
func TestAnotherFileSystem(t *testing.T) {
	needDeath(t)
	path := t.TempDir() + "/arena"
	var fs unix.Statfs_t
	if err := unix.Statfs(t.TempDir(), &fs); err != nil {
		t.Fatal(err)
	}
	t.Logf("file system %#x", fs.Type)
	if err := inheritedBetween(path); err != nil {
		t.Error(err)
	}
	problems, err := Check(path)
	if err != nil {
		t.Errorf("check: %v", err)
	}
	for _, p := range problems {
		if p.Severity == Damage {
			t.Errorf("check: %v", p)
		}
	}
}

// withAnotherClock has members whose clocks, but for that on the wall, are ten
// days ahead: as if the clock had jumped between one member's look and the
// next's.
func withAnotherClock() error {
	if err := mountTmpfs(Dir, "", 0); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("%w: no time namespaces: %w", errSkip, err)
	}
	offsets := "monotonic 864000 0\nboottime 864000 0\n"
	if err := os.WriteFile("/proc/self/timens_offsets", []byte(offsets), 0); err != nil {
		return fmt.Errorf("%w: no time namespaces: %w", errSkip, err)
	}
	a, err := Open("arena", &Options{MaxLocks: 1, Logger: quiet, Label: "usual"})
	if err != nil {
		return err
	}
	defer a.Close()
	ahead, err := launch("actor", []string{"arena", "ahead"})
	if err != nil {
		return fmt.Errorf("%w: no time namespaces: %w", errSkip, err)
	}
	defer ahead.end()
	here := func(format string, args ...any) string {
		verb, rest, _ := strings.Cut(fmt.Sprintf(format, args...), " ")
		return a.obey(verb, rest)
	}
	if err := errors.Join(lifeOfALock(here, ahead.ask), lifeOfALock(ahead.ask, here)); err != nil {
		return err
	}
	var fences [4]uint64
	for i, ask := range []func(string, ...any) string{here, ahead.ask, here, ahead.ask} {
		if got := ask("lock fenced"); got != "held" {
			return fmt.Errorf("fence %d: %s", i, got)
		}
		fmt.Sscan(ask("fence fenced"), &fences[i])
		ask("unlock fenced")
		if i > 0 && fences[i] <= fences[i-1] {
			return fmt.Errorf("fences: %v", fences)
		}
	}
	// Names that came in ten days ahead make room, and those of now.
	for round, ask := range []func(string, ...any) string{ahead.ask, here, ahead.ask} {
		if got := ask("hold 0 900 %s", fmt.Sprint("round", round, " ")); got != "held" {
			return fmt.Errorf("names, round %d: %s", round, got)
		}
		if got := ask("drop 0 900 %s", fmt.Sprint("round", round, " ")); got != "ok" {
			return fmt.Errorf("names, round %d: %s", round, got)
		}
	}
	if got := ahead.ask("lock orphan"); got != "held" {
		return fmt.Errorf("lock: %s", got)
	}
	if a.Mutex("orphan").TryLock() {
		return errors.New("one whose clock is ahead was robbed")
	}
	pid := ahead.pid()
	ahead.end()
	ctx, cancel := context.WithTimeout(context.Background(), proc.Soon)
	defer cancel()
	if err := a.Mutex("orphan").LockContext(ctx); err != nil {
		return err
	}
	if got, want := holding(a.Mutex("orphan")), heirOf(pid, "ahead", Died, 1); got != want {
		return fmt.Errorf("got %q, not %q", got, want)
	}
	a.Mutex("orphan").MarkConsistent()
	a.Mutex("orphan").Unlock()
	return nil
}

// Where no addresses are left to map the largest arena at, Open says so, and
// who is attached goes on.
func TestAttachWithoutAddresses(t *testing.T) {
	t.Parallel()
	a := testArena(t, &Options{Logger: quiet})
	p := proc.Start(t, "short of addresses", []string{a.Path()})
	if got := p.Next(); !strings.Contains(got, unix.ENOMEM.Error()) || !strings.Contains(got, a.Path()) {
		t.Errorf("attaching without addresses: %s", got)
	}
	if got := p.Next(); got != "held" {
		t.Errorf("who is attached to another: %s", got)
	}
	a.Mutex("m").Lock()
	a.Mutex("m").Unlock()
}

func init() {
	roles["short of addresses"] = func(args []string) {
		other := reopen(args[0]+".other", quietly("other"))
		defer os.Remove(args[0] + ".other")
		defer other.Close()
		var pages uint64
		status, _ := os.ReadFile("/proc/self/statm")
		fmt.Sscan(string(status), &pages)
		limit := unix.Rlimit{Cur: pages*pageSize + 160<<20, Max: unix.RLIM_INFINITY}
		if err := unix.Setrlimit(unix.RLIMIT_AS, &limit); err != nil {
			proc.Say("%v", err)
			return
		}
		_, err := Open(args[0], &Options{Logger: quiet})
		proc.Say("%v", err)
		other.Mutex("m").Lock()
		proc.Say("%s", holding(other.Mutex("m")))
		other.Mutex("m").Unlock()
	}
}
