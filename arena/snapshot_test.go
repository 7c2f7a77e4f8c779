package arena

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/robust"
)

func writeImage(t *testing.T, p picture) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "arena")
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadSnapshot(t *testing.T) {
	image := forgeBusy().picture
	path := writeImage(t, image)
	if err := os.Truncate(path, int64(len(image))+segmentSize); err != nil { // grown, not yet in use
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	s, err := ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Path != path || s.Size != before.Size() || s.Taken.IsZero() || len(s.Locks) != len(forgedNames) || len(s.Members) != 3 {
		t.Errorf("snapshot: %+v", s)
	}
	if !bytes.Equal(s.picture, image) {
		t.Error("the copy is not the file's used part")
	}
	after, _ := os.Stat(path)
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(content[:len(image)], image) || !after.ModTime().Equal(before.ModTime()) {
		t.Error("the file was written to")
	}
}

// A member is what its byte and its process are at that moment.
func TestReadSnapshotJudges(t *testing.T) {
	self, err := robust.Self()
	if err != nil {
		t.Fatal(err)
	}
	f := forge(1)
	const lives, left, exited, joining, bare = 1, 2, 3, 4, 5
	for index := range uint16(6) {
		m := robust.Member{Index: index, Generation: 1}
		switch index {
		case lives, left:
			f.addMember(m, PhaseLive, 0, self, "")
		case exited:
			gone := self
			gone.PidfdInode, gone.StartTime = self.PidfdInode+1, self.StartTime+1
			f.addMember(m, PhaseLive, 0, gone, "")
		case joining:
			f.addMember(m, PhaseJoining, 0, robust.Identity{PID: self.PID}, "")
		case bare:
			f.addMember(m, PhaseLive, seenNoByte, self, "")
		}
	}
	path := writeImage(t, f.picture)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	held := robust.Bytes{FD: int(file.Fd()), Base: livenessBase}
	for _, index := range []int{lives, exited, joining} {
		if err := held.Lock(index); err != nil {
			t.Fatal(err)
		}
	}
	s, err := ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []robust.Verdict{robust.Alive, robust.Gone, robust.Gone, robust.Alive, robust.Alive}
	for i, m := range s.Members {
		if m.Verdict != want[i] {
			t.Errorf("member %d is %v, want %v", m.Index, m.Verdict, want[i])
		}
	}
	if still, err := held.HeldIn(1, memberLimit); err != nil || len(still) != 0 {
		t.Errorf("the reader left locks: %v, %v", still, err)
	}
}

// A member that has withdrawn since its entry was copied did not die.
func TestReadSnapshotJudgesWithdrawn(t *testing.T) {
	f := forge(1)
	m := robust.Member{Index: 7, Generation: 1}
	f.addMember(m, PhaseLive, 0, robust.Identity{PID: 1}, "")
	copied := bytes.Clone(f.picture)
	for _, tc := range []struct {
		now  uint64
		want robust.Verdict
	}{
		{f.word64(membersStart + 7*memberSize), robust.Gone},
		{1 << 48, robust.Unknown},
	} {
		f.put64(membersStart+7*memberSize, tc.now)
		fd, err := openToRead(writeImage(t, f.picture))
		if err != nil {
			t.Fatal(err)
		}
		if got := judgeAll(fd, copied)[m.Index]; got != tc.want {
			t.Errorf("with state %#x now it is %v, want %v", tc.now, got, tc.want)
		}
		unix.Close(fd)
	}
}

func TestReadSnapshotRefuses(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Symlink("/etc/passwd", path("link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]picture{
		"empty": nil,
		"text":  picture("hello"),
		"short": forge(1).picture[:20001],
	} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name string
		want error
	}{
		{path("nothing"), ErrNotExist},
		{path("text/below"), ErrNotExist},
		{path("link"), ErrUnsafeFile},
		{path("fifo"), ErrNotArena},
		{dir, ErrNotArena},
		{path("empty"), ErrNotArena},
		{path("text"), ErrNotArena},
		{path("short"), ErrTruncated},
		{"", ErrName},
	} {
		s, err := ReadSnapshot(tc.name)
		if !errors.Is(err, tc.want) {
			t.Errorf("%q: error %v, want %v", tc.name, err, tc.want)
		}
		if (s != nil) != (tc.want == ErrTruncated) {
			t.Errorf("%q: snapshot %v", tc.name, s)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "arena: ") {
			t.Errorf("%q: error %q", tc.name, err)
		}
	}
}

func TestReadSnapshotWithoutPermission(t *testing.T) {
	path := writeImage(t, forge(1).picture)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	refused := make(chan error)
	go func() {
		// Root may read everything: let this thread, which ends with the
		// goroutine, be nobody to the file system.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			unix.Setfsuid(65534)
		}
		_, err := ReadSnapshot(path)
		refused <- err
	}()
	if err := <-refused; !errors.Is(err, ErrPermission) {
		t.Errorf("error %v, want %v", err, ErrPermission)
	}
}

// What is cut off between mapping and copying must not kill the reader.
func TestCopySurvivesTruncation(t *testing.T) {
	image := forge(1).picture
	path := writeImage(t, image)
	fd, err := openToRead(path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const left = segmentsStart + 65536 // whole pages of any size
	got, err := withMapped(fd, int64(len(image)), func(words []atomic.Uint64) []byte {
		if err := os.Truncate(path, left/65536*65536); err != nil {
			t.Fatal(err)
		}
		return copyUsed(words)
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := left / 65536 * 65536; len(got) != want || !bytes.Equal(got, image[:want]) {
		t.Fatalf("copied %d bytes, want %d", len(got), want)
	}
	if s, err := Decode(got); !errors.Is(err, ErrTruncated) || s == nil {
		t.Errorf("decoding what was left: %v, %v", s, err)
	}
}

type fault struct{ at uintptr }

func (f fault) Error() string { return "fault" }
func (f fault) RuntimeError() {}
func (f fault) Addr() uintptr { return f.at }

// A panic of another cause is not swallowed.
func TestFaultedIn(t *testing.T) {
	words := make([]atomic.Uint64, 4)
	first := uintptr(unsafe.Pointer(&words[0]))
	for _, tc := range []struct {
		cause any
		want  bool
	}{
		{"a panic", false},
		{errors.New("an error without an address"), false},
		{fault{first - 1}, false},
		{fault{first}, true},
		{fault{first + 31}, true},
		{fault{first + 32}, false},
	} {
		if got := faultedIn(tc.cause, words); got != tc.want {
			t.Errorf("%#v: %v, want %v", tc.cause, got, tc.want)
		}
	}
	runtime.KeepAlive(words)
}

func TestCheck(t *testing.T) {
	f := forgeCalm()
	if problems, err := Check(writeImage(t, f.picture)); err != nil || len(problems) != 2 {
		// Its two live members have no bytes: they are dead.
		t.Errorf("problems %v, %v", problems, err)
	}
	f.setWord(1, robust.Free(1)|robust.Local)
	problems, err := Check(writeImage(t, f.picture))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, p := range problems {
		if p.Severity == Damage {
			damaged++
		}
	}
	if damaged != 1 {
		t.Errorf("problems %v, want one damage", problems)
	}
	if _, err := Check(filepath.Join(t.TempDir(), "nothing")); !errors.Is(err, ErrNotExist) {
		t.Errorf("error %v, want %v", err, ErrNotExist)
	}
}
