package arena

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
)

// Semaphore is a handle to a named set of numbered tickets, 0 to one less than
// its size, of which each is held by one process at a time. Make it with
// [Arena.Semaphore], do not copy it.
//
// Giving a ticket back happens before an acquisition that gets it returns, in
// any process. Requests are served in the order in which they arrive, in all
// processes together, so that a large one is not starved by small ones.
//
// The tickets of a process that dies, however it dies, come back, each of them
// once. Nobody is told: what a ticket stands for is not called half-changed.
type Semaphore struct {
	handle
	size   int           // to make it with; 0: whatever it has
	joined atomic.Uint32 // the incarnation that this handle was first used for
	hall   atomic.Pointer[hall]
}

// Semaphore returns a handle to the semaphore of this name, 1 to MaxName bytes
// without NUL. It is made with so many tickets, 1 to MaxTickets, when a handle
// to it is first used; it stays, with whatever size it is given later, until
// it is destroyed or the arena is removed. If it exists with another number of
// tickets, the handle's first use returns ErrSize and changes nothing; 0 takes
// it as it is, and never makes it.
//
// Semaphore never fails: what is wrong with the arguments shows when the
// handle is used. A handle to a semaphore that was destroyed stays one; a new
// handle makes a new semaphore.
func (a *Arena) Semaphore(name string, tickets int) *Semaphore {
	return &Semaphore{handle: handle{cell: a.core.cells.named(maphash.String(handleSeed, name), KindSemaphore, name), arena: a}, size: tickets}
}

// Acquire takes n tickets at once, waiting for them until the context ends or
// the arena's Options.Timeout is over. If they are free it may succeed with a
// context that has ended. Errors: a *TimeoutError, which is ErrTimeout and
// context.DeadlineExceeded; context.Canceled, or the context's cause, wrapped;
// ErrTickets, ErrTooMany (also when the semaphore is made smaller meanwhile),
// ErrSize, ErrDestroyed, ErrNoSemaphore, ErrName, ErrKind, ErrTableFull,
// ErrClosed, ErrReplaced. With any of them no ticket is held.
func (s *Semaphore) Acquire(ctx context.Context, n int) (*Tickets, error) {
	if h := s.hall.Load(); h != nil && n == 1 {
		if t := h.takeOne(); t != nil {
			return t, nil
		}
	}
	return s.acquire(ctx, n, wantTickets)
}

// AcquirePatiently is Acquire that does not fail if n is more than the
// semaphore has, but waits until it is made large enough. Until then it holds
// up nobody who came later.
func (s *Semaphore) AcquirePatiently(ctx context.Context, n int) (*Tickets, error) {
	return s.acquire(ctx, n, wantPatiently)
}

// TryAcquire takes n tickets at once if they are free and nobody living waits
// for tickets, and says whether it did. It does not wait. A failed TryAcquire
// orders nothing in memory. It may fail for no longer than a millisecond after
// the death of a holder is provable.
func (s *Semaphore) TryAcquire(n int) (*Tickets, bool) {
	if h := s.hall.Load(); h != nil && n == 1 {
		if t := h.takeOne(); t != nil {
			return t, true
		}
	}
	return s.tryAcquire(n)
}

// Tickets returns how many tickets the semaphore has.
func (s *Semaphore) Tickets() (int, error) {
	n := 0
	err := s.use("look at", func(ctx context.Context) error {
		b, err := s.join(ctx, false)
		if err == nil {
			n = loadTickets(b.slot).capacity()
		}
		return err
	})
	return n, err
}

// InUse returns how many tickets are held, by the dead too as long as nobody
// has noticed. It can be more than Tickets after the semaphore was made smaller.
func (s *Semaphore) InUse() (int, error) {
	n := 0
	err := s.use("look at", func(ctx context.Context) error {
		b, err := s.join(ctx, false)
		if err == nil {
			n = s.arena.core.ticketsInUse(b.index, b.slot)
		}
		return err
	})
	return n, err
}

func (c *core) ticketsInUse(index uint32, s *slot) int {
	n := 0
	c.eachTicket(index, s, func(_ int, word *atomic.Uint64) bool {
		if _, held := ticketWord(word.Load()).owner(); held {
			n++
		}
		return true
	})
	return n
}

// tryAcquire looks for the dead at most once a millisecond.
func (s *Semaphore) tryAcquire(n int) (t *Tickets, ok bool) {
	s.use("try", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tryPatience)
		defer cancel()
		for judged := false; ; judged = true {
			var err error
			var out outcome
			if t, out, err = s.attempt(ctx, n, wantTickets, nil); err != nil || out == taken {
				ok = out == taken
				return err
			}
			if judged || !s.reap() {
				return nil
			}
		}
	})
	return t, ok
}

