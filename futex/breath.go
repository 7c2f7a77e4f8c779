//go:build linux && (amd64 || arm64)

package futex

import (
	"runtime"
	"sync/atomic"
	"time"
)

// breath is how long this process's waits go on without a look at Go's
// scheduler. A goroutine that it has not seen for 10 ms, the runtime's monitor
// (retake in runtime/proc.go) takes for one that hogs its processor, and short
// system calls do not count as being seen. So from one that does nothing but
// work and wait here the processor is taken away, a thread is started to look
// for other work, and the monitor comes back 50 times, every 20 µs, before it
// sleeps for 10 ms again.
const breath = 4 * time.Millisecond

var breathed atomic.Int64 // when one of its waits last yielded, by Now

// breathe lets the scheduler see the goroutine, which is about to wait, now and
// then: a yield may wake other threads, so not each time. Who waits may be
// preempted there anyway, so a yield is nothing new to callers.
func breathe() {
	now := Now()
	if last := breathed.Load(); now-last > int64(breath) && breathed.CompareAndSwap(last, now) {
		runtime.Gosched()
	}
}
