package arena

import (
	"fmt"
	"strings"
	"sync/atomic"

	"lockd/internal/crash"
	"lockd/robust"
)

// Settling gives back what the dead held, waited for or were about to do, and
// frees their member entries last. One pass over the table serves all the
// dead. It is idempotent and may be done by several at once, or cut short
// anywhere: what is left still names the dead, and the next pass finds it.

// dead are the members that one pass settles.
type dead struct {
	members map[uint16]peer
	joining []uint16
	unsure  bool // of somebody it could not be told
}

func (d dead) has(m robust.Member) (peer, bool) {
	p, ok := d.members[m.Index]
	return p, ok && p.member == m
}

// findDead judges every member but this one.
func (c *core) findDead() dead {
	d := dead{members: make(map[uint16]peer)}
	for i := uint16(1); i < memberEntries; i++ {
		if i == c.member.Index {
			continue
		}
		state := memberState(c.memberAt(i).state.Load())
		switch state.phase() {
		case phaseLive:
			p, verdict := c.judge(robust.Member{Index: i, Generation: state.generation()})
			if verdict == robust.Gone && p.state != 0 {
				d.members[i] = p
			}
			d.unsure = d.unsure || verdict == robust.Unknown
		case phaseJoining:
			if c.judgeJoining(i, state) == robust.Gone {
				d.joining = append(d.joining, i)
			}
		}
	}
	return d
}

// settleDead is one pass. It needs no latch of its own. It is false if some of
// the dead could not be settled wholly yet.
func (c *core) settleDead() bool {
	settled, _ := c.settleAll()
	return settled
}

// settleAll is settleDead that also says whether all who were dead are settled,
// for sure.
func (c *core) settleAll() (settled, sure bool) {
	d := c.findDead()
	settled = c.settleFound(d)
	return settled, settled && !d.unsure
}

func (c *core) settleFound(d dead) bool {
	c.settling.found.Add(uint64(len(d.members)))
	// The dead may have held what is in segments that this process has not
	// noticed; they did nothing after they were found dead.
	c.noticeGrowth()
	for _, i := range d.joining {
		e := c.memberAt(i)
		state := memberState(e.state.Load())
		if state.phase() == phaseJoining && c.judgeJoining(i, state) == robust.Gone {
			e.state.CompareAndSwap(uint64(state), uint64(newMemberState(state.generation(), phaseFree, 0, 0)))
			crash.At("settle.joining")
		}
	}
	if len(d.members) == 0 {
		return true
	}
	crash.At("settle.begin")
	for _, p := range d.members {
		if variantFreeFirst {
			c.memberAt(p.member.Index).state.Store(uint64(newMemberState(p.member.Generation, phaseFree, 0, 0)))
		}
	}
	var passed []string
	for i := uint32(1); i < c.slotCount(); i++ {
		s := c.slotAt(i)
		if s == nil {
			break
		}
		if c.settleSlot(i, s, d) && len(passed) < 8 {
			passed = append(passed, fmt.Sprintf("%q", c.slotName(s)))
		}
	}
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		c.settleRecord(i, c.recordAt(i), d)
	}
	c.settleTickets(d)
	c.settleRanges()
	if !c.settleLatches(d) || c.head.segments.Load() > c.segments() {
		return false // something of theirs could not be reached: their entries stay
	}
	crash.At("settle.frees")
	for i, p := range d.members {
		free := newMemberState(p.member.Generation, phaseFree, 0, 0)
		if c.memberAt(i).state.CompareAndSwap(uint64(p.state), uint64(free)) {
			c.log.Debug("settled a member that is gone", "pid", p.identity.PID, "label", p.label)
		}
		crash.At("settle.freed")
	}
	if len(passed) > 0 {
		c.log.Info("gave back locks whose owners are gone", "locks", strings.Join(passed, ", "))
	}
	return true
}

// settleSlot gives back what one of the dead holds or has claimed. Afterwards
// the slot names none of them.
func (c *core) settleSlot(i uint32, s *slot, d dead) (gaveBack bool) {
	c.settleClaim(i, s, d)
	for {
		w := robust.Word(s.word.Load())
		p, gone := d.has(w.Owner())
		if w.IsFree() || !gone {
			return gaveBack
		}
		crash.At("settle.slot")
		c.passRobberies(i, s, p.member)
		if !c.seize(s, w, p) {
			continue
		}
		if life := slotLife(s.life.Load()); life.isLive() && life.kind().latched() {
			c.mendSeized(i, s) // a latch, not a lock: nobody inherits anything
			continue
		}
		c.letGo(i, s)
		gaveBack = true
	}
}

// settleClaim empties a slot that one of the dead had claimed, and first the
// extension that its name was to have. That one is of the generation that the
// dead had raised the word to; had they not yet, there is none. The next name
// has a later one: a settler who is slow here does it no harm.
func (c *core) settleClaim(i uint32, s *slot, d dead) {
	life := slotLife(s.life.Load())
	if _, gone := d.has(life.claimer()); life.phase() != lifeClaimed || !gone {
		return
	}
	generation := robust.Word(s.word.Load()).Generation()
	if slotLife(s.life.Load()) != life {
		return // settled by another; the generation may be a later one's
	}
	crash.At("settle.claim")
	c.emptyExtension(i, s, generation)
	s.life.CompareAndSwap(uint64(life), lifeEmpty)
}

// settleLatches frees the latches that the dead hold, for these name them too.
// A latch is taken as anybody takes it; what it guards is rebuilt by whoever
// needs it next.
func (c *core) settleLatches(d dead) bool {
	clean := true
	free := func(word *atomic.Uint64, door int, done func(*latch)) {
		w := robust.Word(word.Load())
		if _, gone := d.has(w.Owner()); w.IsFree() || !gone {
			return
		}
		l, ok := c.tryLatch(word, door)
		if !ok {
			_, gone := d.has(robust.Word(word.Load()).Owner())
			clean = clean && !gone
			return
		}
		done(&l)
		crash.At("settle.latch")
	}
	for n := range uint64(stripeCount) {
		free(&c.stripeAt(n).latch, int(n), (*latch).spoil)
	}
	// These two guard nothing that could be half-changed.
	free(&c.head.growth, growthDoor, (*latch).release)
	if w := robust.Word(c.head.settler.Load()); !w.SameHolding(c.self) {
		free(&c.head.settler, settlerDoor, (*latch).release)
	}
	return clean
}
