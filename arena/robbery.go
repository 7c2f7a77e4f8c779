package arena

import (
	"context"
	"fmt"
	"time"

	"lockd/internal/crash"
	"lockd/robust"
)

// Robbery: taking a mutex from a process that lives and holds it.
//
// The robbed does not know. His unlock must not free what another holds by
// then; and if that other is another goroutine of his own process, the word
// says the same as it did when he took it. So the slot goes into its next
// generation, for which every handle has to be bound anew, and a record says
// that a holder in the victim's process has not noticed yet: as long as it
// stands, that process binds no handle to the slot, and the slot is not
// evicted. The unlock of the robbed consumes it.
//
// The robber, under the stripe's latch:
//
//	plans    a record, in the robber's name: robs this victim of this slot
//	ages     life: generation g → g+1
//	takes    word: the victim's → the robber's, A
//	tells    who was robbed
//	hands    the record: the robber's name → the victim's
//	lets go  word: the robber's → free(g+1), A
//
// Who may die where:
//
//	robber, planned or aged  the victim still holds; a settler drops the record
//	robber, taken            who reclaims the word hands the record over first
//	victim                   its records go with it
//
// Who holds a slot for nobody, because he has settled it or found it to be
// another name's, and is robbed of it, notices when he lets go.
//
// If the victim releases before the robber takes, the record is dropped. Who
// holds a slot that has aged under him releases it as of its new generation.
//
// What is left: a robber's own process takes the lock by another goroutine
// between the victim's release and the robber's look, and is killed right
// there. Then a record stands that is none, and the victim's process cannot
// take the lock until it has ended.

// recordRobbery is a robbery: see robber and victim.
const recordRobbery recordKind = 4

// robberyOf tells whether a record is a robbery of this slot, and of whom.
func robberyOf(r *record, slot uint32) (victim robust.Member, yes bool) {
	if kindOfRecord(r.owner.Load()) != recordRobbery || r.slot.Load() != slot {
		return robust.Member{}, false
	}
	return ownerOfRecord(r.counts.Load()), true
}

// eachRobbery calls f with the robberies of a slot, until f returns false. The
// robber's record may be in a segment that this process has had no use for yet.
func (c *core) eachRobbery(index uint32, f func(r *record, victim robust.Member) bool) {
	c.noticeGrowth()
	for i := uint32(1); i < c.segments()*segmentRecords; i++ {
		r := c.recordAt(i)
		if victim, yes := robberyOf(r, index); yes && !f(r, victim) {
			return
		}
	}
}

// Break takes the mutex of this name away from the living process that holds
// it, and says from whom. What the lock protects may be half-changed, and its
// last holder may go on changing it: this is for an operator who knows better.
//
// The next owner is told that the lock was abandoned, by Robbed. The robbed
// learns it when he releases: Release and Do return ErrRobbed, Unlock does
// not panic; the log says it. Until then his process cannot take the lock.
//
// Errors: ErrNotHeld if nobody living holds it, or this process does; ErrKind if it is not a
// mutex; ErrName, ErrTableFull, ErrClosed, the context's.
func (a *Arena) Break(ctx context.Context, name string) (Death, error) {
	return a.breakFrom(ctx, name, robust.Member{})
}

// BreakFrom is Break for one who has looked and decided: it takes the mutex
// away only from the member that was seen to hold it, such as LockInfo.Owner
// shows, and returns ErrOtherOwner if another holds it by now. A member that
// has let go and taken it again since is the one that was seen.
func (a *Arena) BreakFrom(ctx context.Context, name string, owner robust.Member) (Death, error) {
	if owner == (robust.Member{}) {
		return Death{}, fmt.Errorf("arena: break %q: %w: of no member", name, ErrNotHeld)
	}
	return a.breakFrom(ctx, name, owner)
}

// breakFrom takes it from whoever holds it if owner is none.
func (a *Arena) breakFrom(ctx context.Context, name string, owner robust.Member) (Death, error) {
	c := a.core
	if a.closed.Load() || !c.gate.enter() {
		return Death{}, fmt.Errorf("arena: break %q: %w", name, ErrClosed)
	}
	defer c.gate.leave()
	d, err := c.rob(ctx, name, owner)
	if err != nil {
		return Death{}, fmt.Errorf("arena: break %q: %w", name, err)
	}
	c.log.Warn("took a lock from its living owner", "lock", name, "pid", d.PID, "label", d.Label)
	return d, nil
}

func (c *core) rob(ctx context.Context, name string, meant robust.Member) (Death, error) {
	if err := checkName(name); err != nil {
		return Death{}, err
	}
	spare := c.claimRecord(recordWaiter)
	if spare == 0 {
		spare = c.claimAnyRecord(recordWaiter)
	}
	if spare == 0 {
		return Death{}, ErrTableFull
	}
	r := c.recordAt(spare)
	defer r.owner.CompareAndSwap(recordOwner(c.member, recordWaiter), 0)

	hash := hashName(c.head.seed.Load(), name)
	l, err := c.latchStripe(ctx, hash)
	if err != nil {
		return Death{}, err
	}
	defer l.end()
	d, err := c.robLatched(r, hash, name, meant)
	l.whole = true
	return d, err
}

