package robust

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

const testBase = 1 << 40

func newByteFile(t testing.TB) string {
	path := filepath.Join(t.TempDir(), "bytes")
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openBytes gives a new open file description.
func openBytes(t testing.TB, path string, flags int) Bytes {
	t.Helper()
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	b := Bytes{FD: int(file.Fd()), Base: testBase}
	if err := b.Unlock(0); errors.Is(err, ErrNoOFD) {
		t.Skip("no open-file-description locks here")
	}
	return b
}

func mustLock(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestByteLocks(t *testing.T) {
	path := newByteFile(t)
	a, b := openBytes(t, path, os.O_RDWR), openBytes(t, path, os.O_RDWR)

	mustLock(t, a.Lock(7))
	expect(t, "locked", b.Probe(7), Alive)
	expect(t, "below", b.Probe(6), Gone)
	expect(t, "above", b.Probe(8), Gone)
	expect(t, "one's own", a.Probe(7), Gone)
	for what, err := range map[string]error{"Lock": b.Lock(7), "TryExclusive": b.TryExclusive(7), "TryShared": b.TryShared(7)} {
		if !errors.Is(err, ErrByteHeld) {
			t.Errorf("%s of a held byte: %v", what, err)
		}
	}
	mustLock(t, b.Lock(8))
	mustLock(t, b.Unlock(7))
	expect(t, "unlocked by another", b.Probe(7), Alive)
	mustLock(t, a.Unlock(7))
	expect(t, "unlocked", b.Probe(7), Gone)
	mustLock(t, b.Lock(7))
}

func TestByteAsGate(t *testing.T) {
	path := newByteFile(t)
	a, b := openBytes(t, path, os.O_RDWR), openBytes(t, path, os.O_RDWR)

	mustLock(t, a.TryShared(0))
	mustLock(t, b.TryShared(0))
	if err := a.TryExclusive(0); !errors.Is(err, ErrByteHeld) {
		t.Errorf("exclusive beside another: %v", err)
	}
	if err := openBytes(t, path, os.O_RDWR).TryExclusive(0); !errors.Is(err, ErrByteHeld) {
		t.Errorf("exclusive beside two: %v", err)
	}
	mustLock(t, b.Unlock(0))
	mustLock(t, a.TryExclusive(0))
	if err := b.TryShared(0); !errors.Is(err, ErrByteHeld) {
		t.Errorf("shared beside exclusive: %v", err)
	}
	mustLock(t, a.TryShared(0))
	mustLock(t, b.TryShared(0))
}

// Who may only read the file must not make the dead look alive.
func TestProbeIgnoresReaders(t *testing.T) {
	path := newByteFile(t)
	reader, b := openBytes(t, path, os.O_RDONLY), openBytes(t, path, os.O_RDWR)

	mustLock(t, reader.TryShared(0))
	expect(t, "read-locked", b.Probe(0), Gone)
	if held, err := b.HeldIn(0, 1); len(held) != 0 || err != nil {
		t.Errorf("read-locked: %v, %v", held, err)
	}
	if err := reader.Lock(1); !errors.Is(err, unix.EBADF) {
		t.Errorf("a reader's exclusive lock: %v", err)
	}
	mustLock(t, b.Lock(1))
	expect(t, "asked by a reader", reader.Probe(1), Alive)
}

func TestBytesOutOfReach(t *testing.T) {
	b := openBytes(t, newByteFile(t), os.O_RDWR)
	for _, bad := range []struct {
		bytes Bytes
		i     int
	}{{b, -1}, {Bytes{b.FD, -5}, 7}, {Bytes{b.FD, 1<<63 - 1}, 0}, {Bytes{b.FD, 1 << 62}, 1 << 62}} {
		if err := bad.bytes.Lock(bad.i); !errors.Is(err, unix.ERANGE) {
			t.Errorf("%+v: %v", bad, err)
		}
		expect(t, "byte out of reach", bad.bytes.Probe(bad.i), Unknown)
	}
	if held, err := b.HeldIn(3, 0); held != nil || err != nil {
		t.Errorf("among none: %v, %v", held, err)
	}
	if held, err := b.HeldIn(3, -1); !errors.Is(err, unix.ERANGE) {
		t.Errorf("among fewer: %v, %v", held, err)
	}
	expect(t, "closed descriptor", Bytes{FD: -1}.Probe(0), Unknown)
	if err := (Bytes{FD: -1}).Lock(0); !errors.Is(err, unix.EBADF) {
		t.Errorf("closed descriptor: %v", err)
	}
}

func TestBytesWithoutOFD(t *testing.T) {
	path := newByteFile(t)
	a, b := openBytes(t, path, os.O_RDWR), openBytes(t, path, os.O_RDWR)
	mustLock(t, a.Lock(0))
	defer feature.OFDLocks.SetOff(true)()
	expect(t, "held", b.Probe(0), Unknown)
	expect(t, "free", b.Probe(1), Unknown)
	expect(t, "any", b.AnyHeld(0, 2), Unknown)
	for what, err := range map[string]error{
		"Lock": b.Lock(1), "TryExclusive": b.TryExclusive(1), "TryShared": b.TryShared(1), "Unlock": b.Unlock(1),
	} {
		if !errors.Is(err, ErrNoOFD) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if held, err := b.HeldIn(0, 2); !errors.Is(err, ErrNoOFD) {
		t.Errorf("HeldIn: %v, %v", held, err)
	}
}

// Every way to divide five bytes among nobody, oneself, a reader and two
// others, looked at through every window.
func TestHeldIn(t *testing.T) {
	path := newByteFile(t)
	own := openBytes(t, path, os.O_RDWR)
	others := []Bytes{openBytes(t, path, os.O_RDWR), openBytes(t, path, os.O_RDWR)}
	reader := openBytes(t, path, os.O_RDONLY)
	const bytes, kinds = 5, 5
	ways := 1
	for range bytes {
		ways *= kinds
	}
	for way := range ways {
		var held [bytes]bool
		for i, rest := 0, way; i < bytes; i, rest = i+1, rest/kinds {
			for _, b := range append(others, own, reader) {
				mustLock(t, b.Unlock(i))
			}
			switch kind := rest % kinds; kind {
			case 1, 2:
				mustLock(t, others[kind-1].Lock(i))
				held[i] = true
			case 3:
				mustLock(t, own.Lock(i))
			case 4:
				mustLock(t, reader.TryShared(i))
			}
		}
		for from := range bytes {
			for n := 1; from+n <= bytes; n++ {
				var want []int
				verdict := Gone
				for i := from; i < from+n; i++ {
					if held[i] {
						want = append(want, i)
						verdict = Alive
					}
				}
				got, err := own.HeldIn(from, n)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("way %d, %d from %d: %v, %v, want %v", way, n, from, got, err, want)
				}
				if any := own.AnyHeld(from, n); any != verdict {
					t.Fatalf("way %d, %d from %d: any %v, want %v", way, n, from, any, verdict)
				}
			}
		}
	}
}

// A lock on the whole file covers every byte.
func TestHeldInUnderALockToTheEnd(t *testing.T) {
	path := newByteFile(t)
	a, b := openBytes(t, path, os.O_RDWR), openBytes(t, path, os.O_RDWR)
	if err := unix.FcntlFlock(uintptr(a.FD), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.HeldIn(2, 3); err != nil || !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("%v, %v", got, err)
	}
}

// The byte outlives the descriptor as long as the mapping stands.
func TestByteLastsWithTheMapping(t *testing.T) {
	path := newByteFile(t)
	prober := openBytes(t, path, os.O_RDWR)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := unix.Mmap(fd, 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	mustLock(t, Bytes{fd, testBase}.Lock(0))
	unix.Close(fd)
	expect(t, "mapped, closed", prober.Probe(0), Alive)
	if err := unix.Munmap(mapping); err != nil {
		t.Fatal(err)
	}
	expect(t, "unmapped, closed", prober.Probe(0), Gone)
}

type ownerAnswer struct{ Held bool }

func startOwner(t *testing.T) (owner *child, probe func() Verdict) {
	t.Helper()
	path := newByteFile(t)
	prober := openBytes(t, path, os.O_RDWR)
	owner = start(t, "byte-owner", nil)
	owner.tell(t, path)
	var answer ownerAnswer
	owner.answer(t, &answer)
	probe = func() Verdict { return prober.Probe(0) }
	expect(t, "owner's byte", probe(), Alive)
	return owner, probe
}

func byteOwner() {
	introduce()
	var path, order string
	hear(&path)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(err)
	_, err = unix.Mmap(int(file.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(err)
	must(Bytes{int(file.Fd()), testBase}.Lock(0))
	say(ownerAnswer{true})
	hear(&order)
	must(os.Setenv(roleVariable, "idle"))
	switch order {
	case "exec":
		must(syscall.Exec("/proc/self/exe", os.Args, os.Environ()))
	case "bequeath":
		heir := exec.Command("/proc/self/exe")
		heir.Stdin, heir.Stdout, heir.Stderr = os.Stdin, os.Stdout, os.Stderr
		heir.ExtraFiles = []*os.File{file}
		must(heir.Run())
		return
	}
	io.Copy(io.Discard, stdin)
}

func TestJudgeOwnerKilled(t *testing.T) {
	skipWithoutPidfd(t)
	owner, probe := startOwner(t)
	expect(t, "alive", Judge(owner.id, probe, false), Alive)
	expect(t, "alive, by byte only", Judge(owner.id, probe, true), Alive)
	owner.die(t)
	expect(t, "killed", Judge(owner.id, probe, false), Gone)
	expect(t, "killed, by byte only", Judge(owner.id, probe, true), Gone)

	restore := feature.PidfdOpen.SetOff(true)
	expect(t, "killed, no pidfd", Judge(owner.id, probe, false), Gone)
	restore()
	defer feature.OFDLocks.SetOff(true)()
	expect(t, "killed, no bytes", Judge(owner.id, probe, false), Gone)
}

// execve forgets all locks and keeps all that makes an identity.
func TestJudgeOwnerAfterExec(t *testing.T) {
	skipWithoutPidfd(t)
	owner, probe := startOwner(t)
	owner.tell(t, "exec")
	var after Identity
	owner.answer(t, &after)
	if after != owner.id {
		t.Errorf("identity was %+v, is %+v", owner.id, after)
	}
	expect(t, "by pid", JudgePID(owner.id), Alive)
	expect(t, "by byte", probe(), Gone)
	expect(t, "judged", Judge(owner.id, probe, false), Gone)
	expect(t, "by byte only", Judge(owner.id, probe, true), Gone)
}

// A child that was left the descriptor keeps the byte, which decides only
// where that is what the member wants.
func TestJudgeOwnerSurvivedByHeir(t *testing.T) {
	skipWithoutPidfd(t)
	owner, probe := startOwner(t)
	owner.tell(t, "bequeath")
	var heir Identity
	owner.answer(t, &heir)
	owner.die(t)
	expect(t, "by byte", probe(), Alive)
	expect(t, "by pid", JudgePID(owner.id), Gone)
	expect(t, "judged", Judge(owner.id, probe, false), Gone)
	expect(t, "by byte only", Judge(owner.id, probe, true), Alive)

	owner.stdin.Close()
	eventually(t, "the heir is gone, "+strconv.Itoa(int(heir.PID)), func() bool { return Judge(owner.id, probe, true) == Gone })
}
