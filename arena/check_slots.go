package arena

import (
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"lockd/robust"
)

func (c *checker) checkSlots() {
	records := c.p.annexes(c.s)
	c.walk(uint32(len(c.outlines)), func(p picture, i uint32) {
		at := slotStart(i)
		if !p.has(at, slotSize) {
			return
		}
		life := p.life(i)
		c.outlines[i] = outline{life, p.word64(at + atSlotHash), p.word32(at + atSlotNext), p.word32(at + atSlotLast)}
		if !life.isLock() {
			c.checkOther(p, i)
			return
		}
		l := p.decodeLock(c.s, i)
		records = c.p.attach(c.s, &l, records)
		c.checkLock(p, &l)
		first := p.word32(at + atSlotRecords)
		switch l.Kind {
		case KindRWMutex:
			c.checkCells(&l, first)
		case KindSemaphore:
			c.latched[i] = latchedSlot{l.Word, ticketState(p.word64(at + atSlotState))}
			c.checkSemaphore(&l, first)
		case KindRanges:
			c.latched[i] = latchedSlot{word: l.Word}
			c.trees[i] = c.treeOf(i, first)
			c.checkExclusion(&l)
		}
	})
	for _, k := range c.claims { // published before the slot that names it
		if k.extension != 0 && c.named[k.extension] == 0 {
			c.named[k.extension] = k.slot
		}
	}
	for i := range uint32(len(c.outlines)) {
		if i > 0 && c.life(i).isExtension() && c.named[i] == 0 {
			c.report(Damage, "extension-lost", slotPlace(i), [2]uint64{}, "holds the end of a name that no slot has")
		}
	}
}

// slotBits is how many bits a slot's number has.
const slotBits = 20

// checkNames looks for a name that is in two slots. What was remembered of each
// name is its slot and the rest of its hash.
func (c *checker) checkNames() {
	slices.Sort(c.names)
	var twins []uint32
	for i, n := range c.names {
		if i > 0 && n>>slotBits == c.names[i-1]>>slotBits {
			twins = append(twins, uint32(c.names[i-1])&(1<<slotBits-1), uint32(n)&(1<<slotBits-1))
		}
	}
	first := make(map[string]uint32)
	c.eachNamed(twins, func(i uint32, name string) {
		if other := first[name]; other != 0 {
			c.report(c.inStripe(c.hash(i)), "name-twice", slotPlace(i), [2]uint64{uint64(other), uint64(c.life(i).generation())},
				"%q is the name of slot %d too", name, other)
			return
		}
		first[name] = i
	})
}

// eachNamed calls f with some slots, which are few, and their names.
func (c *checker) eachNamed(slots []uint32, f func(i uint32, name string)) {
	if len(slots) == 0 {
		return
	}
	c.walk(slices.Max(slots)+1, func(p picture, i uint32) {
		if slices.Contains(slots, i) {
			name, _ := p.name(i, c.life(i).length())
			f(i, name)
		}
	})
}

func (c *checker) checkLock(p picture, l *LockInfo) {
	where := slotPlace(l.Slot)
	life, hash := c.life(l.Slot), c.hash(l.Slot)
	words := [2]uint64{uint64(l.Word), uint64(life)}
	c.checkWord(l.Word, where)

	if l.Word.IsFree() {
		c.checkGeneration(p, l, hash, where, words)
	} else if left := c.checkOwner(l.Owner.Member, "owner", where, words, "held by"); left != nil {
		left.locks++
	}

	if life.length() == 0 {
		c.report(Damage, "name-empty", where, words, "its name has no bytes")
		return
	}
	name := l.Name
	if life.length() > inlineName {
		x := p.word32(slotStart(l.Slot) + atSlotExtension)
		_, whole := p.name(l.Slot, life.length())
		if !whole {
			c.report(c.inStripe(hash), "extension", where, [2]uint64{uint64(x), uint64(life)}, "the end of its name should be in slot %d, and is not", x)
			return
		}
		if other := c.named[x]; other != 0 {
			c.report(Damage, "extension-shared", where, [2]uint64{uint64(x), uint64(other)}, "the end of its name is in slot %d, which belongs to slot %d", x, other)
		}
		c.named[x] = l.Slot
	}
	want := hashName(c.p.word64(atSeed), name)
	if want != hash {
		c.report(Damage, "name-hash", where, [2]uint64{hash, want}, "the hash of %q is %#x, not %#x", name, want, hash)
	}
	c.names = append(c.names, want<<slotBits|uint64(l.Slot))
}

