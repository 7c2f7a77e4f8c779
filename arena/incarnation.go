package arena

import (
	"context"
	"fmt"

	"lockd/internal/crash"
)

// join finds the semaphore, which it makes if it may. A handle that was used
// for one that is gone by now has lost it for good.
func (s *Semaphore) join(ctx context.Context, anySize bool) (*binding, error) {
	c := s.arena.core
	if s.size < 0 || s.size > MaxTickets {
		return nil, fmt.Errorf("%w: a semaphore has 1 to %d tickets, not %d", ErrTickets, MaxTickets, s.size)
	}
	for {
		b := s.binding()
		if b == unbound || c.stale(b) {
			if s.joined.Load() != 0 {
				return nil, ErrDestroyed
			}
			if err := s.find(ctx, b, anySize); err != nil {
				return nil, err
			}
			continue
		}
		st := loadTickets(b.slot)
		joined := s.joined.Load()
		switch {
		case c.stale(b): // what was read is another name's
			continue
		case joined != 0 && st.incarnation() != joined:
			return nil, ErrDestroyed
		case joined != 0:
		case !st.exists() && (anySize || s.size == 0):
			return nil, ErrNoSemaphore
		case !st.exists():
			if err := s.create(ctx); err != nil {
				return nil, err
			}
			continue
		case s.size != 0 && st.capacity() != s.size && !anySize:
			return nil, fmt.Errorf("%w: it has %d tickets, asked for with %d; 0 takes it as it is", ErrSize, st.capacity(), s.size)
		case !s.joined.CompareAndSwap(0, st.incarnation()):
			continue
		}
		if h := s.hall.Load(); h == nil || len(h.places) < st.capacity() {
			if h = s.hallOf(b, st.incarnation()); h == nil {
				continue // it has gone meanwhile
			}
			s.hall.Store(h)
		}
		return b, nil
	}
}

// find binds the handle to its name's slot. Only who may make the semaphore
// may make the name.
func (s *Semaphore) find(ctx context.Context, old *binding, anySize bool) error {
	c := s.arena.core
	if s.size == 0 || anySize {
		if err := checkName(s.cell.name); err != nil {
			return err
		}
		if p, ok := c.find(hashName(c.head.seed.Load(), s.cell.name), s.cell.name); !ok || p.kind == KindSemaphore && !loadTickets(p.slot).exists() {
			return ErrNoSemaphore
		}
	}
	return s.bind(ctx, old)
}

// create makes the semaphore unless somebody else has. Killed before state
// says that it exists, it leaves an abandoned latch, and the mender frees the
// tickets.
func (s *Semaphore) create(ctx context.Context) error {
	c := s.arena.core
	claimed, err := c.claimRecords(ctx, recordsFor(s.size))
	if err != nil {
		return err
	}
	err = s.latched(ctx, func(d *desk) {
		if loadTickets(d.b.slot).exists() {
			return
		}
		incarnation := max(uint32(d.b.slot.fence.Add(1)), 1)
		crash.At("make.numbered")
		st := newTicketState(incarnation, s.size)
		claimed = d.extend(claimed, 0, st)
		crash.At("make.linked")
		d.b.slot.state.Store(uint64(st))
		crash.At("make.made")
	})
	c.unclaimRecords(claimed)
	return err
}

func recordsFor(tickets int) int { return (tickets + recordTicketCount - 1) / recordTicketCount }

// extend appends claimed records to the chain until it has enough tickets for
// st, and returns those that it had no use for.
func (d *desk) extend(claimed []uint32, have int, st ticketState) []uint32 {
	s := d.b.slot
	link := &s.records
	for first := 0; first < have; first += recordTicketCount {
		t := d.c.ticketsAt(link.Load(), d.b.index, first)
		if t == nil {
			return claimed
		}
		link = &t.next
	}
	for first := have; first < st.capacity() && len(claimed) > 0; first += recordTicketCount {
		i := claimed[0]
		t := recordIs[ticketRecord](d.c, i)
		t.slot.Store(d.b.index)
		t.first.Store(uint32(first))
		t.next.Store(0)
		t.queue.Store(0)
		for k := range t.words {
			t.words[k].Store(uint64(st.free()))
		}
		t.owner.Store(uint64(recordTickets))
		crash.At("extend.made")
		link.Store(i)
		crash.At("extend.linked")
		link = &t.next
		claimed = claimed[1:]
	}
	return claimed
}

func (c *core) recordsFull() error {
	return fmt.Errorf("%w: no records are left; open it with a larger Options.MaxLocks", ErrTableFull)
}
