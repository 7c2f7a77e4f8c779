package robust

import (
	"runtime"
	"structs"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/feature"
)

// A sentinel is a futex word in shared memory, and a thread of the process
// that posted it, on whose robust list (set_robust_list(2)) the word is. When
// that thread ends, whatever ended it, the kernel marks the word and wakes one
// who sleeps on it: as the thread lets go of its memory, which is long before
// the process's pidfd becomes readable if there is much of it to free.
//
//	0                    none is posted
//	W | thread id        posted
//	W | fallen           the thread has ended
//
// That is a hint and nothing else: a thread can end and its process live on,
// execve looks the same, and whoever may write the word can lie. It says whom
// to look at closely; see [JudgeFallen].
type Sentinel struct {
	word   *atomic.Uint32
	head   *robustHead // nil if the kernel would not have it; set before posted is closed
	posted chan struct{}
	quit   chan struct{}
	ended  sync.WaitGroup
}

// Bits of a robust futex word, from include/uapi/linux/futex.h.
const (
	sentinelWaiters = 1 << 31 // FUTEX_WAITERS: the kernel is to wake somebody
	sentinelFallen  = 1 << 30 // FUTEX_OWNER_DIED
)

// Fallen tells whether a sentinel's word says that its thread has ended.
func Fallen(word uint32) bool { return word&sentinelFallen != 0 }

// robustHead is struct robust_list_head, and the one entry that its list may
// have. The kernel reads it when the thread ends.
type robustHead struct {
	_ structs.HostLayout

	first   atomic.Uintptr // the entry; or the head itself: the list is empty
	offset  int            // from the entry to its futex word
	pending uintptr
	entry   uintptr // the next one: the head
}

const robustHeadSize = 3 * unsafe.Sizeof(uintptr(0)) // without the entry

// robustHeads are all that were ever given to the kernel, by address, and
// whether they are in use: it keeps the address for as long as the thread runs,
// so none may be collected, and the thread can serve the next sentinel.
var robustHeads = struct {
	mu    sync.Mutex
	inUse map[*robustHead]bool
}{inUse: make(map[*robustHead]bool)}

// PostSentinel posts a sentinel at word, which is shared memory that stays
// mapped until Withdraw has returned, and 0. It returns at once; if the kernel
// or a seccomp filter will not have it, nothing more happens.
//
// No thread is spent on it: any of the runtime's will do, for those do not end,
// if it serves no other: with many sentinels there are as many threads.
// Only if that has a robust list already, as the C library gives to each
// thread in a program that uses cgo, the sentinel gets a thread of its own, for
// a thread has one list: not the first, nor one with a mutex on its list.
func PostSentinel(word *atomic.Uint32) *Sentinel {
	s := &Sentinel{word: word, posted: make(chan struct{}), quit: make(chan struct{})}
	s.ended.Go(s.serve)
	return s
}

func (s *Sentinel) serve() {
	runtime.LockOSThread()
	switch s.post() {
	case freeThread:
		close(s.posted)
		runtime.UnlockOSThread()
	case takenThread:
		// While this goroutine keeps the thread, the next one gets another.
		s.ended.Go(s.serve)
		<-s.posted
		runtime.UnlockOSThread()
	case ownThread:
		close(s.posted)
		<-s.quit
		forget(s.head)
		// Still locked when this returns: the thread ends, whose list is not
		// the C library's any more.
	}
}

// Withdraw takes the sentinel back. Nothing touches the word afterwards.
func (s *Sentinel) Withdraw() {
	<-s.posted
	if s.head != nil {
		s.head.first.Store(address(s.head))
		s.word.Store(0)
	}
	close(s.quit)
	s.ended.Wait()
	robustHeads.mu.Lock()
	defer robustHeads.mu.Unlock()
	if _, known := robustHeads.inUse[s.head]; known {
		robustHeads.inUse[s.head] = false
	}
}

// How a thread may serve a sentinel.
type service int

const (
	freeThread  service = iota // beside all else that it does
	takenThread                // not at all: it serves another, or has to stay what it is
	ownThread                  // if it does nothing else from now on
)

// post makes this thread the sentinel, if it can be.
func (s *Sentinel) post() service {
	if feature.RobustList.Off() {
		return freeThread
	}
	var had *robustHead // ours, or the C library's, which looks the same up to the entry
	var size uintptr
	// SAFETY: the kernel writes two words to the stack, which does not move
	// meanwhile.
	if _, _, errno := unix.RawSyscall(unix.SYS_GET_ROBUST_LIST, 0,
		uintptr(unsafe.Pointer(&had)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return freeThread
	}
	robustHeads.mu.Lock()
	defer robustHeads.mu.Unlock()
	var head *robustHead
	for h, inUse := range robustHeads.inUse {
		switch {
		case h != had:
		case inUse:
			return takenThread
		default:
			head = h
		}
	}
	service := freeThread
	if head == nil {
		head = &robustHead{}
		if had != nil {
			service = ownThread
			// A robust mutex that this thread holds would be forgotten; and
			// the first thread, which cannot end before the process, is lost.
			if had.first.Load() != address(had) || had.pending != 0 || unix.Gettid() == unix.Getpid() {
				return takenThread
			}
		}
	}
	head.first.Store(address(head)) // nothing, until all is in place
	head.entry = address(head)
	head.offset = int(uintptr(unsafe.Pointer(s.word)) - uintptr(unsafe.Pointer(&head.entry)))
	// SAFETY: the head is on the heap, where nothing moves, and robustHeads
	// keeps it.
	if setRobustList(head) != 0 {
		return freeThread
	}
	robustHeads.inUse[head] = true
	s.head = head
	s.word.Store(sentinelWaiters | uint32(unix.Gettid()))
	head.first.Store(uintptr(unsafe.Pointer(&head.entry)))
	return service
}

// forget has this thread, which is about to end, give its head back.
func forget(head *robustHead) {
	if setRobustList(nil) == 0 {
		robustHeads.mu.Lock()
		delete(robustHeads.inUse, head)
		robustHeads.mu.Unlock()
	}
}

func setRobustList(head *robustHead) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, address(head), robustHeadSize, 0)
	return errno
}

func address(h *robustHead) uintptr { return uintptr(unsafe.Pointer(h)) }
