//go:build linux && (amd64 || arm64)

package futex

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Now is CLOCK_MONOTONIC in nanoseconds, which deadlines are measured in. It
// never lags behind the kernel's: a deadline that a wait has reported as
// passed has passed here too.
//
// Members in different time namespaces read different clocks.
func Now() int64 {
	return origin.ns + int64(time.Since(origin.at))
}

type instant struct {
	at time.Time
	ns int64
}

// origin ties the runtime's clock, which is read without a system call, to the
// kernel's. The runtime's is read first, so that Now errs to the late side by
// the time between the readings; the closest of a few pairs makes that a
// fraction of a microsecond even where the thread was interrupted.
var origin = func() instant {
	var best instant
	least := time.Duration(math.MaxInt64)
	for range 5 {
		at := time.Now()
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			panic("futex: no monotonic clock: " + err.Error())
		}
		if gap := time.Since(at); gap < least {
			least = gap
			best = instant{at, now.Nano()}
		}
	}
	return best
}()
