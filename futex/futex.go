//go:build linux && (amd64 || arm64)

// Package futex is the one door to futex(2): sleep while a 32-bit word in
// memory has a value, wake who sleeps on it, sleep on several words at once,
// and pause the processor for a moment before sleeping at all.
//
// Words are shared between processes unless a name says private: sleepers
// and wakers find each other by the page of the file behind the mapping, not
// by address. A shared wake does not reach a private sleeper, nor the
// reverse, even on the same word.
//
// A wait compares the word and goes to sleep in one step. Who stores a new
// value first and wakes afterwards therefore loses nobody: each sleeper saw
// the old value before the store and is found by the wake, or does not sleep.
//
// A wait blocks its thread but not its scheduler slot, which it yields now and
// then before it sleeps. Signals are no way to cancel it: some waits end with
// any signal, others with none. What has to be cancellable waits with [WaitAny]
// on a second word of its own.
package futex

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Why a wait ended without a wake.
var (
	// ErrChanged: a word did not have the expected value, so nobody slept.
	ErrChanged = errors.New("futex: the word had another value")
	// ErrTimedOut: the deadline has passed.
	ErrTimedOut = errors.New("futex: deadline passed")
	// ErrInterrupted: the thread handled a signal. Any signal does that to a
	// [Wait] with a deadline, the runtime's own for preemption and profiling
	// included: the kernel restarts that call only where no handler ran
	// (ERESTART_RESTARTBLOCK in kernel/futex/waitwake.c). A Wait without one,
	// and [WaitAny], are restarted unless the handler lacks SA_RESTART, which
	// those of the Go runtime have.
	ErrInterrupted = errors.New("futex: interrupted by a signal")
)

// ErrUnsupported is returned by [WaitAny] when the kernel lacks futex_waitv
// (before Linux 5.16), or a seccomp filter forbids it: older container
// runtimes answer EPERM, not ENOSYS, to calls they do not know.
var ErrUnsupported = errors.New("futex: waiting on several words is not supported here")

// All as the number of sleepers to wake means every one.
const All = math.MaxInt32

// Operations from include/uapi/linux/futex.h.
const (
	opWake       = 1          // FUTEX_WAKE
	opWaitBitset = 9          // FUTEX_WAIT_BITSET: unlike FUTEX_WAIT, its timeout is absolute
	flagPrivate  = 128        // FUTEX_PRIVATE_FLAG
	anyBit       = ^uint32(0) // FUTEX_BITSET_MATCH_ANY
)

// Wait sleeps while word has value. The deadline is absolute, in nanoseconds
// as told by [Now]; 0 means none, and one in the past times out at once unless
// the word has changed.
//
// nil means woken. The wake may have been meant for an earlier use of the
// same memory, so the caller looks at the word again. Otherwise the error is
// ErrChanged, ErrTimedOut, ErrInterrupted, or names the errno (EFAULT: the
// file behind the mapping was truncated). A wait that returns an error has
// used up no wake.
//
// The order that counts is that of the word's atomic operations: a wake
// orders nothing by itself.
func Wait(word *atomic.Uint32, value uint32, deadline int64) error {
	breathe()
	var until unix.Timespec
	limit := timeout(&until, deadline)
	// SAFETY: both conversions stand in the call, which keeps the pointers
	// alive; a goroutine's stack does not move while it is in a system call.
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX,
		uintptr(unsafe.Pointer(word)), opWaitBitset, uintptr(value),
		uintptr(unsafe.Pointer(limit)), 0, uintptr(anyBit))
	return waitError("futex wait", errno)
}

// Wake wakes at most n sleepers on a shared word and returns how many it woke;
// 0 also when the memory is gone. It costs a system call even when nobody
// sleeps. It does not give up the scheduler slot meanwhile: cheap for a few,
// milliseconds for a thousand.
func Wake(word *atomic.Uint32, n int) int {
	return wake(word, opWake, n)
}

// WakePrivate is Wake for those who sleep on a [Word] marked Private.
func WakePrivate(word *atomic.Uint32, n int) int {
	return wake(word, opWake|flagPrivate, n)
}

func wake(word *atomic.Uint32, op uintptr, n int) int {
	if n <= 0 {
		return 0 // the kernel would wake one
	}
	// SAFETY: the conversion stands in the call, which keeps word alive.
	woken, _, errno := unix.RawSyscall6(unix.SYS_FUTEX,
		uintptr(unsafe.Pointer(word)), op, uintptr(min(n, All)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(woken)
}

// Low returns the half of word that holds its bits 31 … 0, for the kernel to
// look at. A change of the other half alone goes unnoticed by a wait.
func Low(word *atomic.Uint64) *atomic.Uint32 {
	// SAFETY: the build constraint admits little-endian processors only, where
	// the low half comes first; 8-byte alignment implies 4-byte alignment.
	return (*atomic.Uint32)(unsafe.Pointer(word))
}

// High returns the half of word that holds its bits 63 … 32.
func High(word *atomic.Uint64) *atomic.Uint32 {
	// SAFETY: as for Low; the other half lies 4 bytes behind it, in the word.
	return (*atomic.Uint32)(unsafe.Add(unsafe.Pointer(word), 4))
}

// timeout fills until with a deadline and returns it, or nil for none.
func timeout(until *unix.Timespec, deadline int64) *unix.Timespec {
	if deadline == 0 {
		return nil
	}
	// A negative time is EINVAL to the kernel, but merely past to the caller.
	*until = unix.NsecToTimespec(max(deadline, 1))
	return until
}

func waitError(call string, errno unix.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.EAGAIN:
		return ErrChanged
	case unix.ETIMEDOUT:
		return ErrTimedOut
	case unix.EINTR:
		return ErrInterrupted
	}
	return fmt.Errorf("%s: %w", call, errno)
}
