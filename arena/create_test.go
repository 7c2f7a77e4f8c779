package arena

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
	"lockd/internal/proc"
	"lockd/robust"
)

// A creator opens the paths that it is told, or creates what is not there, and
// says which file it got: "INODE FENCE", or the error. "close" closes it.
func init() {
	roles["creator"] = func([]string) {
		proc.Say("ready")
		var a *Arena
		for {
			line := proc.Hear()
			if line == "close" {
				proc.Say("%s", okay(a.Close()))
				continue
			}
			var err error
			if a, err = Open(line, &Options{Label: "creator", Logger: quiet}); err != nil {
				proc.Say("%v", err)
				continue
			}
			m := a.Mutex("shared")
			m.Lock()
			fence, err := m.Fence()
			m.Unlock()
			if err != nil {
				proc.Say("%v", err)
				continue
			}
			proc.Say("%d %d", a.core.id.ino, fence)
		}
	}
}

// Two processes create one arena at once, and one of them is killed at a
// random instant.
func TestTwoCreators(t *testing.T) {
	for _, c := range []struct {
		features string
		rounds   int
	}{
		{"", 1000},
		{"fallocate", 100},
		{"o_tmpfile", 200},
		{"all", 100},
	} {
		if testing.Short() {
			c.rounds /= 10
		}
		t.Run("without="+c.features, func(t *testing.T) {
			t.Parallel()
			off := proc.Env("LOCKD_FEATURES_OFF=" + c.features)
			path := testPath(t)
			survivor := proc.Start(t, "creator", nil, off)
			survivor.Expect("ready")
			named := c.features == "o_tmpfile" || c.features == "all"
			over := 0
			for round := range c.rounds {
				victim := proc.Start(t, "creator", nil, off)
				victim.Expect("ready")
				victim.Send("%s", path)
				survivor.Send("%s", path)
				// Most creations are over after half a millisecond.
				for end := time.Now().Add(rand.N(700 * time.Microsecond)); time.Now().Before(end); {
				}
				theirs := ""
				if round%10 == 0 {
					theirs = victim.Next()
				}
				victim.Kill()
				if _, done := <-victim.Lines(); done || theirs != "" {
					over++
				}
				mine := survivor.Next()
				oneArena(t, path, named, mine, theirs)
				survivor.Send("close")
				survivor.Expect("ok")
				if c.features == "all" {
					// Without bytes nobody can tell that it may be removed.
					if err := os.Remove(path); err != nil {
						t.Fatal(err)
					}
				} else if err := Remove(path); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
			}
			t.Logf("%d rounds; %d times the other was done before it was killed; %d temporary files", c.rounds, over, len(leftIn(t, path)))
		})
	}
}

// oneArena fails the test unless the path names the one arena that all who
// opened it got, and nothing else is left in its folder.
func oneArena(t *testing.T, path string, named bool, opened ...string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("the arena is not there: %v; they said %q", err, opened)
	}
	fences := make(map[string]bool)
	for _, o := range opened {
		if o == "" {
			continue
		}
		ino, fence, _ := strings.Cut(o, " ")
		if ino != strconv.FormatUint(st.Ino, 10) {
			t.Fatalf("got %q, not the arena of inode %d", o, st.Ino)
		}
		if fences[fence] {
			t.Fatalf("two had the lock and drew the same fence: %q", opened)
		}
		fences[fence] = true
	}
	if problems, err := Check(path); err != nil || damage(problems) != nil {
		t.Fatalf("check: %v, %v", err, problems)
	}
	for _, name := range leftIn(t, path) {
		if !named || !strings.HasPrefix(name, temporaryPrefix(path)) {
			t.Fatalf("%s was left behind", name)
		}
	}
}

func damage(problems []Problem) (found []Problem) {
	for _, p := range problems {
		if p.Severity == Damage {
			found = append(found, p)
		}
	}
	return found
}

