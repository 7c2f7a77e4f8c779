package robust

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// Returned when a byte cannot be locked.
var (
	// ErrByteHeld: another open file description has locked it.
	ErrByteHeld = errors.New("locked by another")
	// ErrNoOFD: the kernel or the file system has no locks that belong to an
	// open file description.
	ErrNoOFD = errors.New("no open-file-description locks here")
)

// Bytes are single bytes of a file, far beyond its content, that are locked
// with fcntl(2)'s open-file-description locks (F_OFD_SETLK). Such a lock
// lasts until its open file description goes: when every descriptor *and*
// every mapping made through it is gone, in every process that inherited
// them. execve ends it if the descriptor is close-on-exec. It does not
// survive the machine.
//
// So the description that is locked should be the one that is mapped: then
// the byte cannot go free under a process that can still write. The caller
// owns FD and keeps it open.
//
// Locks of one description never conflict with each other, whichever
// descriptor, thread or process uses it: asking for one's own byte answers
// Gone, and two goroutines do not exclude each other. Taking a byte that one
// has already changes its mode at once or fails and leaves it.
//
// Probing needs no more than read permission; locking shared needs a
// descriptor open for reading, locking exclusively one open for writing.
// Whoever has the file open for writing can make any byte look held.
type Bytes struct {
	FD   int   // of the arena file
	Base int64 // offset of byte 0
}

// Lock takes byte i exclusively, without waiting: it returns [ErrByteHeld] if
// anybody else has it, shared or exclusively, and [ErrNoOFD] if there are no
// such locks here.
func (b Bytes) Lock(i int) error { return b.set(unix.F_WRLCK, i) }

// TryExclusive is Lock, for bytes that are gates rather than signs of life.
func (b Bytes) TryExclusive(i int) error { return b.set(unix.F_WRLCK, i) }

// TryShared takes byte i shared, without waiting. It returns [ErrByteHeld] if
// anybody else has it exclusively, [ErrNoOFD] as Lock does. [Bytes.Probe]
// does not see those who hold a byte shared.
func (b Bytes) TryShared(i int) error { return b.set(unix.F_RDLCK, i) }

// Unlock gives byte i back; giving back what one has not is no error.
func (b Bytes) Unlock(i int) error { return b.set(unix.F_UNLCK, i) }

// Probe says whether somebody else has byte i locked exclusively: Alive if
// so, Gone if not, Unknown if the kernel will not say. It must not be asked
// for one's own byte.
//
// It asks on behalf of a reader, so that somebody who may only read the file
// cannot keep a dead member's byte alive.
func (b Bytes) Probe(i int) Verdict { return b.AnyHeld(i, 1) }

// AnyHeld says whether somebody else has any of the n bytes from byte from
// locked exclusively: Alive, Gone and Unknown as for Probe.
func (b Bytes) AnyHeld(from, n int) Verdict {
	_, held, err := b.firstHeld(byteRange{from, from + n})
	switch {
	case err != nil:
		return Unknown
	case held:
		return Alive
	default:
		return Gone
	}
}

// HeldIn lists, in ascending order, which of the n bytes from byte from
// somebody else has locked exclusively. It asks the kernel up to twice for
// each that it finds, so it is no snapshot: a byte that changes hands
// meanwhile may be in it or not.
func (b Bytes) HeldIn(from, n int) ([]int, error) {
	var found []int
	for unasked := []byteRange{{from, from + n}}; len(unasked) > 0; {
		asked := unasked[len(unasked)-1]
		unasked = unasked[:len(unasked)-1]
		if asked.from == asked.to {
			continue
		}
		hit, held, err := b.firstHeld(asked)
		if err != nil {
			return nil, err
		}
		if !held {
			continue
		}
		for i := hit.from; i < hit.to; i++ {
			found = append(found, i)
		}
		unasked = append(unasked, byteRange{asked.from, hit.from}, byteRange{hit.to, asked.to})
	}
	slices.Sort(found)
	return found, nil
}

// byteRange is from ≤ i < to.
type byteRange struct{ from, to int }

// firstHeld returns the part within r of the first lock that the kernel comes
// upon, which need not be the lowest.
func (b Bytes) firstHeld(r byteRange) (hit byteRange, held bool, err error) {
	mode := int16(unix.F_RDLCK)
	if variantReadersAreAlive {
		mode = unix.F_WRLCK
	}
	lock, err := b.flock(mode, r)
	if err != nil {
		return byteRange{}, false, err
	}
	if err := fcntlOFD(b.FD, unix.F_OFD_GETLK, &lock); err != nil {
		return byteRange{}, false, fmt.Errorf("robust: probe bytes %d to %d: %w", r.from, r.to-1, err)
	}
	if lock.Type == unix.F_UNLCK {
		return byteRange{}, false, nil
	}
	end := b.Base + int64(r.to)
	if lock.Len > 0 { // 0 reaches to the end of all files
		end = min(end, lock.Start+lock.Len)
	}
	start := max(lock.Start, b.Base+int64(r.from))
	return byteRange{int(start - b.Base), int(end - b.Base)}, true, nil
}

func (b Bytes) set(mode int16, i int) error {
	lock, err := b.flock(mode, byteRange{i, i + 1})
	if err != nil {
		return err
	}
	err = fcntlOFD(b.FD, unix.F_OFD_SETLK, &lock)
	if err == unix.EAGAIN || err == unix.EACCES {
		err = ErrByteHeld
	}
	if err != nil {
		return fmt.Errorf("robust: byte %d: %w", i, err)
	}
	return nil
}

func (b Bytes) flock(mode int16, r byteRange) (unix.Flock_t, error) {
	if b.Base < 0 || r.from < 0 || r.to <= r.from || int64(r.to) > math.MaxInt64-b.Base {
		return unix.Flock_t{}, fmt.Errorf("robust: bytes %d to %d from %d: %w", r.from, r.to-1, b.Base, unix.ERANGE)
	}
	return unix.Flock_t{
		Type:   mode,
		Whence: unix.SEEK_SET,
		Start:  b.Base + int64(r.from),
		Len:    int64(r.to - r.from),
	}, nil
}

// fcntlOFD turns the answers of a kernel before 3.15, a file system without
// locks, and a seccomp filter into ErrNoOFD.
func fcntlOFD(fd, cmd int, lock *unix.Flock_t) error {
	err := error(unix.EINVAL)
	if !feature.OFDLocks.Off() {
		err = unix.FcntlFlock(uintptr(fd), cmd, lock)
	}
	switch err {
	case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EPERM:
		return ErrNoOFD
	}
	return err
}
