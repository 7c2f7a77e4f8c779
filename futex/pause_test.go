//go:build linux && (amd64 || arm64)

package futex

import (
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPausesPer(t *testing.T) {
	for _, d := range []time.Duration{math.MinInt64, -1, 0, 1} {
		if n := PausesPer(d); n < 1 || n > 100 {
			t.Errorf("%d pauses in %v", n, d)
		}
	}
	if n := PausesPer(math.MaxInt64); n != math.MaxUint32 {
		t.Errorf("%d pauses in three centuries", n)
	}
	const d = 100 * time.Microsecond
	n := PausesPer(d)
	least := time.Duration(math.MaxInt64)
	for range 20 {
		start := time.Now()
		Pause(n)
		least = min(least, time.Since(start))
	}
	// Far apart, as processors change their clock rate.
	if least < d/8 || least > 100*d {
		t.Errorf("%d pauses took %v, meant to take %v", n, least, d)
	}
	Pause(0)
}

func TestNow(t *testing.T) {
	kernel := func() int64 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			t.Fatal(err)
		}
		return now.Nano()
	}
	for range 1000 {
		before, now, after := kernel(), Now(), kernel()
		if now < before {
			t.Fatalf("%d ns behind", before-now)
		}
		if now > after+int64(time.Second) {
			t.Fatalf("%d ns ahead", now-after)
		}
	}
}
