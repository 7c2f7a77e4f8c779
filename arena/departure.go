package arena

import (
	"fmt"
	"strings"

	"lockd/internal/crash"
	"lockd/robust"
)

// giveBackAll releases, as abandoned, all that this process holds, and says
// what it was. Nobody of this process can take anything any more; retired says
// that its handles point to the file no longer.
func (c *core) giveBackAll(retired bool) error {
	var held, read list
	c.noticeGrowth() // tickets, and robberies, may have come into its name there
	for i := uint32(1); i < c.slotCount(); i++ {
		s := c.slotAt(i)
		if s == nil {
			break
		}
		if c.giveBack(i, s) {
			held.add(c.slotName(s))
		}
		c.unclaim(i)
	}
	crash.At("give.slots")
	c.giveBackCells(&read, retired)
	crash.At("give.cells")
	c.giveBackTickets(&held)
	crash.At("give.tickets")
	c.giveBackRobberies()
	crash.At("give.robberies")
	c.giveBackSessions()
	crash.At("give.sessions")
	c.giveBackRanges(&held)
	crash.At("give.ranges")
	switch {
	case held.count > 0 && read.count > 0:
		return fmt.Errorf("arena: close %s: %w: %v passed on as abandoned, readers of %v taken out", c.path, ErrWasHeld, &held, &read)
	case held.count > 0:
		return fmt.Errorf("arena: close %s: %w: %v passed on as abandoned", c.path, ErrWasHeld, &held)
	case read.count > 0:
		return fmt.Errorf("arena: close %s: %w: readers of %v taken out", c.path, ErrWasHeld, &read)
	}
	return nil
}

// giveBack releases a slot if this process holds it. An rwmutex that is held
// upgradably is not half-changed.
func (c *core) giveBack(i uint32, s *slot) bool {
	var more robust.Word
	if robust.Word(s.word.Load()).SameHolding(c.self) && halfChanged(s) {
		more = robust.Abandoned
		storeDeath(s, Closed, c.identity.PID, c.options.Label)
	}
	life := slotLife(s.life.Load())
	for {
		w := robust.Word(s.word.Load())
		if !w.SameHolding(c.self) {
			return false
		}
		if !w.Has(more) { // A comes before the gate opens
			s.word.CompareAndSwap(uint64(w), uint64(w|more))
			crash.At("give.marked")
			continue
		}
		c.reopen(i, s)
		if s.word.CompareAndSwap(uint64(w), uint64(w.Released(life.generation()))) {
			crash.At("give.freed")
			if !c.wakeDozing(s, w) && w.Has(robust.Waiters) {
				c.wakeOne(s)
			}
			return true
		}
	}
}

// list is names for an error: a few of them, and how many there are.
type list struct {
	names []string
	count int
}

func (l *list) add(name string) { l.addSome(1, fmt.Sprintf("%q", name)) }

func (l *list) addSome(n int, text string) {
	if l.count += n; len(l.names) < 8 {
		l.names = append(l.names, text)
	}
}

func (l *list) String() string {
	names := strings.Join(l.names, ", ")
	if len(l.names) == 8 && l.count > 8 {
		names += ", …"
	}
	return fmt.Sprintf("%d (%s)", l.count, names)
}
