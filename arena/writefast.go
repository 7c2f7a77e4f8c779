package arena

import (
	"sync/atomic"

	"lockd/internal/words"
)

// The fast paths of those who hold an rwmutex upgradably or exclusively. They
// do what the slow ones do, in the same order, as long as nobody else wants
// anything; else they leave the rest to these, from where they have come to.
//
// Like those of a mutex they do not count as operations under way. So they see
// the cells through the binding's mapping, which stays; once it was retired
// there are none, and no word is theirs: closing has given all back.

// fewCells is how many cells a fast path looks at.
const fewCells = 8

// wordFast takes the owner word if it is free, and says of which binding.
func (h *handle) wordFast() *binding {
	b := h.binding()
	if !atomic.CompareAndSwapUint64(b.word, b.free, b.self) {
		return nil
	}
	return b
}

// shutFast makes an upgradable holding exclusive if nobody reads; then it is
// done. If it has shut the gate only, who reads has to be waited for.
func (b *binding) shutFast() (shut, done bool) {
	shut = b.slot.state.CompareAndSwap(0, b.self)
	return shut, shut && b.noCell(words.ReadBits)
}

// openFast opens the gate of an exclusive holding. It is done if nobody waits
// to be let in.
func (b *binding) openFast() (open, done bool) {
	open = atomic.LoadUint64(b.word) == b.self && b.slot.state.CompareAndSwap(b.self, 0)
	return open, open && b.noCell(words.WaitBits)
}

// noCell tells whether these bits are in no cell's counts, as far as it is sure.
func (b *binding) noCell(of words.Counts) bool {
	i := b.slot.records.Load()
	for range fewCells {
		if i == 0 {
			return true
		}
		r := at[record](b.mapping, recordOffset(i))
		if r == nil || r.slot.Load() != b.index || words.Counts(r.load())&of != 0 {
			return false
		}
		if kind := kindOfRecord(r.owner.Load()); kind != recordReaders && kind != recordVacant {
			return false
		}
		i = r.next.Load()
	}
	return false
}

// putBack gives up the word, and with it a gate that was shut, for who may not
// go on.
func (h *handle) putBack(b *binding) {
	c := h.arena.core
	if !c.gate.enter() {
		return // closing gives everything back
	}
	defer c.gate.leave()
	c.reopen(b.index, b.slot)
	c.release(b, 0)
}

// openAgain opens a gate that a fast path has shut, for who may not go on.
func (h *handle) openAgain(b *binding) {
	c := h.arena.core
	if c.gate.enter() {
		defer c.gate.leave()
		c.reopen(b.index, b.slot)
	}
}

// opened ends an opening of the gate by a fast path: those who wait are let in.
// Then it gives up the word, if that is wanted.
func (h *handle) opened(b *binding, release bool) {
	c := h.arena.core
	if !c.gate.enter() {
		return // closing gives everything back
	}
	defer c.gate.leave()
	c.grantAll(b.index, b.slot)
	if release {
		c.release(b, 0)
	}
}
