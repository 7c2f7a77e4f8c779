package arena

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Returned when an argument breaks a rule; the error's text says which.
var (
	ErrName    = errors.New("bad name")
	ErrOptions = errors.New("bad options")
)

// Returned when an arena file cannot be created or reached.
var (
	ErrNotExist   = errors.New("no such arena")
	ErrNoSpace    = errors.New("not enough space for an arena")
	ErrPermission = errors.New("no permission")
	ErrUnsafeFile = errors.New("refused: file is not safe to share")
	ErrBusy       = errors.New("arena is busy")
)

// Returned when a file is there but this build cannot use it. The file is not
// touched.
var (
	ErrNotArena  = errors.New("not an arena")
	ErrVersion   = errors.New("arena of another format version")
	ErrLayout    = errors.New("arena of another layout")
	ErrTruncated = errors.New("arena is truncated")
	ErrDamaged   = errors.New("arena is damaged")
)

// Returned when a table is full of what is in use.
var (
	ErrTableFull   = errors.New("lock table is full")
	ErrMembersFull = errors.New("member table is full")
)

// Returned by operations on locks. After any of them the lock is not held by
// the call that returned it.
var (
	// ErrTimeout: the waiting time ended. Such an error is also
	// context.DeadlineExceeded for errors.Is.
	ErrTimeout = errors.New("timed out")
	// ErrNotHeld: this process does not hold the lock.
	ErrNotHeld = errors.New("not held")
	// ErrOtherOwner: another holds the lock than the one it was to be taken from.
	ErrOtherOwner = errors.New("held by another than was meant")
	// ErrRobbed: an operator took the lock away from this process meanwhile.
	ErrRobbed = errors.New("lock was taken away")
	// ErrKind: the name is in use by a lock of another kind.
	ErrKind = errors.New("name is in use by another kind of lock")
	// ErrClosed: the arena was closed.
	ErrClosed = errors.New("arena is closed")
	// ErrReplaced: the arena's file no longer has its path; others who open it
	// now get another arena. Locks taken before still exclude those who have
	// the old file.
	ErrReplaced = errors.New("arena file was removed or replaced under this process")
)

// Returned by operations on semaphores. The state is unchanged.
var (
	// ErrTickets: a number of tickets that there cannot be: none, fewer than
	// none, or more than MaxTickets; or a ticket number that is not held.
	ErrTickets = errors.New("bad number of tickets")
	// ErrTooMany: more tickets were asked for at once than the semaphore has.
	ErrTooMany = errors.New("more tickets than the semaphore has")
	// ErrSize: the semaphore exists with another number of tickets.
	ErrSize = errors.New("semaphore has another size")
	// ErrDestroyed: the semaphore that this handle was used for is destroyed,
	// or is about to be.
	ErrDestroyed = errors.New("semaphore is destroyed")
	// ErrNoSemaphore: there is none of this name, and the handle was not told
	// a size to make it with.
	ErrNoSemaphore = errors.New("no such semaphore")
)

// ErrRange is returned for a range that there cannot be: a negative start or
// length, an end beyond 2^63, or a mode that is none.
var ErrRange = errors.New("bad range")

// Returned by Remove and Close.
var (
	// ErrInUse: living members are attached.
	ErrInUse = errors.New("arena is in use")
	// ErrWasHeld: Close gave back locks that were held; they pass on as abandoned.
	ErrWasHeld = errors.New("closed while holding locks")
)

// TimeoutError says which lock was waited for, how long, and who held it when
// the time was up.
type TimeoutError struct {
	Lock   string
	Waited time.Duration
	// HolderPID is the owner's process id, 0 if nobody held it at the end; in
	// the holder's pid namespace.
	HolderPID int
	// HolderLabel is the owner's label.
	HolderLabel string
}

func (e *TimeoutError) Error() string {
	holder := "nobody held it at the end"
	if e.HolderPID != 0 {
		holder = fmt.Sprintf("held by pid %d (%s)", e.HolderPID, e.HolderLabel)
	}
	return fmt.Sprintf("arena: lock %q: timed out after %v, %s", e.Lock, e.Waited.Round(time.Millisecond), holder)
}

// Is makes the error ErrTimeout and context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// Timeout reports true, as net.Error's does.
func (e *TimeoutError) Timeout() bool { return true }
