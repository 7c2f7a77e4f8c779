//go:build race

package arena

import (
	"runtime"
	"sync"
	"unsafe"
)

// The race detector does not see mapped memory. Under it, every operation
// takes the slow path, which tells the detector of a word on the heap in the
// slot's stead; so data on the heap that an arena's lock guards is no race.
const slowOnly = true

type shadowKey struct {
	core  *core
	index uint32
}

var shadows sync.Map // shadowKey → *uint64

func shadow(c *core, b *binding) unsafe.Pointer {
	word, _ := shadows.LoadOrStore(shadowKey{c, b.index}, new(uint64))
	return unsafe.Pointer(word.(*uint64))
}

// Tickets have a word beside that of their latch, for many give back and each
// who gets any comes after all of them.
func ticketShadow(c *core, b *binding) unsafe.Pointer {
	word, _ := shadows.LoadOrStore(shadowKey{c, b.index | 1<<31}, new(uint64))
	return unsafe.Pointer(word.(*uint64))
}

func raceGot(c *core, b *binding)  { runtime.RaceAcquire(ticketShadow(c, b)) }
func raceGave(c *core, b *binding) { runtime.RaceReleaseMerge(ticketShadow(c, b)) }

func raceAcquire(c *core, b *binding) { runtime.RaceAcquire(shadow(c, b)) }
func raceRelease(c *core, b *binding) { runtime.RaceRelease(shadow(c, b)) }
