package arena

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Options are what Open can be told. The zero value, and nil, mean the
// defaults.
type Options struct {
	// Mode is the permission of a file that Open creates; 0 means 0600.
	// Whoever may write the file can take and lie about locks; whoever may read
	// it can see them.
	Mode fs.FileMode
	// MaxLocks is how many locks the arena may grow to, at most about a
	// million, which is what 0 means to the one who creates the file. It is
	// rounded up to whole segments of 1024. An opener that asks for more than the
	// file has raises the file's limit; one that asks for less, or says 0, leaves it.
	MaxLocks int
	// Label says what this process is, for the inspector and for heirs, in at
	// most 64 bytes; longer ones are cut. Empty means the program's name. The
	// first Open of an arena in a process decides.
	Label string
	// Patience is how long calls wait, and what they say meanwhile, unless
	// their handle or their context says otherwise.
	Patience
	// MustExist makes Open fail with ErrNotExist instead of creating a file.
	MustExist bool
	// AllowOtherOwner opens a file of another user than the effective one.
	AllowOtherOwner bool
	// AllowWorldWritable opens a file that everybody may write; so does a Mode
	// with the world's write bit.
	AllowWorldWritable bool
	// ByteOnly asks that this process be judged by its liveness byte alone: it
	// counts as alive as long as anybody has its open file description, also
	// commands that inherited it. The first Open of an arena in a process decides.
	ByteOnly bool
	// FullExit asks that what this process holds pass on, if it dies, only when
	// the kernel has taken down all of it: closed what it had open (ports, file
	// locks, devices), signalled the children that are to die with it, and
	// freed its memory, which takes 26 ms a GiB. Without it an heir can be there
	// as soon as no thread of this process can run any more, which is enough for
	// what is in memory and in files. The first Open of an arena in a process
	// decides.
	FullExit bool
	// TrackHold counts what this process does with mutexes, and exclusively or
	// upgradably with rwmutexes: acquisitions, those that had to wait, and how
	// long they were held; LockInfo.Tally shows it. The numbers of all
	// processes that track are added up, as long as the lock's name stays in
	// the table. A tracked lock costs some two clock readings more, and 64
	// bytes. The first Open of an arena in a process decides.
	TrackHold bool
	// Logger gets what nobody's error return can carry. nil means slog.Default().
	Logger *slog.Logger
}

const maxLocks = maxSegments*segmentSlots - 1

func (o *Options) withDefaults() (Options, error) {
	var v Options
	if o != nil {
		v = *o
	}
	if v.Mode == 0 {
		v.Mode = 0o600
	}
	if v.Mode&^0o777 != 0 || v.Mode&0o600 != 0o600 {
		return v, fmt.Errorf("arena: %w: Mode %#o must be permission bits that let the owner read and write", ErrOptions, v.Mode)
	}
	if v.MaxLocks < 0 || v.MaxLocks > maxLocks {
		return v, fmt.Errorf("arena: %w: MaxLocks %d is not in 1 … %d, nor 0 for as many as there can be", ErrOptions, v.MaxLocks, maxLocks)
	}
	if err := v.Patience.check(); err != nil {
		return v, err
	}
	if v.Label == "" {
		v.Label = filepath.Base(os.Args[0])
	}
	if v.Logger == nil {
		v.Logger = slog.Default()
	}
	return v, nil
}

// segmentsFor is how many segments hold n locks; slot 0 is nil and holds none.
func segmentsFor(n int) uint32 { return uint32((n + segmentSlots) / segmentSlots) }
