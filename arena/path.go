package arena

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where arenas with a bare name live.
const Dir = "/dev/shm"

// Path returns where the arena of this name lives: a bare name is a file in
// Dir, a name with a slash is a path.
func Path(name string) (string, error) {
	switch {
	case name == "":
		return "", fmt.Errorf("arena: %w: an arena's name is a file name in %s or a path with a slash, this one is empty", ErrName, Dir)
	case strings.IndexByte(name, 0) >= 0:
		return "", fmt.Errorf("arena: %w: an arena's name has no NUL byte: %q", ErrName, name)
	case name == "." || name == "..":
		return "", fmt.Errorf("arena: %w: %q is a folder", ErrName, name)
	case strings.HasSuffix(name, "/"):
		return "", fmt.Errorf("arena: %w: %q names a folder, not a file", ErrName, name)
	case len(filepath.Base(name)) > 255:
		return "", fmt.Errorf("arena: %w: a file name has at most 255 bytes, this one has %d", ErrName, len(filepath.Base(name)))
	}
	if strings.Contains(name, "/") {
		return filepath.Abs(name)
	}
	return filepath.Join(Dir, name), nil
}

// fileID names a file for as long as somebody has it open.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// namedBy tells whether the path still names this file. An error that leaves
// it open counts as yes.
func (id fileID) namedBy(path string) bool { return id.namesBy(path) > 0 }

// namesBy is how many names the file has while the path is one of them, else 0.
// Both are of one moment: asked for one after the other, a link that comes and
// goes would be missed.
func (id fileID) namesBy(path string) int {
	var st unix.Stat_t
	switch err := unix.Lstat(path, &st); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return 0
	case err != nil:
		return 1
	case idOf(&st) != id:
		return 0
	}
	return int(st.Nlink)
}

// openExisting opens an arena file that is there. It never creates one
// (fs.protected_regular refuses O_CREAT on another user's file in a sticky
// folder, even to root), follows no symbolic link in the last step, and does
// not hang on a FIFO.
func openExisting(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EINTR:
			continue
		case unix.ENOENT, unix.ENOTDIR:
			return nil, fmt.Errorf("arena: %w: %s", ErrNotExist, path)
		case unix.ELOOP:
			return nil, fmt.Errorf("arena: %w: %s is a symbolic link; name the file itself", ErrUnsafeFile, path)
		case unix.EISDIR:
			return nil, fmt.Errorf("arena: %w: %s is a folder", ErrNotArena, path)
		case unix.ENXIO:
			return nil, fmt.Errorf("arena: %w: %s is not a regular file", ErrNotArena, path)
		case unix.EACCES, unix.EPERM, unix.EROFS:
			return nil, fmt.Errorf("arena: %w to read and write %s: %w%s", ErrPermission, path, err, ownerHint(path))
		}
		return nil, fmt.Errorf("arena: open %s: %w", path, err)
	}
}

// ownerHint says whose file it is, for an error about permission.
func ownerHint(path string) string {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return ""
	}
	return fmt.Sprintf(" (it belongs to %s, mode %#o)", userName(st.Uid), st.Mode&0o7777)
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// checkFile refuses a file that others could have put there, or could change,
// without the caller having asked for that.
func checkFile(path string, st *unix.Stat_t, o *Options) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("arena: %w: %s is not a regular file", ErrNotArena, path)
	case st.Uid != uint32(os.Geteuid()) && !o.AllowOtherOwner:
		return fmt.Errorf("arena: %w: %s belongs to %s; set Options.AllowOtherOwner to trust that user", ErrUnsafeFile, path, userName(st.Uid))
	case st.Mode&0o002 != 0 && !o.AllowWorldWritable && o.Mode&0o002 == 0:
		return fmt.Errorf("arena: %w: everybody may write %s (mode %#o); set Options.AllowWorldWritable to accept that", ErrUnsafeFile, path, st.Mode&0o7777)
	case st.Nlink > 1:
		return hardLinked(path, int(st.Nlink))
	}
	return nil
}

func hardLinked(path string, names int) error {
	return fmt.Errorf("arena: %w: %s has %d names (hard links)", ErrUnsafeFile, path, names)
}

// explainFolder turns the error of creating a file into one that says what is
// wrong with the folder.
func explainFolder(path string, err error) error {
	dir := filepath.Dir(path)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("arena: %w: the folder %s is missing (%d bytes needed there for %s)", ErrNotExist, dir, minFileSize, filepath.Base(path))
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("arena: %w to create %s: %w", ErrPermission, path, err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return noSpace(path, minFileSize, err)
	}
	return fmt.Errorf("arena: create %s: %w", path, err)
}

func noSpace(path string, need uint64, err error) error {
	free := "unknown"
	var fs unix.Statfs_t
	if unix.Statfs(filepath.Dir(path), &fs) == nil {
		free = fmt.Sprintf("%d KiB", fs.Bavail*uint64(fs.Bsize)>>10)
	}
	return fmt.Errorf("arena: %w: %s needs %d KiB, free: %s: %w", ErrNoSpace, path, need>>10, free, err)
}
