package robust

import (
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// The end of a process, as the kernel goes about it: each of its threads stops
// running its code for good, leaves the address space, frees what is then
// nobody's, closes what is then nobody's, and is gone. A pidfd tells of the
// last step of the last thread. Freeing takes 26 ms a GiB.
//
// Nobody needs to wait for that who only wants to know that none of the
// threads can touch anything any more. A thread that has left the address
// space never gets another one, and cannot start threads; so it is enough that
// none is left that has one. process_mrelease(2) tells: it looks for a thread
// that has, and fails with ESRCH if there is none. Whoever runs, sleeps in a
// system call, is stopped, traced, dumping core or on the way into execve has
// one.

// JudgeFallen is [Judge] for a member whose sentinel has fallen. It looks
// closer at a process whose pid says alive, and says Gone as soon as none of
// its threads can run again, however long the kernel still takes to free what
// the process had. What it had open may be open still.
func JudgeFallen(id Identity, byteHeld func() Verdict, byByteOnly bool) Verdict {
	return judge(id, byteHeld, byByteOnly, judgeDying)
}

// judgeDying is JudgePID for a process that may be about to end.
func judgeDying(id Identity) Verdict {
	fd, verdict := openJudged(id, 0)
	if fd < 0 {
		return verdict
	}
	defer unix.Close(fd)
	if exited(fd, int(id.PID)) {
		return Gone
	}
	return verdict
}

// exited is true if no thread of the process has an address space any more;
// false means nothing. The descriptor says which process; the pid is the one by
// which it was opened.
func exited(fd, pid int) bool {
	switch {
	case feature.ProcessMrelease.Off() || !canTellExited():
		return false
	case variantBelieveSentinel:
		return true
	// Asked of a process that is being killed and has its memory still,
	// process_mrelease frees it, which is what we do not want to wait for. So
	// it is asked only when it is likely to say that there is none.
	case anyHasMemory(pid):
		return false
	case variantBelieveProc:
		return true
	}
	return processMrelease(fd) == unix.ESRCH
}

// canTellExited asks about this process, which lives: a kernel before 5.15, or
// a seccomp filter, says something else than that it is not being killed. And
// procfs must be mounted, for this pid namespace.
var canTellExited = sync.OnceValue(func() bool {
	fd, err := pidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return processMrelease(fd) == unix.EINVAL && hasMemory("/proc/"+strconv.Itoa(os.Getpid()))
})

func processMrelease(fd int) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_PROCESS_MRELEASE, uintptr(fd), 0, 0)
	return errno
}

// anyHasMemory tells whether one of the threads that procfs lists seems to
// have an address space. Both answers can be wrong: threads come and go while
// it looks, and the number may be another's in this procfs.
func anyHasMemory(pid int) bool {
	process := "/proc/" + strconv.Itoa(pid)
	if hasMemory(process) { // its first thread
		return true
	}
	dir, err := unix.Open(process+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err != unix.ENOENT && err != unix.ESRCH
	}
	defer unix.Close(dir)
	var entries [2048]byte
	var names []string
	for {
		n, err := unix.ReadDirent(dir, entries[:])
		if n <= 0 || err != nil {
			return err != nil && err != unix.ENOENT && err != unix.ESRCH
		}
		_, _, names = unix.ParseDirent(entries[:n], -1, names[:0])
		for _, tid := range names {
			if hasMemory(process + "/task/" + tid) {
				return true
			}
		}
	}
}

// hasMemory looks whether a task has a program: that belongs to its address
// space. Unlike statm and most else in procfs, the link is read without holding
// on to the address space, which would leave it to us to free it. Whoever may
// not read it takes the task for one that has memory.
func hasMemory(task string) bool {
	var target [1]byte
	_, err := unix.Readlink(task+"/exe", target[:])
	return err != unix.ENOENT && err != unix.ESRCH
}
