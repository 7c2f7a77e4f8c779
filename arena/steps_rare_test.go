//go:build lockd_crash

package arena

import (
	"context"
	"os"
	"strconv"
	"time"

	"lockd/internal/crash"
	"lockd/internal/proc"
	"lockd/robust"
)

// Work past points that two processes only meet at within nanoseconds: what
// has to happen then happens in a window.
func init() {
	windowWork["give up just when it is freed"] = func(p *performer) {
		m := p.a.Mutex("m0")
		p.now("wants", "m0")
		m.Lock()
		b := m.binding()
		crash.Pause("resign.resigned", func() { b.slot.word.Store(uint64(robust.Free(b.generation) | robust.Waiters)) })
		ctx, cancel := briefly()
		defer cancel()
		m.LockContext(ctx)
		m.Release() // if it gave up before it was in the queue
	}
	windowWork["insert what another has inserted"] = func(p *performer) {
		c := p.core()
		crash.Pause("insert.claimed", func() {
			both, err := c.claimSlots(context.Background(), 1)
			must(err)
			_, _, err = c.insertClaimed(context.Background(), hashName(c.head.seed.Load(), "new0"), "new0", KindMutex, both[0], 0)
			must(err)
		})
		p.pass("new0")
	}
	windowWork["evict an rwmutex, and a reader comes"] = func(p *performer) {
		m := p.a.RWMutex("x")
		crash.Pause("evict.word", m.RLock)
		evictNamed(p, p.bound(&m.handle))
		p.ok = m.presentReading() != nil && m.presentReading().cell.load().held() > 0
	}
	windowWork["let itself in"] = func(p *performer) { p.admitted(func(*RWMutex) {}) }
	windowWork["let itself in too late"] = func(p *performer) {
		p.admitted(func(m *RWMutex) {
			b := m.binding()
			crash.Pause("read.admitted", func() {
				b.slot.state.Store(uint64(p.core().self))
				p.aside(func() {
					time.Sleep(2 * time.Millisecond)
					m.DowngradeToU()
				})
			})
		})
	}
	windowWork["overtake and undo"] = onCrashTickets(overtakeWork)
	windowWork["look while the latch is held"] = onCrashTickets(latchedWork)
	windowWork["give while a newcomer takes"] = onCrashTickets(outrunWork)
	windowWork["take while a newcomer takes"] = onCrashTickets(func(a *Arena) {
		s := a.Semaphore("crash", 0)
		s.Tickets()
		h := s.hall.Load()
		crash.Pause("semaphore.taken", func() { h.places[crashTickets-1].word.CompareAndSwap(h.free, h.self) })
		s.TryAcquire(crashTickets)
	})
	windowWork["reap one who waits ahead"] = onCrashTickets(deadAheadWork)
	windowWork["reap a holder"] = onCrashTickets(deadHolderWork)
	windowWork["reap a range"] = func(p *performer) {
		reapRangeOf(p.a, stageSections)
		p.a = nil
	}
	windowWork["come after a dead robber"] = func(p *performer) {
		robber, err := launch("step-victim", []string{p.path, "rob", strconv.Itoa(p.slots), "early", "1", "rob.taken:1"})
		must(err)
		robber.ask("go")
		robber.cmd.Wait()
		p.pass("m0")
	}
	windowWork["rob whom has just released"] = func(p *performer) {
		crash.Pause("rob.aged", func() {
			proc.Say("window")
			proc.Hear()
		})
		ctx, cancel := soon()
		defer cancel()
		if _, err := p.a.Break(ctx, "m0"); err == nil {
			proc.Say("robbed of what was released")
			os.Exit(1)
		}
	}
}

// admitted reads a lock whose writer, the process itself, opens the gate and
// lets nobody in.
func (p *performer) admitted(then func(*RWMutex)) {
	m := p.a.RWMutex("x")
	p.now("wants", "x")
	m.RLock() // so that there is a cell
	m.RUnlock()
	m.Lock()
	crash.Pause("read.waiting", func() { m.binding().slot.state.Store(0) })
	then(m)
	m.RLock()
	m.RUnlock()
	p.others.Wait()
	m.UUnlock()
}

// onCrashTickets is for work after which the process ends as it is.
func onCrashTickets(work func(*Arena)) func(*performer) {
	return func(p *performer) {
		_, err := p.a.Semaphore("crash", crashTickets).Tickets()
		must(err)
		work(p.a)
		p.a = nil
	}
}
