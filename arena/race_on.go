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
	core    *core
	index   uint32
	readers bool
}

var shadows sync.Map // shadowKey → *uint64

func shadow(c *core, index uint32, readers bool) unsafe.Pointer {
	word, _ := shadows.LoadOrStore(shadowKey{c, index, readers}, new(uint64))
	return unsafe.Pointer(word.(*uint64))
}

func raceAcquire(c *core, b *binding) { runtime.RaceAcquire(shadow(c, b.index, false)) }
func raceRelease(c *core, b *binding) { runtime.RaceRelease(shadow(c, b.index, false)) }

// Readers are ordered after writers by the word that stands for the owner
// word, and before the next writer by a second one, which they do not order
// themselves by.
func raceReadAcquire(c *core, index uint32) { runtime.RaceAcquire(shadow(c, index, false)) }
func raceReadRelease(c *core, index uint32) { runtime.RaceReleaseMerge(shadow(c, index, true)) }
func raceWriteAcquire(c *core, b *binding)  { runtime.RaceAcquire(shadow(c, b.index, true)) }

// Tickets have a word beside that of their latch, the second one too: many
// give back, and each who gets any comes after all of them.
func raceGot(c *core, b *binding)  { runtime.RaceAcquire(shadow(c, b.index, true)) }
func raceGave(c *core, b *binding) { runtime.RaceReleaseMerge(shadow(c, b.index, true)) }
