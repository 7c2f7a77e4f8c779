package arena

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
	"lockd/robust"
)

func TestBadLockNames(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	for _, c := range []struct{ name, says string }{
		{"", "empty"},
		{strings.Repeat("x", MaxName+1), "has 256"},
		{"a\x00b", "NUL"},
	} {
		m := a.Mutex(c.name)
		err := m.LockContext(context.Background())
		if !errors.Is(err, ErrName) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.10q: LockContext: %v", c.name, err)
		}
		if err := m.Do(context.Background(), func(context.Context) error { t.Error("Do ran"); return nil }); !errors.Is(err, ErrName) {
			t.Errorf("%.10q: Do: %v", c.name, err)
		}
		if m.TryLock() {
			t.Errorf("%.10q: TryLock took it", c.name)
		}
		if err := recovered(m.Lock); !errors.Is(err, ErrName) {
			t.Errorf("%.10q: Lock panics with: %v", c.name, err)
		}
		if err := m.Release(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%.10q: Release: %v", c.name, err)
		}
		if err := recovered(m.Unlock); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%.10q: Unlock panics with: %v", c.name, err)
		}
		if err := m.MarkConsistent(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%.10q: MarkConsistent: %v", c.name, err)
		}
	}
	s, err := ReadSnapshot(a.Path())
	if err != nil || len(s.Locks) != 0 {
		t.Errorf("%v; in the table: %v", err, s.Locks)
	}
}

// recovered returns the error that f panics with, nil if it does not panic.
func recovered(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	f()
	return nil
}

func TestUnlockOfWhatIsNotHeld(t *testing.T) {
	a := testArena(t, &Options{Logger: quiet})
	other := startActor(t, a.Path(), "other")
	other.must("held", "lock theirs")
	ours := a.Mutex("ours")
	ours.Lock()
	ours.Unlock()
	for _, m := range []*Mutex{ours, a.Mutex("never used"), a.Mutex("theirs")} {
		if err := recovered(m.Unlock); !errors.Is(err, ErrNotHeld) || !strings.Contains(err.Error(), m.Name()) {
			t.Errorf("%s: Unlock panics with: %v", m.Name(), err)
		}
		if err := m.Release(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s: Release: %v", m.Name(), err)
		}
		if err := m.MarkConsistent(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s: MarkConsistent: %v", m.Name(), err)
		}
		if _, err := m.Fence(); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s: Fence: %v", m.Name(), err)
		}
	}
	err := ours.Do(context.Background(), func(context.Context) error { return ours.Release() })
	if !errors.Is(err, ErrNotHeld) {
		t.Errorf("Do, released inside: %v", err)
	}
	if !ours.TryLock() {
		t.Error("the lock is not free any more")
	}
	ours.Unlock()
	other.must("ok", "unlock theirs")
}

