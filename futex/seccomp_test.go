//go:build linux && (amd64 || arm64)

package futex

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forbidden makes futex_waitv fail with an errno, as container runtimes do,
// for the thread that stays with the caller, and says what WaitAny makes of it.
func forbidden(name string) error {
	errno := unix.EPERM
	if name == "ENOSYS" {
		errno = unix.ENOSYS
	}
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_FUTEX_WAITV},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
	}
	if err != nil {
		fmt.Println("no seccomp")
		return nil
	}
	if HasWaitAny() {
		return fmt.Errorf("HasWaitAny says that it works")
	}
	if index, err := WaitAny(words(2, false), surely()); index != -1 || err != ErrUnsupported {
		return fmt.Errorf("got %d, %v", index, err)
	}
	fmt.Println("unsupported")
	return nil
}
