package arena

import (
	"fmt"
	"math/bits"
	"unsafe"

	"lockd/robust"
)

func (c *checker) checkSlots() {
	c.named = make(map[uint32]uint32)
	names := make(map[string]uint32, len(c.s.Locks))
	for _, l := range c.s.Locks {
		c.checkLock(l)
		c.checkSemaphore(l)
		if first, taken := names[l.Name]; taken {
			c.report(c.inStripe(c.p.hash(l.Slot)), "name-twice", slotPlace(l.Slot), [2]uint64{uint64(first), uint64(l.Generation)},
				"%q is the name of slot %d too", l.Name, first)
		} else {
			names[l.Name] = l.Slot
		}
	}
	for i := uint32(1); i < c.s.slots(); i++ {
		c.checkClaim(i)
	}
	for i := uint32(1); i < c.s.slots(); i++ {
		if c.p.life(i).isExtension() && c.named[i] == 0 {
			c.report(Damage, "extension-lost", slotPlace(i), [2]uint64{}, "holds the end of a name that no slot has")
		}
	}
}

func (p picture) hash(slot uint32) uint64 { return p.word64(slotStart(slot) + atSlotHash) }

func (c *checker) checkLock(l LockInfo) {
	where := slotPlace(l.Slot)
	life, hash := c.p.life(l.Slot), c.p.hash(l.Slot)
	words := [2]uint64{uint64(l.Word), uint64(life)}
	c.checkWord(l.Word, where)

	if l.Word.IsFree() {
		c.checkGeneration(l, hash, where, words)
	} else if left := c.checkOwner(l.Owner.Member, "owner", where, words, "held by"); left != nil {
		left.locks++
	}

	if life.length() == 0 {
		c.report(Damage, "name-empty", where, words, "its name has no bytes")
		return
	}
	name, whole := c.p.name(l.Slot, life.length())
	if life.length() > inlineName {
		x := c.p.word32(slotStart(l.Slot) + atSlotExtension)
		if !whole {
			c.report(c.inStripe(hash), "extension", where, [2]uint64{uint64(x), uint64(life)}, "the end of its name should be in slot %d, and is not", x)
			return
		}
		if other := c.named[x]; other != 0 {
			c.report(Damage, "extension-shared", where, [2]uint64{uint64(x), uint64(other)}, "the end of its name is in slot %d, which belongs to slot %d", x, other)
		}
		c.named[x] = l.Slot
	}
	if want := hashName(c.p.word64(atSeed), name); want != hash {
		c.report(Damage, "name-hash", where, [2]uint64{hash, want}, "the hash of %q is %#x, not %#x", name, want, hash)
	}
}

// checkGeneration is for a free lock, whose word should belong to the life
// that its slot has. A robbed one's runs ahead until the name is looked up
// anew; it keeps A.
func (c *checker) checkGeneration(l LockInfo, hash uint64, where string, words [2]uint64) {
	if l.Word.Generation() == l.Generation || l.Word.Has(robust.Abandoned) {
		return
	}
	if l.Word.Generation() < l.Generation && l.Kind == KindMutex && c.p.word64(slotStart(l.Slot)+atSlotState) == hasRobberies {
		return // nobody was robbed in the end; the next look-up mends it
	}
	c.report(c.inStripe(hash), "half-evicted", where, words, "the free word is of generation %d, the name of generation %d", l.Word.Generation(), l.Generation)
}

// checkClaim also looks at slots that are no locks, whose place in a chain is
// looked at elsewhere.
func (c *checker) checkClaim(i uint32) {
	life, word := c.p.life(i), robust.Word(c.p.word64(slotStart(i)))
	words := [2]uint64{uint64(life), uint64(word)}
	if !life.isLock() && !word.IsFree() {
		if left := c.checkOwner(word.Owner(), "owner", slotPlace(i), words, "held by"); left != nil {
			left.locks++
		}
	}
	switch {
	case life.isClaimed():
		if x := c.p.word32(slotStart(i) + atSlotExtension); x != 0 && c.named[x] == 0 {
			c.named[x] = i // published before the slot that names it
		}
		if left := c.checkOwner(life.claimer(), "claim", slotPlace(i), words, "claimed by"); left != nil {
			left.claims++
		}
	case life != 0 && !life.isLock() && !life.isExtension():
		c.report(Damage, "life", slotPlace(i), words, "life %#016x is of no kind that there is", uint64(life))
	}
}

// chains remembers which slots were met, so that walking all chains takes two
// steps a slot at most, whatever they look like.
type chains struct {
	own, foreign []bool
}

func (c *checker) checkChains() {
	met := chains{make([]bool, c.s.slots()), make([]bool, c.s.slots())}
	highest := uint32(bits.Len32(c.s.Segments*segmentBuckets)) - 1
	var known [stripeCount]bool
	for number := range uint32(stripeCount) {
		level := c.p.word32(stripesStart + uint64(number)*stripeSize + uint64(unsafe.Offsetof(stripe{}.level)))
		if level < uint32(bits.Len(stripeCount-1)) || level > highest {
			c.report(c.inStripe(uint64(number)), "level", fmt.Sprintf("stripe %d", number), [2]uint64{uint64(level)},
				"its names are spread over 2^%d buckets, of 2^%d", level, highest)
			continue
		}
		known[number] = true
		for b := number; b < 1<<level; b += stripeCount {
			c.walkChain(b, 1<<level-1, &met)
		}
	}
	for _, l := range c.s.Locks {
		if hash := c.p.hash(l.Slot); known[hash%stripeCount] && !met.own[l.Slot] {
			c.report(c.inStripe(hash), "unreachable", slotPlace(l.Slot), [2]uint64{hash, uint64(l.Generation)}, "%q cannot be found: it is not in its chain", l.Name)
		}
	}
}

// walkChain follows the chain of a bucket. Past a slot of another chain it
// goes on, as those who look up names do; a slot without a name has no next.
func (c *checker) walkChain(b uint32, mask uint64, met *chains) {
	severity := c.inStripe(uint64(b))
	var from uint32 // slot; 0 is the bucket
	report := func(code string, to uint32, format string, args ...any) {
		source := "it"
		if from != 0 {
			source = slotPlace(from)
		}
		words := [2]uint64{uint64(from)<<32 | uint64(to), uint64(c.p.life(from))}
		text := fmt.Sprintf("%s leads to slot %d, ", source, to) + fmt.Sprintf(format, args...)
		c.report(severity, code, fmt.Sprintf("bucket %d", b), words, "%s", text)
	}
	for i := c.p.word32(bucketStart(b)); i != 0; i = c.p.word32(slotStart(i) + atSlotNext) {
		if i >= c.s.slots() {
			report("chain-range", i, "which does not exist")
			return
		}
		if !c.p.life(i).isLock() {
			report("chain-empty", i, "which has no name")
			return
		}
		passed := met.own
		if hash := c.p.hash(i); hash&mask != uint64(b) {
			report("chain-foreign", i, "whose name belongs in bucket %d", hash&mask)
			passed = met.foreign
		}
		if passed[i] {
			report("chain-loop", i, "which was passed before")
			return
		}
		passed[i] = true
		from = i
	}
}