// reap frees what the dead hold, at most once a millisecond.
func (s *Semaphore) reap() bool {
	b, h := s.binding(), s.hall.Load()
	if h == nil || b == unbound {
		return false
	}
	last, now := h.judged.Load(), futex.Now()
	if now-last < int64(judgeEvery) || !h.judged.CompareAndSwap(last, now) {
		return false
	}
	return s.reapNow(b)
}

// reapNow frees what the dead hold and withdraws what they wait for, such as
// the semaphore's end: with nobody waiting, nobody had noticed.
func (s *Semaphore) reapNow(b *binding) bool {
	if !s.arena.core.reapTickets(b.index, b.slot) {
		return false
	}
	s.arena.core.serveTickets(b, true)
	return true
}

// use wraps an operation in what all have in common.
func (s *Semaphore) use(what string, f func(context.Context) error) error {
	return s.useUntil(context.Background(), what, f)
}

func (s *Semaphore) useUntil(ctx context.Context, what string, f func(context.Context) error) error {
	c := s.arena.core
	if s.arena.closed.Load() || !c.gate.enter() {
		return fmt.Errorf("arena: %s semaphore %q: %w", what, s.cell.name, ErrClosed)
	}
	defer c.gate.leave()
	if d := s.arena.options.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	began := futex.Now()
	err := f(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return s.timedOut(began)
	}
	return fmt.Errorf("arena: %s semaphore %q: %w", what, s.cell.name, err)
}

// timedOut names the holder of the lowest ticket.
func (s *Semaphore) timedOut(began int64) error {
	c := s.arena.core
	e := &TimeoutError{Lock: s.cell.name, Waited: time.Duration(futex.Now() - began)}
	if b := s.binding(); b != unbound {
		c.eachTicket(b.index, b.slot, func(_ int, word *atomic.Uint64) bool {
			m, held := ticketWord(word.Load()).owner()
			if !held {
				return true
			}
			if p, ok := c.peerOf(m); ok {
				e.HolderPID, e.HolderLabel = int(p.identity.PID), p.label
			}
			return false
		})
	}
	return e
}

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
			s.hall.Store(s.hallOf(b, 0))
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

// latched does something under the latch of a semaphore that exists. A latch
// that is not to be had is waited for until the context ends.
func (s *Semaphore) latched(ctx context.Context, f func(d *desk)) error {
	c := s.arena.core
	b := s.binding()
	if b.slot == nil || !b.slot.word.CompareAndSwap(b.free, b.self) {
		if err := s.handle.acquire(request{ctx: ctx}); err != nil {
			return err
		}
		b = s.binding() // what is held is not evicted
	} else {
		raceAcquire(c, b)
	}
	d := &desk{c: c, b: b}
	d.work(func() { f(d) })
	return nil
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
		st := newTicketState(incarnation, s.size)
		claimed = d.extend(claimed, 0, st)
		crash.At("create.linked")
		d.b.slot.state.Store(uint64(st))
		crash.At("create.made")
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
	return fmt.Errorf("%w: no records are left for tickets or requests; open it with a larger Options.MaxLocks", ErrTableFull)
}