func TestBadArenaNamesAndOptions(t *testing.T) {
	for _, name := range []string{"", ".", "..", "x/", "a\x00b", strings.Repeat("x", 256), "/" + strings.Repeat("x", 256)} {
		if a, err := Open(name, nil); !errors.Is(err, ErrName) {
			t.Errorf("open %.10q: %v, %v", name, a, err)
		}
		if err := Remove(name); !errors.Is(err, ErrName) {
			t.Errorf("remove %.10q: %v", name, err)
		}
		if _, err := ReadSnapshot(name); !errors.Is(err, ErrName) {
			t.Errorf("snapshot of %.10q: %v", name, err)
		}
	}
	path := testPath(t)
	for _, c := range []struct {
		o    Options
		says string
	}{
		{Options{Mode: 0o1777}, "Mode"},
		{Options{Mode: fs.ModeDir | 0o600}, "Mode"},
		{Options{Mode: 0o400}, "Mode"},
		{Options{MaxLocks: -1}, "MaxLocks"},
		{Options{MaxLocks: maxLocks + 1}, "MaxLocks"},
		{Options{Patience: Patience{Timeout: -1}}, "Timeout"},
		{Options{Patience: Patience{WarnAfter: -1}}, "WarnAfter"},
	} {
		if _, err := Open(path, &c.o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	if left := leftIn(t, path); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	a, err := Open(path, &Options{MaxLocks: maxLocks, Mode: 0o666, AllowWorldWritable: true})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := a.Inherit(); !errors.Is(err, ErrOptions) {
		t.Errorf("Inherit without ByteOnly: %v", err)
	}
	if err := a.LeaveInherited(); !errors.Is(err, ErrOptions) {
		t.Errorf("LeaveInherited without ByteOnly: %v", err)
	}
}

// goodImage is a file that Open takes.
func goodImage(t testing.TB) []byte {
	t.Helper()
	boot, err := robust.BootID()
	if err != nil {
		t.Fatal(err)
	}
	image := make([]byte, minFileSize)
	copy(image, headerImage(boot, 1, 1, 1))
	copy(image[stripesStart:], stripesImage())
	return image
}

func changed(image []byte, at uintptr, v uint32) []byte {
	image = bytes.Clone(image)
	binary.LittleEndian.PutUint32(image[at:], v)
	return image
}

// Each is refused with its own error, and not one byte of it is touched.
func TestUnusableContent(t *testing.T) {
	good := goodImage(t)
	noise := make([]byte, minFileSize)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	var h header
	for _, c := range []struct {
		what  string
		image []byte
		want  error
	}{
		{"empty", nil, ErrNotArena},
		{"text", []byte("[lockd]\ncolour = blue\n"), ErrNotArena},
		{"noise", noise, ErrNotArena},
		{"zeros", make([]byte, minFileSize), ErrNotArena},
		{"cut in the magic", good[:12], ErrNotArena},
		{"other version", changed(good, unsafe.Offsetof(h.version), formatVersion+1), ErrVersion},
		{"other version, cut", changed(good, unsafe.Offsetof(h.version), formatVersion+1)[:100], ErrVersion},
		{"other layout", changed(good, unsafe.Offsetof(h.layoutHash), 1), ErrLayout},
		{"cut in the header", good[:100], ErrTruncated},
		{"cut after the header", good[:headerSize], ErrTruncated},
		{"cut by a byte", good[:minFileSize-1], ErrTruncated},
		{"more segments than bytes", changed(good, unsafe.Offsetof(h.segments), 2), ErrTruncated},
		{"header size", changed(good, unsafe.Offsetof(h.headerBytes), 0), ErrDamaged},
		{"members", changed(good, unsafe.Offsetof(h.members), memberLimit+1), ErrDamaged},
		{"slots", changed(good, unsafe.Offsetof(h.slots), 0), ErrDamaged},
		{"no segments", changed(good, unsafe.Offsetof(h.segments), 0), ErrDamaged},
		{"too many segments", changed(good, unsafe.Offsetof(h.segments), maxSegments+1), ErrDamaged},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(shmFolder(t), "arena")
			if err := os.WriteFile(path, c.image, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, nil, c.want)
			if err := Remove(path); !errors.Is(err, c.want) {
				t.Errorf("remove: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, c.image) {
				t.Errorf("the file was touched (%v)", err)
			}
		})
	}
	path := testPath(t)
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Open(path, &Options{Logger: quiet})
	if err != nil {
		t.Fatalf("what was spoilt was no good before: %v", err)
	}
	a.Close()
}

// shmFolder is a folder on tmpfs for files that are no arenas.
func shmFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(Dir, testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// refused fails the test unless Open fails in this way, naming the path, soon,
// without changing anything in the folder.
func refused(t *testing.T, path string, o *Options, want error) {
	t.Helper()
	before := folderState(t, path)
	opened := make(chan error, 1)
	go func() {
		a, err := Open(path, o)
		if err == nil {
			a.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, want) || !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("open: %v; want: %v", err, want)
		}
	case <-time.After(proc.Soon):
		t.Fatal("open hangs")
	}
	if after := folderState(t, path); after != before {
		t.Errorf("the folder was changed:\n%s\nto:\n%s", before, after)
	}
}

func folderState(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	filepath.WalkDir(filepath.Dir(path), func(name string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(name, &st)
		}
		fmt.Fprintln(&b, name, st.Ino, st.Mode, st.Uid, st.Size, st.Mtim, st.Nlink, err)
		return nil
	})
	return b.String()
}

// Each is refused; some are taken if the options say so.
func TestUnsafeFiles(t *testing.T) {
	good := goodImage(t)
	for _, c := range []struct {
		what string
		make func(path string) error
		want error
		with *Options // opens it
	}{
		{"symbolic link", func(p string) error {
			if err := os.WriteFile(p+".real", good, 0o600); err != nil {
				return err
			}
			return os.Symlink("arena.real", p)
		}, ErrUnsafeFile, nil},
		{"dangling link", func(p string) error { return os.Symlink("nowhere", p) }, ErrUnsafeFile, nil},
		{"folder", func(p string) error { return os.Mkdir(p, 0o700) }, ErrNotArena, nil},
		{"FIFO", func(p string) error { return unix.Mkfifo(p, 0o600) }, ErrNotArena, nil},
		{"socket", func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) }, ErrNotArena, nil},
		{"hard link", func(p string) error {
			if err := os.WriteFile(p, good, 0o600); err != nil {
				return err
			}
			return os.Link(p, p+".other")
		}, ErrUnsafeFile, nil},
		{"world-writable", func(p string) error { return writeAs(p, good, 0o666, 0) }, ErrUnsafeFile, &Options{AllowWorldWritable: true}},
		{"world-writable, wanted", func(p string) error { return writeAs(p, good, 0o666, 0) }, ErrUnsafeFile, &Options{Mode: 0o666}},
		{"other owner", func(p string) error { return writeAs(p, good, 0o600, os.Geteuid()+1) }, ErrUnsafeFile, &Options{AllowOtherOwner: true}},
		{"missing folder", nil, ErrNotExist, nil},
		{"file for a folder", nil, ErrNotExist, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(shmFolder(t), "arena")
			switch {
			case c.make != nil:
				if err := c.make(path); errors.Is(err, fs.ErrPermission) {
					t.Skipf("needs a privilege: %v", err)
				} else if err != nil {
					t.Fatal(err)
				}
			case strings.HasPrefix(c.what, "file"):
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				path = filepath.Join(path, "arena")
			default:
				path = filepath.Join(path, "arena")
			}
			refused(t, path, &Options{Logger: quiet}, c.want)
			if c.with == nil {
				return
			}
			c.with.Logger = quiet
			a, err := Open(path, c.with)
			if err != nil {
				t.Fatalf("with %+v: %v", c.with, err)
			}
			a.Mutex("a").Lock()
			a.Mutex("a").Unlock()
			a.Close()
		})
	}
	path := filepath.Join(shmFolder(t), "arena")
	refused(t, path, &Options{MustExist: true}, ErrNotExist)
}

func writeAs(path string, content []byte, mode fs.FileMode, uid int) error {
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil || uid == 0 {
		return err
	}
	return os.Chown(path, uid, -1)
}
