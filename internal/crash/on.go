//go:build lockd_crash

package crash

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Enabled tells whether crash points are compiled in.
const Enabled = true

var (
	target string
	left   atomic.Int64
	pauses sync.Map // functions by point
)

func init() {
	name, count, found := strings.Cut(os.Getenv("LOCKD_CRASH"), ":")
	target = name
	left.Store(1)
	if n, err := strconv.Atoi(count); found && err == nil {
		left.Store(int64(n))
	}
}

// At kills the process, as SIGKILL from outside does, when it comes to the
// point that LOCKD_CRASH names for the given time ("point:3"; the first by
// default).
func At(point string) {
	if f, ok := pauses.LoadAndDelete(point); ok {
		f.(func())()
	}
	if point != target || left.Add(-1) != 0 {
		return
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// Pause makes the next goroutine of this process that comes to the point call
// f there, once: what f does happens in the window that the point stands in.
func Pause(point string, f func()) { pauses.Store(point, f) }
