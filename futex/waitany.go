//go:build linux && (amd64 || arm64)

package futex

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// MaxWords is the largest number of words that one [WaitAny] can sleep on
// (FUTEX_WAITV_MAX in include/uapi/linux/futex.h). Setting up and taking down
// a wait costs time for every word: some 50 are a sensible limit.
const MaxWords = 128

// Word is one of the words that [WaitAny] sleeps on, and the value it has to
// have.
type Word struct {
	Addr  *atomic.Uint32
	Value uint32
	// Private words are seen by this process alone and woken by
	// [WakePrivate]; others are woken by [Wake].
	Private bool
}

// WaitAny sleeps while every word has its value, until one of them is woken.
// It returns the index of a word that was woken. That is a hint: more than one
// may have been, and wakes of the others are used up too, so the caller looks
// at all of them, and passes on a wake that it does not need. The index is -1
// with every error, and then no wake was used up.
//
// Deadline and errors are those of [Wait]; also ErrUnsupported, when the
// caller has to make do with bounded waits on one word. No words at all, or
// more than [MaxWords], are EINVAL. Up to 4 words, nothing is allocated.
//
// The words live in mapped memory or on the heap; WaitAny sees to it that
// variables whose address it is given do.
func WaitAny(words []Word, deadline int64) (int, error) {
	if feature.FutexWaitv.Off() || refused.Load() {
		return -1, ErrUnsupported
	}
	if len(words) == 0 || len(words) > MaxWords {
		return -1, waitError("futex_waitv", unix.EINVAL)
	}
	breathe()

	var until unix.Timespec
	limit := timeout(&until, deadline)
	var few [4]waitv
	list := few[:]
	if len(words) > len(few) {
		list = make([]waitv, len(words))
	}
	for i := range words {
		w := &words[i]
		if leak {
			leaked = w.Addr
		}
		// SAFETY: the kernel gets this address as a number, which no garbage
		// collector follows: leaking it keeps the word off the movable stacks,
		// and KeepAlive below keeps it from being freed.
		list[i] = waitv{
			value: uint64(w.Value),
			addr:  uint64(uintptr(unsafe.Pointer(w.Addr))),
			flags: waitv32,
		}
		if w.Private {
			list[i].flags |= flagPrivate
		}
	}

	// SAFETY: both conversions stand in the call. The list may be on the stack:
	// that does not move during a system call, and the kernel keeps no pointer
	// to it.
	index, _, errno := unix.Syscall6(unix.SYS_FUTEX_WAITV,
		uintptr(unsafe.Pointer(&list[0])), uintptr(len(words)), 0,
		uintptr(unsafe.Pointer(limit)), unix.CLOCK_MONOTONIC, 0)
	runtime.KeepAlive(words)
	switch errno {
	case 0:
		return int(index), nil
	case unix.ENOSYS, unix.EPERM:
		refused.Store(true)
		return -1, ErrUnsupported
	}
	return -1, waitError("futex_waitv", errno)
}

// HasWaitAny reports whether [WaitAny] works. The kernel is asked once; a
// seccomp filter installed later shows when WaitAny is refused.
func HasWaitAny() bool {
	return !feature.FutexWaitv.Off() && !refused.Load() && kernelHasWaitv()
}

// refused is set when the kernel, or a filter before it, has refused the call.
var refused atomic.Bool

// No words at all are EINVAL to a kernel that has the call; a kernel or filter
// that does not says something else.
var kernelHasWaitv = sync.OnceValue(func() bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_FUTEX_WAITV, 0, 0, 0, 0, 0, 0)
	return errno == unix.EINVAL
})

// waitv is struct futex_waitv of include/uapi/linux/futex.h.
type waitv struct {
	value    uint64
	addr     uint64
	flags    uint32
	reserved uint32
}

const waitv32 = 2 // FUTEX_32, later renamed FUTEX2_SIZE_U32

// leak is never set, which the compiler does not know: it has to assume that
// the addresses outlive the call and so keeps the words on the heap.
var (
	leak bool
	//lint:ignore U1000 written to, so that what is written escapes
	leaked *atomic.Uint32
)