// checkGeneration is for a free lock, whose word should belong to the life
// that its slot has. A robbed one's runs ahead until the name is looked up
// anew; it keeps A.
func (c *checker) checkGeneration(p picture, l *LockInfo, hash uint64, where string, words [2]uint64) {
	if l.Word.Generation() == l.Generation || l.Word.Has(robust.Abandoned) {
		return
	}
	if l.Word.Generation() < l.Generation && l.Kind == KindMutex && p.word64(slotStart(l.Slot)+atSlotState) == hasRobberies {
		return // nobody was robbed in the end; the next look-up mends it
	}
	c.report(c.inStripe(hash), "half-evicted", where, words, "the free word is of generation %d, the name of generation %d", l.Word.Generation(), l.Generation)
}

// checkOther looks at a slot that is no lock.
func (c *checker) checkOther(p picture, i uint32) {
	life, word := c.life(i), robust.Word(p.word64(slotStart(i)))
	words := [2]uint64{uint64(life), uint64(word)}
	if !word.IsFree() {
		if left := c.checkOwner(word.Owner(), "owner", slotPlace(i), words, "held by"); left != nil {
			left.locks++
		}
	}
	switch {
	case life.isClaimed():
		c.claims = append(c.claims, claimedSlot{i, p.word32(slotStart(i) + atSlotExtension)})
		if left := c.checkOwner(life.claimer(), "claim", slotPlace(i), words, "claimed by"); left != nil {
			left.claims++
		}
	case life != 0 && !life.isExtension():
		c.report(Damage, "life", slotPlace(i), words, "life %#016x is of no kind that there is", uint64(life))
	}
}

// chains remembers which slots were met, so that walking all chains takes two
// steps a slot at most, whatever they look like.
type chains struct {
	own, foreign []bool
}

func (c *checker) checkChains() {
	met := chains{make([]bool, len(c.outlines)), make([]bool, len(c.outlines))}
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
	var lost []uint32
	for i, o := range c.outlines {
		if o.life.isLock() && known[o.hash%stripeCount] && !met.own[i] {
			lost = append(lost, uint32(i))
		}
	}
	named := lost[:min(len(lost), mostNamed)]
	c.eachNamed(named, func(i uint32, name string) { c.reportLost(i, fmt.Sprintf("%q", name)) })
	for _, i := range lost[len(named):] {
		c.reportLost(i, "its name")
	}
}

// mostNamed is how many of those that cannot be found are told by name.
const mostNamed = 100

func (c *checker) reportLost(i uint32, name string) {
	o := c.outline(i)
	c.report(c.inStripe(o.hash), "unreachable", slotPlace(i), [2]uint64{o.hash, uint64(o.life.generation())},
		"%s cannot be found: it is not in its chain", name)
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
		words := [2]uint64{uint64(from)<<32 | uint64(to), uint64(c.life(from))}
		text := fmt.Sprintf("%s leads to slot %d, ", source, to) + fmt.Sprintf(format, args...)
		c.report(severity, code, fmt.Sprintf("bucket %d", b), words, "%s", text)
	}
	for i := c.p.word32(bucketStart(b)); i != 0; i = c.outline(i).next {
		if i >= c.s.slots() {
			report("chain-range", i, "which does not exist")
			return
		}
		if !c.life(i).isLock() {
			report("chain-empty", i, "which has no name")
			return
		}
		passed := met.own
		if hash := c.hash(i); hash&mask != uint64(b) {
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