// acquire takes n tickets or waits for them.
func (s *Semaphore) acquire(ctx context.Context, n int, mode uint32) (t *Tickets, err error) {
	err = s.useUntil(ctx, "acquire", func(ctx context.Context) error {
		var out outcome
		if t, out, err = s.attempt(ctx, n, mode, nil); err != nil || out == taken {
			return err
		}
		c := s.arena.core
		claimed, err := c.claimRecords(ctx, 1)
		if err != nil {
			return err
		}
		w := c.newWait(claimed[0])
		t, out, err = s.attempt(ctx, n, mode, w)
		if err != nil || out == taken {
			c.unclaimRecords(claimed)
			return err
		}
		t, err = s.collect(ctx, w, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// attempt takes n tickets if they are to be had; if not, and w is not nil, it
// queues a request, and has to be followed by collect.
func (s *Semaphore) attempt(ctx context.Context, n int, mode uint32, w *ticketWait) (*Tickets, outcome, error) {
	if n < 1 || n > MaxTickets {
		return nil, busy, fmt.Errorf("%w: 1 to %d can be acquired, not %d", ErrTickets, MaxTickets, n)
	}
	b, err := s.join(ctx, false)
	if err != nil {
		return nil, busy, err
	}
	out := busy
	numbers := make([]int, 0, n)
	ending := false
	if e := s.latched(ctx, func(d *desk) {
		if loadTickets(d.b.slot).has(ticketsAwaited) {
			d.pass(true)
		}
		st := loadTickets(d.b.slot)
		switch {
		case st.incarnation() != s.joined.Load() || st.has(ticketsEnding):
			err, ending = ErrDestroyed, st.has(ticketsEnding)
			return
		case n > st.capacity() && mode == wantTickets:
			err = fmt.Errorf("%w: %d of %d", ErrTooMany, n, st.capacity())
			return
		case n <= st.capacity() && !st.has(ticketsAwaited):
			if numbers = d.take(n, st, numbers); len(numbers) == n {
				out = taken
				return
			}
		}
		if w == nil {
			return
		}
		flags := ticketsAwaited
		if n > st.capacity() {
			flags = 0
		}
		w.binding = d.b
		d.enqueue(w.request, w.record, n, mode, flags)
		d.pass(true)
	}); e != nil {
		return nil, busy, e
	}
	if ending && s.reapNow(b) {
		return s.attempt(ctx, n, mode, w)
	}
	if err != nil || out != taken {
		return nil, out, err
	}
	raceGot(s.arena.core, b)
	return &Tickets{hall: s.hallOf(b, numbers[n-1]+1), held: numbers}, taken, nil
}

func (c *core) newWait(request uint32) *ticketWait {
	return &ticketWait{
		request: request, record: recordIs[requestRecord](c, request),
		wanted: recordOwner(c.member, recordWanted), wake: make(chan struct{}, 1),
	}
}

// collect waits for the answer to a request and takes what was granted. The
// tickets are this process's since they were given; they become the caller's
// before the record is freed, whose index they name.
func (s *Semaphore) collect(ctx context.Context, w *ticketWait, n int) (*Tickets, error) {
	c, b := s.arena.core, w.binding
	kind, err := c.await(ctx, w)
	if err != nil {
		return nil, err
	}
	answered := recordOwner(c.member, kind)
	if kind != recordGranted {
		defer w.record.owner.CompareAndSwap(answered, 0)
		if st := loadTickets(b.slot); st.incarnation() == s.joined.Load() && !st.has(ticketsEnding) {
			return nil, fmt.Errorf("%w: %d of %d, which it was resized to", ErrTooMany, n, st.capacity())
		}
		return nil, ErrDestroyed
	}
	crash.At("request.granted")
	numbers := make([]int, 0, n)
	given := uint64(givenTo(c.member, w.request))
	c.eachTicket(b.index, b.slot, func(number int, word *atomic.Uint64) bool {
		if word.CompareAndSwap(given, uint64(c.self)) {
			crash.At("request.collected")
			numbers = append(numbers, number)
		}
		return len(numbers) < n
	})
	w.record.owner.CompareAndSwap(answered, 0)
	raceGot(c, b)
	t := &Tickets{hall: s.hallOf(b, numbers[len(numbers)-1]+1), held: numbers}
	if c.gate.closing() {
		t.Release()
		return nil, ErrClosed
	}
	return t, nil
}

// Resize gives the semaphore another number of tickets, 1 to MaxTickets. More
// are there at once, and who waits for them is woken. Fewer take effect as
// tickets come back: those held stay held, and ticket numbers from n on are
// not given out again. Requests for more than n that wait fail with
// ErrTooMany, unless they are patient.
//
// It returns ErrTickets, ErrDestroyed, ErrTableFull if the arena has no room
// for the tickets, and what Acquire returns for a bad handle; then the size is
// what it was.
func (s *Semaphore) Resize(n int) error {
	return s.use("resize", func(ctx context.Context) error { return s.resize(ctx, n, nil) })
}

// ResizeWait is Resize that waits until no ticket from number n on is held. If
// the context ends first it returns the context's error, and the new size
// stays. If somebody makes the semaphore larger meanwhile it returns ErrSize.
func (s *Semaphore) ResizeWait(ctx context.Context, n int) error {
	return s.useUntil(ctx, "resize", func(ctx context.Context) error {
		w, err := s.claimWait(ctx)
		if err != nil {
			return err
		}
		if err := s.resize(ctx, n, w); err != nil {
			s.arena.core.unclaimRecords([]uint32{w.request})
			return err
		}
		kind, err := s.answerOf(ctx, w)
		if err == nil && kind != recordGranted {
			err = ErrDestroyed
			if st := loadTickets(w.binding.slot); st.incarnation() == s.joined.Load() && !st.has(ticketsEnding) {
				err = fmt.Errorf("%w: somebody has resized it to %d meanwhile", ErrSize, st.capacity())
			}
		}
		return err
	})
}

func (s *Semaphore) claimWait(ctx context.Context) (*ticketWait, error) {
	claimed, err := s.arena.core.claimRecords(ctx, 1)
	if err != nil {
		return nil, err
	}
	return s.arena.core.newWait(claimed[0]), nil
}

// answerOf waits for the answer to a request that is not for tickets.
func (s *Semaphore) answerOf(ctx context.Context, w *ticketWait) (recordKind, error) {
	c := s.arena.core
	kind, err := c.await(ctx, w)
	if err == nil {
		w.record.owner.CompareAndSwap(recordOwner(c.member, kind), 0)
	}
	return kind, err
}

// resize changes the size and, if w is not nil, queues a request for the
// tickets that are too many.
func (s *Semaphore) resize(ctx context.Context, n int, w *ticketWait) error {
	if n < 1 || n > MaxTickets {
		return fmt.Errorf("%w: a semaphore has 1 to %d tickets, not %d", ErrTickets, MaxTickets, n)
	}
	c := s.arena.core
	var claimed []uint32
	defer func() { c.unclaimRecords(claimed) }()
	for {
		b, err := s.join(ctx, false)
		if err != nil {
			return err
		}
		missing := 0
		gone, ending := false, false
		if err := s.latched(ctx, func(d *desk) {
			st := loadTickets(d.b.slot)
			ending = st.has(ticketsEnding)
			if gone = st.incarnation() != s.joined.Load() || ending; gone {
				return
			}
			have := 0
			c.eachTicket(d.b.index, d.b.slot, func(number int, _ *atomic.Uint64) bool { have = number + 1; return true })
			if missing = recordsFor(n) - have/recordTicketCount - len(claimed); missing > 0 {
				return
			}
			claimed = d.extend(claimed, have, newTicketState(st.incarnation(), n))
			crash.At("resize.extended")
			if w != nil {
				w.binding = d.b
				d.enqueue(w.request, w.record, n, wantBack, ticketsDrained)
			}
			// A request that waits for this size holds up newcomers from here on.
			for !swapTickets(d.b.slot, st, st&^capacityMask|ticketState(n)|ticketsAwaited|ticketsDrained) {
				st = loadTickets(d.b.slot)
			}
			crash.At("resize.resized")
			d.pass(true)
		}); err != nil {
			return err
		}
		switch {
		case ending && s.reapNow(b):
			continue
		case gone:
			return ErrDestroyed
		case missing <= 0:
			return nil
		}
		more, err := c.claimRecords(ctx, missing)
		if err != nil {
			return err
		}
		claimed = append(claimed, more...)
	}
}

// Destroy refuses new requests and those that wait, waits until all tickets
// are back, and ends the semaphore: its handles get ErrDestroyed for good. If
// the context ends first, or the process dies waiting, the semaphore goes on.
// Which size the handle was made with does not matter.
//
// Errors are the context's, ErrNoSemaphore, ErrDestroyed if another had done it
// before this handle was used again, and what Acquire returns for a bad handle.
func (s *Semaphore) Destroy(ctx context.Context) error {
	return s.useUntil(ctx, "destroy", func(ctx context.Context) error {
		if _, err := s.join(ctx, true); err != nil {
			return err
		}
		w, err := s.claimWait(ctx)
		if err != nil {
			return err
		}
		gone := false
		err = s.latched(ctx, func(d *desk) {
			if gone = loadTickets(d.b.slot).incarnation() != s.joined.Load(); gone {
				return
			}
			w.binding = d.b
			d.enqueue(w.request, w.record, 0, wantEnd, ticketsEnding|ticketsDrained)
			d.pass(true)
		})
		if gone {
			err = ErrDestroyed
		}
		if err != nil {
			s.arena.core.unclaimRecords([]uint32{w.request})
			return err
		}
		_, err = s.answerOf(ctx, w)
		return err
	})
}

// SemaphoreInfo is one semaphore in a list.
type SemaphoreInfo struct {
	Name    string
	Tickets int
	InUse   int // by the dead too, as long as nobody has noticed
}

// Semaphores lists the semaphores of the arena, in no order. Each is as it was
// at a moment of its own.
func (a *Arena) Semaphores() ([]SemaphoreInfo, error) {
	c := a.core
	if a.closed.Load() || !c.gate.enter() {
		return nil, fmt.Errorf("arena: list semaphores: %w", ErrClosed)
	}
	defer c.gate.leave()
	c.noticeGrowth()
	var all []SemaphoreInfo
	for i := uint32(1); i < min(c.slotCount(), c.head.bump.Load()); i++ {
		s := c.slotAt(i)
		if s == nil {
			break
		}
		life := slotLife(s.life.Load())
		if !life.isLive() || life.kind() != KindSemaphore {
			continue
		}
		st := loadTickets(s)
		info := SemaphoreInfo{Name: c.slotName(s), Tickets: st.capacity(), InUse: c.ticketsInUse(i, s)}
		if st.exists() && slotLife(s.life.Load()) == life {
			all = append(all, info)
		}
	}
	return all, nil
}
