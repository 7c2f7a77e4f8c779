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
	aimed   atomic.Pointer[aim]
	pauses  sync.Map // functions by point
	watcher atomic.Pointer[func(point string)]
)

// aim is where the process is killed, and how often it comes there before.
type aim struct {
	point string
	left  atomic.Int64
}

func init() { Arm(os.Getenv("LOCKD_CRASH")) }

// Arm has the process killed when it comes to a point for the given time from
// now on ("point:3"; the first by default); "" is nowhere. What LOCKD_CRASH
// says counts from the beginning.
func Arm(target string) {
	name, count, found := strings.Cut(target, ":")
	a := &aim{point: name}
	a.left.Store(1)
	if n, err := strconv.Atoi(count); found && err == nil {
		a.left.Store(int64(n))
	}
	aimed.Store(a)
}

// At kills the process, as SIGKILL from outside does, if it is armed for this
// point and time.
func At(point string) {
	if f := watcher.Load(); f != nil {
		(*f)(point)
	}
	if f, ok := pauses.LoadAndDelete(point); ok {
		f.(func())()
	}
	if a := aimed.Load(); a.point != point || a.left.Add(-1) != 0 {
		return
	}
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

// Pause makes the next goroutine of this process that comes to the point call
// f there, once: what f does happens in the window that the point stands in.
func Pause(point string, f func()) { pauses.Store(point, f) }

// Watch has f called with each point that the process comes to from now on.
func Watch(f func(point string)) { watcher.Store(&f) }