func (c *core) robLatched(r *record, hash uint64, name string, meant robust.Member) (Death, error) {
	p, ok := c.walkLatched(hash, name)
	if !ok {
		return Death{}, fmt.Errorf("%w: there is no lock of this name", ErrNotHeld)
	}
	s := p.slot
	w := robust.Word(s.word.Load())
	switch {
	case p.kind != KindMutex:
		return Death{}, fmt.Errorf("%w: a %v cannot be broken; end the process that holds it", ErrKind, p.kind)
	case w.IsFree():
		return Death{}, fmt.Errorf("%w: it is free", ErrNotHeld)
	case meant != robust.Member{} && w.Owner() != meant && !variantRobAnyone:
		return Death{}, fmt.Errorf("%w: by pid %d", ErrOtherOwner, w.PID())
	case w.SameHolding(c.self):
		return Death{}, fmt.Errorf("%w by another process: this one holds it", ErrNotHeld)
	case slotLife(s.life.Load()).generation() >= robust.MaxGeneration-2:
		return Death{}, fmt.Errorf("%w: its slot is used up", ErrTableFull)
	}
	victim, verdict := c.judge(w.Owner())
	if verdict == robust.Gone {
		return Death{}, fmt.Errorf("%w by the living: pid %d is dead, and whoever locks it next inherits it", ErrNotHeld, w.PID())
	}
	return c.robOwner(r, p, w, victim)
}

func (c *core) robOwner(r *record, p place, w robust.Word, victim peer) (Death, error) {
	s := p.slot
	r.slot.Store(p.index)
	r.count.Store(c.identity.PID)
	r.since.Store(uint64(time.Now().UnixNano()))
	r.counts.Store(recordOwner(w.Owner(), 0))
	planned := recordOwner(c.member, recordRobbery)
	r.owner.Store(planned)
	crash.At("rob.recorded")
	s.state.Store(hasRobberies)
	crash.At("rob.planned")
	life := slotLife(s.life.Load())
	aged := liveLife(life.generation()+1, life.length(), life.kind())
	s.life.Store(uint64(aged))
	crash.At("rob.ages")
	c.tagExtension(p.index, s)
	crash.At("rob.aged")
	c.passing.Lock()
	defer c.passing.Unlock()
	for holding := w; !s.word.CompareAndSwap(uint64(w), uint64(w.Reclaimed(c.self))); {
		if w = robust.Word(s.word.Load()); !w.SameHolding(holding) {
			r.owner.CompareAndSwap(planned, 0)
			crash.At("rob.dropped")
			c.bringUp(s, aged)
			return Death{}, fmt.Errorf("%w: pid %d has just released it", ErrNotHeld, holding.PID())
		}
	}
	crash.At("rob.taken")
	c.wakeDozing(s, w)
	storeDeath(s, Robbed, w.PID(), victim.label)
	d := loadDeath(s)
	crash.At("rob.told")
	c.handOverRobbery(r, planned, w.Owner())
	crash.At("rob.handed")
	c.letGo(p.index, s)
	return d, nil
}

// hasRobberies in a mutex's state says that there may be records of robberies.
// It goes when the slot is found idle, without any.
const hasRobberies = 1

// tagExtension brings the tag of a long name's end to the slot's generation.
func (c *core) tagExtension(i uint32, s *slot) {
	x := c.slotAt(s.extension.Load())
	if x == nil {
		return
	}
	life, now := slotLife(x.life.Load()), slotLife(s.life.Load())
	if life.isExtension() && life.extends() == i {
		x.life.CompareAndSwap(uint64(life), uint64(extensionLife(i, now.generation())))
	}
}

// bringUp brings a free word up to the generation of its slot's life.
func (c *core) bringUp(s *slot, life slotLife) {
	if w := robust.Word(s.word.Load()); astray(w, life) && w.Generation() < life.generation() {
		s.word.CompareAndSwap(uint64(w), uint64(robust.Free(life.generation())|w.Flags()))
		crash.At("rob.brought-up")
	}
}

// handOverRobbery puts a robbery that has come to its end into the victim's
// name. A victim that was settled meanwhile needs none; was it not yet, its
// settler finds it.
func (c *core) handOverRobbery(r *record, planned uint64, victim robust.Member) {
	theirs := recordOwner(victim, recordRobbery)
	if !r.owner.CompareAndSwap(planned, theirs) {
		return
	}
	if _, there := c.peerOf(victim); !there {
		r.owner.CompareAndSwap(theirs, 0)
	}
}

// passRobberies hands over the robberies of a robber that is gone and whom the
// slot's word still names: he had taken it. It comes before the reclaim, after
// which nobody could tell.
func (c *core) passRobberies(index uint32, s *slot, robber robust.Member) {
	if s.state.Load() != hasRobberies || slotLife(s.life.Load()).kind() != KindMutex {
		return
	}
	c.eachRobbery(index, func(r *record, victim robust.Member) bool {
		if ownerOfRecord(r.owner.Load()) == robber && victim != robber {
			c.handOverRobbery(r, recordOwner(robber, recordRobbery), victim)
			crash.At("rob.passed")
		}
		return true
	})
}

// forgetRobberies lets a slot be idle that has no robbery left. The stripe's
// latch is held.
func (c *core) forgetRobberies(index uint32, s *slot) {
	if s.state.Load() != hasRobberies || !robust.Word(s.word.Load()).IsFree() {
		return
	}
	found := false
	c.eachRobbery(index, func(*record, robust.Member) bool {
		found = true
		return false
	})
	if !found {
		s.state.Store(0)
		crash.At("rob.forgotten")
	}
}
