package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxSeats   = 64
	goroutines = 3 // of a worker
	shm        = "/dev/shm"
)

// board is what the processes of a run share beside the arenas. A seat is used
// by one process after the other.
type board struct {
	seats [maxSeats]seat
	kinds atomic.Uint64 // a bit for each kind that workers use; the director
}

type seat struct {
	order atomic.Uint32 // what the worker is to do; the director
	stops atomic.Uint32 // grows before each stop and after each continuation; the director
	// Who is killed, and when, CLOCK_MONOTONIC ns; written before it is, by the
	// director or the worker itself.
	killed   atomic.Uint64
	killedAt atomic.Int64
	suicide  atomic.Uint64 // who is about to kill itself; the worker
	execs    atomic.Uint64 // who is about to call execve; the worker

	since      [goroutines]atomic.Int64 // when each goroutine's turn began, 0 between turns
	operations [maxKinds]atomic.Uint64
	refused    atomic.Uint64 // acquisitions that were given up, as was meant
	recoveries atomic.Uint64 // acquisitions of what a dead one had
	worst      atomic.Int64  // of them, ns, if nobody was stopped meanwhile
	victims    atomic.Uint64 // waits that were told of a deadlock
	robberies  atomic.Uint64 // locks taken from the living
	_          [16]byte
}

// The orders.
const (
	orderGoOn uint32 = iota
	orderLeave
	orderExit // without a word
	orderExec
)

// mapShared maps a file that is made if it is not there.
func mapShared(path string, size uintptr) (unsafe.Pointer, func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, err
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return unsafe.Pointer(unsafe.SliceData(raw)), func() { unix.Munmap(raw) }, nil
}

func openBoard(dir string) (*board, func(), error) {
	p, unmap, err := mapShared(filepath.Join(dir, "board"), unsafe.Sizeof(board{}))
	return (*board)(p), unmap, err
}

// ledger is what the kinds write down about one arena file: in memory of its
// own, named by the file's inode, so that an arena made anew has a new ledger.
type ledger struct {
	parts [maxKinds]unsafe.Pointer
	unmap func()
}

func openLedger(dir, name string, inode uint64) (*ledger, error) {
	size := uintptr(0)
	var places [maxKinds]uintptr
	for i, k := range kinds {
		places[i] = size
		size += (k.ledger + 63) / 64 * 64
	}
	p, unmap, err := mapShared(filepath.Join(dir, fmt.Sprintf("%s.%d.ledger", name, inode)), size)
	if err != nil {
		return nil, err
	}
	l := &ledger{unmap: unmap}
	for i := range kinds {
		l.parts[i] = unsafe.Add(p, places[i])
	}
	return l, nil
}

// inodeOf is the inode of the file that this process has mapped by a path,
// whatever the path names by now.
func inodeOf(path string) (uint64, error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, err
	}
	for line := range bytesLines(maps) {
		var inode uint64
		var place, modes, offset, device, mapped string
		if n, _ := fmt.Sscan(line, &place, &modes, &offset, &device, &inode, &mapped); n == 6 && mapped == path {
			return inode, nil
		}
	}
	return 0, fmt.Errorf("%s is not mapped", path)
}
