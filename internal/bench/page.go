package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// page is what all processes of one contender map, in Go and in C: its layout
// is also in peers/peer.h. The locks of the arena are not in it.
type page struct {
	stop    atomic.Uint32 // set by the bench to end a round
	_       [60]byte
	counter uint64 // changed inside the section, without atomics: it counts the holders
	_       [56]byte
	keep    atomic.Uint32 // the pid that is to hold the lock until it is killed
	_       [60]byte
	turn    atomic.Uint32 // whose turn the ping-pong is
	_       [60]byte
	mutex   [128]byte // a pthread_mutex_t
}

const pageSize = 4096

const _ = uint(unsafe.Offsetof(page{}.mutex)-256) - uint(256-unsafe.Offsetof(page{}.mutex))

// mapPage maps the page of a file, which is made if it is not there.
func mapPage(path string) (*page, func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, pageSize); err != nil {
		return nil, nil, fmt.Errorf("allocate %s: %w", path, err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s: %w", path, err)
	}
	// SAFETY: a mapped page is aligned and larger than the struct.
	return (*page)(unsafe.Pointer(&b[0])), func() { unix.Munmap(b) }, nil
}
