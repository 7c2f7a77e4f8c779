package robust

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"lockd/internal/feature"
)

func TestSelfIsSeenAlikeFromOutside(t *testing.T) {
	skipWithoutPidfd(t)
	c := start(t, "idle", nil)
	fd, err := pidfdOpen(int(c.id.PID), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	seen := Identity{
		PID:        uint32(c.cmd.Process.Pid),
		PIDNS:      self(t).PIDNS,
		PidfdInode: pidfdInode(fd),
		StartTime:  pidfdStartTime(fd),
	}
	if c.id != seen {
		t.Errorf("it says %+v, we see %+v", c.id, seen)
	}
	if c.id.PIDNS == 0 || c.id.StartTime == 0 && startTimesComparable() {
		t.Errorf("unknown: %+v", c.id)
	}
	if id := self(t); id.PidfdInode == c.id.PidfdInode && id.PidfdInode != 0 {
		t.Errorf("one inode for two: %+v, %+v", id, c.id)
	}
}

func TestSelfWithoutFeatures(t *testing.T) {
	id := self(t)
	for _, f := range []*feature.Feature{feature.Pidfs, feature.PidfdOpen} {
		restore := f.SetOff(true)
		want := id
		want.PidfdInode = 0
		if got := self(t); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		restore()
	}
}

func TestBootID(t *testing.T) {
	first, err := BootID()
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := BootID(); first != second || first == [16]byte{} {
		t.Errorf("%x, then %x", first, second)
	}
}

// The command name is the only field that can hold anything.
func TestStatStartTimeOfAnOddName(t *testing.T) {
	const before, after = "1 ", " S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 22 23\n"
	path := filepath.Join(t.TempDir(), "stat")
	for _, name := range []string{"(cat)", "(a b)", "(1) S 9 (2)", "())"} {
		if err := os.WriteFile(path, []byte(before+name+after), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := statStartTime(path); got != 4711 || err != nil {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
	for _, broken := range []string{"", "1 (cat)", "1 (cat) S 0 1"} {
		if err := os.WriteFile(path, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := statStartTime(path); err == nil {
			t.Errorf("%q: %d", broken, got)
		}
	}
}

// Where /proc is missing, nothing but the pid is known, and nobody is judged
// by it.
func TestSelfWithoutProc(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	binary, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "child"), binary, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := launch("starved", func(cmd *exec.Cmd) {
		cmd.Path = "/child"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	})
	if err != nil {
		t.Skipf("the test binary does not run in an empty root: %v", err)
	}
	t.Cleanup(c.end)
	if c.id.PIDNS != 0 || c.id.StartTime != 0 || c.id.PID != uint32(c.cmd.Process.Pid) {
		t.Errorf("%+v", c.id)
	}
	c.tell(t, self(t))
	var got starvedAnswer
	c.answer(t, &got)
	expect(t, "no /proc", got.Fed, Unknown)
}
