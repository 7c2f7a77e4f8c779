package arena

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/crash"
	"lockd/internal/feature"
	"lockd/robust"
)

// create makes a complete arena and then gives it its name. errExists means
// that somebody else's got the name first.
//
// A file without a name (O_TMPFILE) leaves nothing behind wherever its creator
// is killed. Where there are none, it is written under a temporary name beside
// the path, which the next creator that finds it without a locked gate removes.
func create(path string, o *Options) error {
	boot, err := robust.BootID()
	if err != nil {
		return fmt.Errorf("arena: read the boot id: %w", err)
	}
	f, named, err := unnamedFile(path)
	if err != nil {
		return explainFolder(path, err)
	}
	defer f.Close()
	if named {
		defer os.Remove(f.Name())
	}
	if variantLinkFirst {
		if err := link(f, path, named); err == unix.EEXIST {
			return errExists
		} else if err != nil {
			return explainFolder(path, err)
		}
		return fill(f, boot, o)
	}
	if err := fill(f, boot, o); err != nil {
		f.Truncate(0) // what is free is part of the explanation
		return explainFolder(path, err)
	}
	crash.At("create.filled")
	err = link(f, path, named)
	crash.At("create.linked")
	if err == unix.EEXIST {
		return errExists
	}
	if err != nil {
		return explainFolder(path, err)
	}
	return nil
}

var errExists = errors.New("arena file exists")

func unnamedFile(path string) (f *os.File, named bool, err error) {
	dir := filepath.Dir(path)
	if !feature.TmpFile.Off() {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), false, nil
		case unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL:
		default:
			return nil, false, err
		}
	}
	sweepTemporary(path)
	f, err = os.CreateTemp(dir, temporaryPrefix(path)+"*")
	if err != nil {
		return nil, false, err
	}
	if err := gateOf(f).TryExclusive(gateByte); err != nil && !errors.Is(err, robust.ErrNoOFD) {
		f.Close()
		os.Remove(f.Name())
		return nil, false, err
	}
	return f, true, nil
}

func temporaryPrefix(path string) string { return "." + filepath.Base(path) + ".new-" }

// sweepTemporary removes what creators left that were killed: the gate of a
// living creator's file is locked.
func sweepTemporary(path string) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	prefix := temporaryPrefix(path)
	for _, e := range entries {
		if !e.Type().IsRegular() || len(e.Name()) <= len(prefix) || e.Name()[:len(prefix)] != prefix {
			continue
		}
		name := filepath.Join(dir, e.Name())
		f, err := openExisting(name)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && time.Since(info.ModTime()) > temporaryAge && gateOf(f).TryExclusive(gateByte) == nil {
			os.Remove(name)
		}
		f.Close()
	}
}

// temporaryAge spares a file whose creator has not locked its gate yet.
const temporaryAge = 10 * time.Second

func fill(f *os.File, boot [16]byte, o *Options) error {
	fd := int(f.Fd())
	if err := unix.Fchmod(fd, uint32(o.Mode)); err != nil {
		return err
	}
	if err := allocate(f, 0, minFileSize); err != nil {
		return err
	}
	crash.At("create.allocated")
	var seed [8]byte
	rand.Read(seed[:])
	limit := uint32(maxSegments)
	if o.MaxLocks != 0 {
		limit = segmentsFor(o.MaxLocks)
	}
	page := headerImage(boot, binary.LittleEndian.Uint64(seed[:]), uint64(time.Now().UnixNano()), limit)
	if _, err := f.WriteAt(append(page, stripesImage()...), 0); err != nil {
		return err
	}
	return nil
}

// allocate makes a part of the file exist, without holes: a load from a hole
// in a full tmpfs kills the process with SIGBUS. Done twice it does no harm.
func allocate(f *os.File, offset, size int64) error {
	if variantHoles {
		return f.Truncate(offset + size)
	}
	if !feature.Fallocate.Off() {
		for {
			err := unix.Fallocate(int(f.Fd()), 0, offset, size)
			switch err {
			case unix.EINTR:
				continue
			case unix.EOPNOTSUPP, unix.ENOSYS:
			default:
				return err
			}
			break
		}
	}
	// Without fallocate, only bytes beyond the end can be written without
	// harming what others have there.
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := offset + size
	zeros := make([]byte, 64<<10)
	for at := max(offset, info.Size()); at < end; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), end-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// link gives the complete file its name, or says EEXIST.
func link(f *os.File, path string, named bool) error {
	if named {
		return unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	}
	proc := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	err := unix.Linkat(unix.AT_FDCWD, proc, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err == unix.ENOENT {
		// No /proc: with CAP_DAC_READ_SEARCH the descriptor itself will do.
		err = unix.Linkat(int(f.Fd()), "", unix.AT_FDCWD, path, unix.AT_EMPTY_PATH)
	}
	return err
}
