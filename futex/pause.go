//go:build linux && (amd64 || arm64)

package futex

import (
	"math"
	"sync"
	"time"
)

// Pause tells the processor n times that this is a spin loop: PAUSE on amd64,
// ISB on arm64 (where YIELD takes no time on most processors). How long one
// takes differs by a factor of fifteen between processors: see [PausesPer].
// The scheduler cannot preempt it, so n stands for microseconds at most.
//
//go:noescape
func Pause(n uint32)

// PausesPer returns how many pauses take about d on this processor, at least
// 1. The first call measures, for a fraction of a millisecond as a rule.
func PausesPer(d time.Duration) uint32 {
	n := float64(d) / pauseTime()
	return uint32(min(max(n, 1), math.MaxUint32))
}

// pauseTime is how long one pause takes, in nanoseconds. An interruption can
// only make a run longer, so the shortest of several is the measure.
var pauseTime = sync.OnceValue(func() float64 {
	const pauses, runs = 256, 12
	least := time.Duration(math.MaxInt64)
	for range runs {
		start := time.Now()
		Pause(pauses)
		least = min(least, time.Since(start))
	}
	return max(float64(least), 1) / pauses
})
