package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/arena"
)

const (
	victimRole = "victim"
	busyRole   = "busy"
)

// playVictim takes a lock and waits to be killed: the same program, with four
// threads and as much memory, for each kind of lock. Arguments: arena, page,
// kind, MiB of memory, and for a robust mutex where its fields are.
func playVictim(args []string) error {
	size, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	ready := make(chan bool)
	for range 3 {
		go func() {
			runtime.LockOSThread()
			ready <- true
			unix.Pause()
		}()
		<-ready
	}
	memory := make([]byte, size<<20)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	switch kind := args[2]; kind {
	case "arena":
		a, err := arena.Open(args[0], nil)
		if err != nil {
			return err
		}
		a.Mutex("bench").Lock()
	case "robust":
		if err := holdRobust(args[1], args[4:]); err != nil {
			return err
		}
	case "flock":
		f, err := os.OpenFile(args[1]+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return err
		}
		defer f.Close()
	case "nothing":
	}
	json.NewEncoder(os.Stdout).Encode(reply{Say: "held"})
	for {
		unix.Pause()
		runtime.KeepAlive(memory)
	}
}

// robustHead is struct robust_list_head of include/uapi/linux/futex.h: what
// the kernel looks through when the thread ends.
type robustHead struct {
	next    uintptr
	offset  int // of the futex word from the entry
	pending uintptr
}

// holdRobust takes glibc's robust mutex of the page without glibc, so that a
// Go victim can hold it: the word says this thread, and the thread's robust
// list has the mutex. The fields' offsets are what the peer in C told.
func holdRobust(path string, fields []string) error {
	var at [4]uintptr // lock, owner, users, list entry
	if len(fields) != len(at) {
		return errors.New("no layout of a robust mutex")
	}
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 10, 8)
		if err != nil {
			return err
		}
		at[i] = uintptr(n)
	}
	p, _, err := mapPage(path)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	// The head is in mapped memory, which no collector moves or frees.
	b, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	head := (*robustHead)(unsafe.Pointer(&b[0]))
	mutex := unsafe.Pointer(&p.mutex)
	entry := unsafe.Add(mutex, at[3])
	head.offset = int(at[0]) - int(at[3])
	head.next = uintptr(entry)
	*(*uintptr)(entry) = uintptr(unsafe.Pointer(head)) // the list is a ring
	if _, _, errno := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(head)), unsafe.Sizeof(*head), 0); errno != 0 {
		return fmt.Errorf("set_robust_list: %w", errno)
	}
	tid := uint32(unix.Gettid())
	word := (*uint32)(unsafe.Add(mutex, at[0]))
	for deadline := time.Now().Add(patience); !atomic.CompareAndSwapUint32(word, 0, tid); {
		if time.Now().After(deadline) {
			return errors.New("the robust mutex is not free")
		}
		time.Sleep(time.Millisecond)
	}
	*(*uint32)(unsafe.Add(mutex, at[1])) = tid
	*(*uint32)(unsafe.Add(mutex, at[2])) = 1
	return nil
}

// victim starts one that holds the stage's lock of this kind.
func (s *stage) victim(kind string, size int, layout []uintptr) (*child, error) {
	args := []string{s.arenaPath(), s.pagePath(), kind, strconv.Itoa(size)}
	for _, at := range layout {
		args = append(args, fmt.Sprint(at))
	}
	v, err := s.worker(victimRole, args...)
	if err != nil {
		return nil, err
	}
	r, err := v.hear(s.env.ctx)
	if err == nil && r.Say != "held" {
		err = fmt.Errorf("the victim said %q", r.Say)
	}
	return v, err
}
