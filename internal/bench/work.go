package main

import (
	"math"
	"sync"
	"time"
)

// work takes time that no compiler and no processor can shorten: a chain of
// multiplications, each of which needs the result of the one before. The peers
// in C have the same one, so a count means the same time to both.
func work(n uint64) {
	x := n
	for ; n > 0; n-- {
		x = x*6364136223846793005 + 1442695040888963407
	}
	if x == 42 {
		sink.Do(func() {})
	}
}

var sink sync.Once

// workPer is how much work takes about d on this processor.
func workPer(d time.Duration) uint64 {
	return uint64(math.Round(float64(d) / workTime()))
}

// workTime is the time of one step in nanoseconds: of several runs the
// shortest, since interruptions only make them longer.
var workTime = sync.OnceValue(func() float64 {
	const steps = 20000
	least := time.Duration(math.MaxInt64)
	for range 50 {
		began := time.Now()
		work(steps)
		least = min(least, time.Since(began))
	}
	return float64(least) / steps
})
