package arena

import (
	"fmt"
	"os"
	"sync/atomic"
)

// Arena is one opening of an arena file. However often a process opens a
// file, it is one member of the arena: locks belong to the process, whichever
// Arena, handle or goroutine took them. All methods may be called by several
// goroutines at once.
type Arena struct {
	core      *core
	options   Options
	closed    atomic.Bool
	plain     approach // of the handles that have no patience of their own
	mutexes   handleCache
	rwmutexes handleCache
}

// Open attaches this process to the arena of this name, creating the file if
// there is none. A bare name is a file in Dir, a name with a slash is a path.
// Options may be nil.
//
// A file is there complete or not at all. One that was made before the last
// boot is replaced. Open fails with ErrName, ErrOptions, ErrNotExist,
// ErrNoSpace, ErrPermission, ErrUnsafeFile, ErrBusy, ErrNotArena, ErrVersion,
// ErrLayout, ErrTruncated, ErrDamaged, ErrMembersFull, or ErrReplaced when this
// process still has an older file open that had the same path; it then leaves
// nothing behind.
func Open(name string, o *Options) (*Arena, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	path, err := Path(name)
	if err != nil {
		return nil, err
	}
	c, err := attached.open(path, &options)
	if err != nil {
		return nil, err
	}
	return newArena(c, options), nil
}

func newArena(c *core, options Options) *Arena {
	a := &Arena{core: c, options: options}
	a.plain.arena = a
	return a
}

// Path returns the arena's path.
func (a *Arena) Path() string { return a.core.path }

// Close ends this opening. It wakes whoever waits through it: LockContext and
// Do return ErrClosed; Lock, which cannot, panics. The last one of a process
// detaches the process: it gives back what the process still holds, as
// abandoned, and says so in an error that is ErrWasHeld; afterwards TryLock
// fails, Unlock does nothing, and no handle can touch the file. As long as the
// process has other openings of the file, it keeps what it holds, and a handle
// of the closed one may still take a lock that is free.
//
// Close returns ErrReplaced if the file had lost its path. Closing again
// returns ErrClosed.
func (a *Arena) Close() error {
	if a.closed.Swap(true) {
		return fmt.Errorf("arena: close %s: %w", a.core.path, ErrClosed)
	}
	a.core.wakeForClose()
	a.mutexes.drop()
	a.rwmutexes.drop()
	return attached.close(a.core)
}

// Inherit returns a duplicate of the arena's open file description, for a
// command that is to share this process's liveness: give it to the command in
// ExtraFiles and close it here once the command runs. The arena must have been
// opened with ByteOnly.
func (a *Arena) Inherit() (*os.File, error) {
	if !a.core.options.ByteOnly {
		return nil, fmt.Errorf("arena: inherit %s: %w: it was not opened with ByteOnly", a.core.path, ErrOptions)
	}
	return a.core.duplicate()
}

// LeaveInherited closes the arena for good and leaves all that this process
// holds to those who inherited its descriptor: the locks go free when the last
// of them has ended, without being called abandoned.
func (a *Arena) LeaveInherited() error {
	if !a.core.options.ByteOnly {
		return fmt.Errorf("arena: leave %s: %w: it was not opened with ByteOnly", a.core.path, ErrOptions)
	}
	if a.closed.Swap(true) {
		return fmt.Errorf("arena: leave %s: %w", a.core.path, ErrClosed)
	}
	a.core.wakeForClose()
	a.mutexes.drop()
	a.rwmutexes.drop()
	return attached.leave(a.core)
}
