package arena

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
	"lockd/internal/proc"
)

// Bad weather is made in a mount namespace of its own: the process that it
// falls on goes through one case and says "ok", "skip" with a reason, or what
// was wrong.
var weather = map[string]func() error{
	"full":          fullFolder,
	"read-only":     readOnlyFolder,
	"missing":       missingFolder,
	"cannot grow":   cannotGrow,
	"out of inodes": outOfInodes,
}

var errSkip = errors.New("skip")

func init() {
	roles["weather"] = func(args []string) {
		proc.Say("ready")
		proc.Say("%s", okay(weather[args[0]]()))
	}
}

func TestWeather(t *testing.T) {
	for name := range weather {
		for _, features := range []string{"", "fallocate,o_tmpfile"} {
			t.Run(name+",without="+features, func(t *testing.T) {
				t.Parallel()
				l := launchNamespaced(t, "weather", []string{name}, unix.CLONE_NEWNS, proc.Env("LOCKD_FEATURES_OFF="+features))
				switch got := l.hear(); {
				case strings.HasPrefix(got, "skip"):
					t.Skip(got)
				case got != "ok":
					t.Error(got)
				}
			})
		}
	}
}

// mountTmpfs puts a new tmpfs over a folder, for this process alone.
func mountTmpfs(dir, options string, flags uintptr) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: make mounts private: %w", errSkip, err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		return fmt.Errorf("%w: mount: %w", errSkip, err)
	}
	return nil
}

// failsToOpen says what is wrong with how Open fails.
func failsToOpen(name string, want error, says ...string) error {
	a, err := Open(name, &Options{Logger: quiet})
	if err == nil {
		a.Close()
		return errors.New("it was opened")
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("failed with: %w; want: %w", err, want)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			return fmt.Errorf("%q does not say %q", err, s)
		}
	}
	if entries, err := os.ReadDir(Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("left behind: %v", entries)
	}
	return nil
}

func fullFolder() error {
	if err := mountTmpfs(Dir, "size=200k", 0); err != nil {
		return err
	}
	return failsToOpen("arena", ErrNoSpace, Dir+"/arena", fmt.Sprintf("needs %d KiB", minFileSize>>10), "free: 200 KiB")
}

func outOfInodes() error {
	if err := mountTmpfs(Dir, "nr_inodes=1", 0); err != nil {
		return err
	}
	return failsToOpen("arena", ErrNoSpace, Dir+"/arena")
}

func readOnlyFolder() error {
	if err := mountTmpfs(Dir, "", unix.MS_RDONLY); err != nil {
		return err
	}
	return failsToOpen("arena", ErrPermission, Dir+"/arena")
}

// missingFolder hides all of /dev.
func missingFolder() error {
	if err := mountTmpfs(filepath.Dir(Dir), "", 0); err != nil {
		return err
	}
	return failsToOpen("arena", ErrNotExist, Dir, fmt.Sprint(minFileSize))
}

// cannotGrow: a table that finds no space says so, keeps all it has, and grows
// when there is space again.
func cannotGrow() error {
	enough := func(segments uint32) string { return fmt.Sprintf("size=%dk", fileSize(segments)>>10+8) }
	if err := mountTmpfs(Dir, enough(2), 0); err != nil {
		return err
	}
	a, err := Open("arena", &Options{Logger: quiet})
	if err != nil {
		return err
	}
	const first = 2*segmentSlots - 1
	if got := a.obey("hold", fmt.Sprint(0, " ", first, " name")); got != "held" {
		return fmt.Errorf("while there was space: %s", got)
	}
	for range 3 {
		err = a.Mutex("one more").LockContext(context.Background())
		if !errors.Is(err, ErrTableFull) || !strings.Contains(err.Error(), "no space left") {
			return fmt.Errorf("with all slots held: %w", err)
		}
	}
	if err := a.wholeAndHeld(first); err != nil {
		return err
	}
	// One name less is room for one.
	a.Mutex("name0").Unlock()
	if err := a.Mutex("one more").LockContext(context.Background()); err != nil {
		return err
	}
	if err := a.Mutex("name0").LockContext(context.Background()); !errors.Is(err, ErrTableFull) {
		return fmt.Errorf("its place was taken, and still: %w", err)
	}
	a.Mutex("one more").Unlock()
	if err := a.Mutex("name0").LockContext(context.Background()); err != nil {
		return err
	}

	if err := unix.Mount("", Dir, "", unix.MS_REMOUNT, enough(4)); err != nil {
		return fmt.Errorf("%w: remount: %w", errSkip, err)
	}
	for i := range 2 * segmentSlots {
		if err := a.Mutex(fmt.Sprint("new", i)).LockContext(context.Background()); err != nil {
			return fmt.Errorf("with space again, at %d: %w", i, err)
		}
	}
	if err := a.wholeAndHeld(first + 2*segmentSlots); err != nil {
		return err
	}
	if err := a.Close(); !errors.Is(err, ErrWasHeld) {
		return err
	}
	return nil
}

// wholeAndHeld says what is wrong with an arena of which this many locks
// should be held.
func (a *Arena) wholeAndHeld(want int) error {
	s, err := ReadSnapshot(a.Path())
	if err != nil {
		return err
	}
	held := 0
	for i := range s.Locks {
		if s.Locks[i].Held() {
			held++
		}
	}
	if held != want {
		return fmt.Errorf("%d locks are held, not %d", held, want)
	}
	problems, err := Check(a.Path())
	if len(problems) > 0 {
		return fmt.Errorf("check: %v", problems)
	}
	return err
}

// What an ordinary user meets in a folder, and in files, of root's.
func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to have another user")
	}
	path := testPath(t)
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path, &Options{Mode: 0o666, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := os.WriteFile(path+".private", goodImage(t), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := launch("other user", []string{path})
	if err != nil {
		t.Fatal(err)
	}
	defer l.end()
	if got := l.hear(); got != "ok" {
		t.Error(got)
	}
	if _, ok := a.Mutex("shared").Abandoned(); ok {
		t.Error("abandoned?")
	}
	if err := a.Mutex("shared").LockContext(context.Background()); err != nil {
		t.Error(err)
	} else {
		a.Mutex("shared").Unlock()
	}
}

func init() {
	roles["other user"] = func(args []string) {
		proc.Say("ready")
		proc.Say("%s", okay(beOtherUser(args[0])))
	}
}

func beOtherUser(path string) error {
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		return err
	}
	for _, off := range []bool{false, true} {
		restore := feature.TmpFile.SetOff(off)
		if _, err := Open(path+".new", nil); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), path+".new") {
			return fmt.Errorf("create in root's folder: %w", err)
		}
		restore()
	}
	if _, err := Open(path+".private", nil); !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "belongs to root") {
		return fmt.Errorf("open root's private file: %w", err)
	}
	if _, err := ReadSnapshot(path + ".private"); !errors.Is(err, ErrPermission) {
		return fmt.Errorf("look at root's private file: %w", err)
	}
	if err := Remove(path + ".private"); !errors.Is(err, ErrPermission) {
		return fmt.Errorf("remove root's private file: %w", err)
	}
	for _, o := range []Options{{}, {AllowOtherOwner: true}, {AllowWorldWritable: true}} {
		if _, err := Open(path, &o); !errors.Is(err, ErrUnsafeFile) {
			return fmt.Errorf("open root's arena with %+v: %w", o, err)
		}
	}
	a, err := Open(path, &Options{AllowOtherOwner: true, AllowWorldWritable: true, Logger: quiet})
	if err != nil {
		return err
	}
	m := a.Mutex("shared")
	m.Lock()
	m.Unlock()
	return a.Close()
}
