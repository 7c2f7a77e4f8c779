package fuzz

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/futex"
)

// A history is what clients saw of one lock: when they called and when they
// got an answer, by CLOCK_MONOTONIC, which is the same for all processes. It is
// in shared memory, so that what a killed process has written stays. A client
// is one goroutine of one process.
type historyLog struct {
	clients [historyClients]clientLog
}

const (
	historyProcesses  = 6
	goroutinesOfEach  = 2
	historyClients    = historyProcesses * goroutinesOfEach
	historyOperations = 60 // of a client, at most
)

type clientLog struct {
	events [historyOperations]loggedEvent
}

// loggedEvent is one operation. The client writes what and argument, then
// called; afterwards the answers, then returned. A time of 0 is one not come.
type loggedEvent struct {
	called, returned atomic.Int64
	what             operation
	argument         int32
	done, told       bool
	tickets          uint32 // a bit for each number
	fence            uint64
	// queued is a time at which the request was seen to be in the queue, 0 if it
	// was not seen. It is written by whoever looks, not by the client.
	queued atomic.Int64
}

type operation uint8

const (
	opLock operation = iota
	opTryLock
	opUnlock
	opMark
	opRLock
	opTryRLock
	opRUnlock
	opULock
	opUUnlock
	opUpgrade
	opTryUpgrade
	opDowngrade
	opDowngradeToU
	opUDowngrade
	opAcquire
	opRelease
	opResize
	opTake
	opGive
	opFence
	opAsk
	opGet
	opDeath
)

func (o operation) String() string {
	return [...]string{
		"Lock", "TryLock", "Unlock", "MarkConsistent", "RLock", "TryRLock", "RUnlock", "ULock", "UUnlock", "Upgrade",
		"TryUpgrade", "Downgrade", "DowngradeToU", "UDowngrade", "Acquire", "Release", "Resize", "Take", "Give", "Fence", "ask for", "get", "killed",
	}[o]
}

func openHistory(path string) (*historyLog, func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size := int(unsafe.Sizeof(historyLog{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, err
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s: %w", path, err)
	}
	return (*historyLog)(unsafe.Pointer(unsafe.SliceData(raw))), func() { unix.Munmap(raw) }, nil
}

// recorder writes one client's events.
type recorder struct {
	log  *clientLog
	next int
}

func (r *recorder) full() bool { return r.next >= historyOperations-4 }

// record writes down a call of f and what it answers.
func (r *recorder) record(what operation, argument int, f func(e *loggedEvent)) *loggedEvent {
	e := &r.log.events[r.next]
	r.next++
	e.what, e.argument = what, int32(argument)
	e.called.Store(futex.Now())
	f(e)
	e.returned.Store(futex.Now())
	return e
}
