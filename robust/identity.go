package robust

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// Identity is what tells a process from every other that ran or will run
// during this boot. A field that could not be learned is 0; the fewer are
// known, the less a judgement by pid can say, but it never says more than is
// proven.
//
// Neither pid and start time nor the namespace's inode is unique for ever:
// pids and namespace inodes are used again, and a start time has a grain of
// 10 ms. Only PidfdInode is unique.
type Identity struct {
	// PID is the process id as seen in the namespace PIDNS.
	PID uint32
	// PIDNS is the inode of /proc/self/ns/pid. A process whose namespace is
	// unknown is never judged by its pid.
	PIDNS uint64
	// PidfdInode is the inode of the process's pidfd on pidfs (Linux 6.9 and
	// later): counted up by the kernel for every process, the same for
	// everybody who opens one, and kept across execve(2).
	PidfdInode uint64
	// StartTime is field 22 of /proc/PID/stat: clock ticks since boot. It is
	// left out in a time namespace of one's own, where the kernel shifts it.
	StartTime uint64
}

// Self returns the identity of the calling process. Where /proc is not
// mounted or the kernel has no pidfs, the fields they would give stay 0; an
// error means that the process is short of descriptors or memory and a later
// call may learn more.
func Self() (Identity, error) {
	id := Identity{PID: uint32(os.Getpid()), PIDNS: ownPIDNamespace()}

	fd, err := pidfdOpen(os.Getpid(), 0)
	if err == nil {
		id.PidfdInode = pidfdInode(fd)
		unix.Close(fd)
	} else if isShortage(err) {
		return Identity{}, fmt.Errorf("robust: own identity: %w", err)
	}

	if startTimesComparable() {
		id.StartTime, err = statStartTime("/proc/self/stat")
		if isShortage(err) {
			return Identity{}, fmt.Errorf("robust: own identity: %w", err)
		}
	}
	return id, nil
}

// BootID returns the kernel's random name of this boot. It is one for all
// namespaces, but some container managers (systemd-nspawn) mount one of their
// own over it: that two boot ids differ is no proof of a reboot as long as
// somebody holds a byte of the file.
func BootID() ([16]byte, error) {
	var id [16]byte
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id, fmt.Errorf("robust: boot id: %w", err)
	}
	digits := bytes.ReplaceAll(bytes.TrimSpace(text), []byte("-"), nil)
	if len(digits) != hex.EncodedLen(len(id)) {
		return id, fmt.Errorf("robust: boot id: %q is not a UUID", text)
	}
	if _, err := hex.Decode(id[:], digits); err != nil {
		return [16]byte{}, fmt.Errorf("robust: boot id: %w", err)
	}
	return id, nil
}

// A process never changes its pid namespace, so the answer is kept once
// there is one.
var pidNamespace atomic.Uint64

func ownPIDNamespace() uint64 {
	ns := pidNamespace.Load()
	if ns == 0 {
		ns = namespaceInode("/proc/self/ns/pid")
		pidNamespace.Store(ns)
	}
	return ns
}

// namespaceInode is 0 unless path leads to a real namespace: whatever else is
// mounted on /proc must not pass for one.
func namespaceInode(path string) uint64 {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Statfs(path, &fs) != nil || fs.Type != unix.NSFS_MAGIC || unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// The kernel adds the reader's time-namespace offset to the start times it
// shows (Linux 5.5 and later), so only those read in the initial namespace
// compare. Its inode is fixed: PROC_TIME_INIT_INO in linux/proc_ns.h.
const initialTimeNamespace = 0xEFFFFFFA

func startTimesComparable() bool {
	var st unix.Stat_t
	switch err := unix.Stat("/proc/self/ns/time", &st); err {
	case nil:
		return st.Ino == initialTimeNamespace
	case unix.ENOENT:
		return ownPIDNamespace() != 0 // a kernel built without time namespaces
	default:
		return false
	}
}

// statStartTime reads field 22 of a stat file of procfs, counted from behind
// the command name, which may contain spaces and parentheses.
func statStartTime(path string) (uint64, error) {
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, startTime = 3, 22
	if len(fields) <= startTime-state {
		return 0, fmt.Errorf("robust: %s: only %d fields", path, len(fields))
	}
	return strconv.ParseUint(string(fields[startTime-state]), 10, 64)
}

func pidfdOpen(pid, flags int) (int, error) {
	if feature.PidfdOpen.Off() {
		return -1, unix.ENOSYS
	}
	return unix.PidfdOpen(pid, flags)
}

// pidfdInode is 0 on kernels before 6.9, where all pidfds share one anonymous
// inode.
func pidfdInode(fd int) uint64 {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if feature.Pidfs.Off() ||
		unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.PID_FS_MAGIC || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// pidfdStartTime is the start time of the process that fd refers to, 0 if
// unknown. It goes by the pid that procfs itself gives for fd: the mounted
// procfs may be that of another pid namespace, where our number is somebody
// else's. The caller must find the process alive *afterwards*, or else the
// number may have passed to another in between.
func pidfdStartTime(fd int) uint64 {
	if !startTimesComparable() {
		return 0
	}
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
	if err != nil {
		return 0
	}
	_, rest, found := bytes.Cut(info, []byte("\nPid:\t"))
	if !found {
		return 0
	}
	number, _, _ := bytes.Cut(rest, []byte("\n"))
	pid, err := strconv.Atoi(string(number))
	if err != nil || pid <= 0 {
		return 0
	}
	ticks, err := statStartTime("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	return ticks
}

func isShortage(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}
