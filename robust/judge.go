package robust

import (
	"math"
	"strconv"

	"golang.org/x/sys/unix"
)

// Verdict answers "is it gone?". Only Gone may be acted on: a process that is
// stopped, slow, swapped out or debugged is Alive, and what cannot be proven
// is Unknown.
type Verdict uint8

// The zero Verdict claims nothing.
const (
	Unknown Verdict = iota
	Alive
	Gone
)

func (v Verdict) String() string {
	switch v {
	case Unknown:
		return "unknown"
	case Alive:
		return "alive"
	case Gone:
		return "gone"
	}
	return "Verdict(" + strconv.Itoa(int(v)) + ")"
}

// Judge says whether a member is gone, from its process and from the liveness
// byte it has locked. byteHeld asks for the byte, as [Bytes.Probe] does; it
// may be nil for a member that has none (its file system knows no such
// locks), which counts as Unknown. It must not be called for the caller's own
// member.
//
//	byte     pid      verdict
//	gone     any      gone      it has exited, or called execve, or withdrawn
//	alive    gone     gone      a child that it left behind keeps the byte
//	alive    alive    alive
//	alive    unknown  alive     another pid namespace, no pidfd
//	unknown  gone     gone
//	unknown  alive    alive
//	unknown  unknown  unknown
//
// A member that is judged by its byte only (byByteOnly), because others
// inherit its descriptor and with it what it holds, is what its byte is.
func Judge(id Identity, byteHeld func() Verdict, byByteOnly bool) Verdict {
	return judge(id, byteHeld, byByteOnly, JudgePID)
}

func judge(id Identity, byteHeld func() Verdict, byByteOnly bool, judgePID func(Identity) Verdict) Verdict {
	byByte := Unknown
	if byteHeld != nil {
		byByte = byteHeld()
	}
	if byByte == Gone || byByteOnly || variantJudgeByByte {
		return byByte
	}
	return combine(byByte, judgePID(id))
}

// combine joins two witnesses of which neither lies when it says Gone.
func combine(byByte, byPID Verdict) Verdict {
	switch {
	case byByte == Gone || byPID == Gone:
		return Gone
	case byByte == Alive || byPID == Alive:
		return Alive
	default:
		return Unknown
	}
}

// JudgePID says whether the process is gone, as far as its pid can tell. It
// takes three to five system calls and a spare descriptor for a moment.
//
// Gone is a proof: no process has that pid, or another one does, or its pidfd
// is readable. An unreaped zombie is Gone; a process whose first thread has
// exited while others run, which /proc shows as Z too, is Alive. A process
// that has called execve is Alive, though it has forgotten all it held: that
// shows in its byte only.
//
// Unknown is the answer for another or an unknown pid namespace, where a live
// process looks like a dead one, and whenever the kernel will not say: before
// Linux 6.9 of a process that is just dying, and without a pidfd (no
// pidfd_open, no spare descriptor, a seccomp filter) of any whose pid somebody
// has, be it its own zombie.
//
// Without PidfdInode, Alive may be said of a younger process that has got the
// same pid within the same clock tick, or within any if StartTime is unknown
// or cannot be read.
func JudgePID(id Identity) Verdict {
	fd, verdict := openJudged(id, 0)
	if fd >= 0 {
		unix.Close(fd)
	}
	return verdict
}

// openJudged returns a descriptor with Alive, and only then.
func openJudged(id Identity, flags int) (fd int, verdict Verdict) {
	if id.PIDNS == 0 || id.PIDNS != ownPIDNamespace() && !variantJudgeForeigners || id.PID == 0 || id.PID > math.MaxInt32 {
		return -1, Unknown
	}
	if variantJudgeByKill {
		return -1, judgeByKill(id)
	}
	fd, err := pidfdOpen(int(id.PID), flags)
	switch err {
	case nil:
	case unix.ESRCH:
		return -1, Gone
	case unix.EINVAL, unix.ENOENT:
		return -1, judgeThread(id)
	default:
		return -1, judgeNumber(id)
	}
	verdict = judgePidfd(fd, id)
	if verdict != Alive {
		unix.Close(fd)
		fd = -1
	}
	return fd, verdict
}

// judgeNumber is for whoever gets no pidfd: there is no pidfd_open, a filter
// forbids it, or there is no spare descriptor. That nobody has the number any
// more needs none; who has it is another question.
func judgeNumber(id Identity) Verdict {
	if !variantPidfdsOnly && unix.Kill(int(id.PID), 0) == unix.ESRCH {
		return Gone
	}
	return Unknown
}

// judgePidfd is told by which number fd was opened, not which process it got:
// if that one is dead, it either was the one we mean or followed it.
func judgePidfd(fd int, id Identity) Verdict {
	if verdict := pollPidfd(fd); verdict != Alive {
		return verdict
	}
	inode := pidfdInode(fd)
	if variantJudgeByPID {
		return Alive
	}
	if inode != 0 && id.PidfdInode != 0 && !variantJudgeByStartTime {
		if inode != id.PidfdInode {
			return Gone
		}
		return Alive
	}
	if id.StartTime == 0 {
		return Alive
	}
	started := pidfdStartTime(fd)
	if verdict := pollPidfd(fd); verdict != Alive {
		return verdict
	}
	if started != 0 && started != id.StartTime {
		return Gone
	}
	return Alive
}

// judgeThread is for a number that the kernel will not open as a process:
// another process's thread has it (EINVAL, since Linux 6.9 ENOENT), or the
// process is dying at this moment (EINVAL before 6.9). Where threads can be
// opened, pidfs tells them apart.
func judgeThread(id Identity) Verdict {
	if id.PidfdInode == 0 {
		return Unknown
	}
	const pidfdThread = unix.O_EXCL
	fd, err := pidfdOpen(int(id.PID), pidfdThread)
	if err == unix.ESRCH {
		return Gone
	}
	if err != nil {
		return Unknown
	}
	defer unix.Close(fd)
	if inode := pidfdInode(fd); inode != 0 && inode != id.PidfdInode {
		return Gone
	}
	return Unknown
}

// pollPidfd is the judge: a pidfd becomes readable when the last thread of
// its process has exited, whether or not it has been waited for.
func pollPidfd(fd int) Verdict {
	poll := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(poll[:], 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || poll[0].Revents&(unix.POLLNVAL|unix.POLLERR) != 0:
			return Unknown
		case poll[0].Revents&(unix.POLLIN|unix.POLLHUP) != 0:
			return Gone
		default:
			return Alive
		}
	}
}

// judgeByKill is a variant.
func judgeByKill(id Identity) Verdict {
	if unix.Kill(int(id.PID), 0) == unix.ESRCH {
		return Gone
	}
	return Alive
}