// leftIn lists what is in the arena's folder beside it.
func leftIn(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != filepath.Base(path) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Where files need a name from the start, what killed creators leave goes when
// the next arena of that name is created.
func TestTemporaryFilesAreSwept(t *testing.T) {
	defer feature.TmpFile.SetOff(true)()
	path := testPath(t)
	old := time.Now().Add(-2 * temporaryAge)
	make := func(suffix string, when time.Time) *os.File {
		f, err := os.Create(filepath.Join(filepath.Dir(path), suffix))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if err := os.Chtimes(f.Name(), when, when); err != nil {
			t.Fatal(err)
		}
		return f
	}
	make(temporaryPrefix(path)+"dead", old)
	make(temporaryPrefix(path)+"young", time.Now())
	make("."+filepath.Base(path)+"2.new-1", old) // of another arena
	living := make(temporaryPrefix(path)+"living", old)
	if err := gateOf(living).TryExclusive(gateByte); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	left := strings.Join(leftIn(t, path), " ")
	if want := strings.Join([]string{".arena.new-living", ".arena.new-young", ".arena2.new-1"}, " "); left != want {
		t.Errorf("left: %s, want: %s", left, want)
	}
}

// earlierArena makes the file that the last boot left: another boot id, and
// locks held by members of then.
func earlierArena(t *testing.T, path string) {
	t.Helper()
	boot, err := robust.BootID()
	if err != nil {
		t.Fatal(err)
	}
	boot[0] ^= 0xff
	image := make([]byte, minFileSize)
	copy(image, headerImage(boot, 1, 1, maxSegments))
	copy(image[stripesStart:], stripesImage())
	binary.LittleEndian.PutUint64(image[membersStart+memberSize:], uint64(newMemberState(1, phaseLive, 0, 1)))
	for i := range uint32(segmentSlots) {
		binary.LittleEndian.PutUint64(image[slotOffset(i):], uint64(robust.Held(robust.Member{Index: 1, Generation: 1}, 1)))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "earlier")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(image); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		t.Fatal(err)
	}
}

// A file of an earlier boot is replaced once, however many open it at once.
func TestEarlierBoot(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	const openers = 6
	rounds := 200
	if testing.Short() {
		rounds = 30
	}
	var all [openers]*proc.Proc
	for i := range all {
		all[i] = proc.Start(t, "creator", nil)
		all[i].Expect("ready")
	}
	for round := range rounds {
		earlierArena(t, path)
		var old unix.Stat_t
		if err := unix.Lstat(path, &old); err != nil {
			t.Fatal(err)
		}
		// The inode stays in use, so that the new file has another.
		kept, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range all {
			p.Send("%s", path)
		}
		var victim *proc.Proc
		if round%4 == 0 {
			victim = all[round%openers]
			for end := time.Now().Add(rand.N(time.Millisecond)); time.Now().Before(end); {
			}
			victim.Kill()
		}
		var got []string
		for _, p := range all {
			if p != victim {
				got = append(got, p.Next())
			}
		}
		oneArena(t, path, false, got...)
		if got[0] == "" || strings.HasPrefix(got[0], strconv.FormatUint(old.Ino, 10)+" ") {
			t.Fatalf("they went on with the file of the earlier boot: %q", got)
		}
		kept.Close()
		for i, p := range all {
			if p == victim {
				all[i] = proc.Start(t, "creator", nil)
				all[i].Expect("ready")
				continue
			}
			p.Send("close")
			p.Expect("ok")
		}
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// Removing sees those who attach, and who opens too late gets a new file.
func TestRemoveAgainstOpen(t *testing.T) {
	t.Parallel()
	path := testPath(t)
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	opener := proc.Start(t, "creator", nil)
	opener.Expect("ready")
	removed := 0
	for range rounds {
		a, err := Open(path, &Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := Remove(path); !errors.Is(err, ErrInUse) {
			t.Fatalf("removing an arena that is open: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		opener.Send("%s", path)
		for end := time.Now().Add(rand.N(300 * time.Microsecond)); time.Now().Before(end); {
		}
		err = Remove(path)
		got := opener.Next()
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, ErrInUse) && !errors.Is(err, ErrNotExist):
			t.Fatal(err)
		}
		oneArena(t, path, false, got)
		opener.Send("close")
		opener.Expect("ok")
	}
	t.Logf("removed %d times of %d", removed, rounds)
}

// A container may show its processes a boot id of its own: a file that
// somebody living is attached to is of this boot, whatever it says.
func TestOtherBootIDInUse(t *testing.T) {
	path := testPath(t)
	earlierArena(t, path)
	var before, after unix.Stat_t
	if err := unix.Lstat(path, &before); err != nil {
		t.Fatal(err)
	}
	f, err := openExisting(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := gateOf(f).Lock(7); errors.Is(err, robust.ErrNoOFD) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if err := unix.Lstat(path, &after); err != nil || after.Ino != before.Ino {
		t.Errorf("a file in use was replaced (%v)", err)
	}
	f.Close()
	if a, err = Open(path, &Options{Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if err := unix.Lstat(path, &after); err != nil || after.Ino == before.Ino {
		t.Errorf("a file that nobody uses was not replaced (%v)", err)
	}
}
