package arena

import (
	"context"
	"errors"
	"time"

	"lockd/robust"
)

func holdMutex(p *performer) func() {
	p.lock("m0")
	return func() { p.unlock("m0") }
}

func passMutex(p *performer) { p.pass("m0") }

var mutexOperations = []operation{
	{name: "lock", work: func(p *performer) { p.lock("m0") }, after: func(p *performer) { p.unlock("m0") }},
	{
		name: "unlock", before: func(p *performer) { p.lock("m0") }, wait: passMutex,
		work: func(p *performer) { p.unlock("m0") },
	},
	{
		name: "unlock for who has waited long", before: func(p *performer) { p.lock("m0") }, wait: passMutex,
		work: func(p *performer) { p.dozed("m0"); p.unlock("m0") },
	},
	{
		name: "wait for a mutex", hold: holdMutex, wait: passMutex, rival: passMutex,
		work: func(p *performer) { p.lock("m0") }, after: func(p *performer) { p.unlock("m0") },
	},
	{
		name: "give up waiting for a mutex", hold: holdMutex, wait: passMutex, rival: passMutex,
		work:  giveUpMutex,
		after: func(p *performer) { p.unlockIfOK("m0") },
	},
	{
		name: "try a mutex", wait: nil, work: func(p *performer) { p.try("m0", p.a.Mutex("m0").TryLock) },
		after: func(p *performer) { p.unlockIfOK("m0") },
	},
	{
		name: "hand over", before: func(p *performer) { queueAside(p, 3*time.Millisecond) }, wait: passMutex, rival: passMutex,
		work: handOn, vague: true,
	},
	{
		name: "signal", before: func(p *performer) { queueAside(p, 0) }, wait: passMutex, rival: passMutex,
		work: handOn, vague: true,
	},
	{
		name: "let a newcomer wait", before: func(p *performer) { p.lock("m0") }, wait: passMutex, starve: true,
		work:  func(p *performer) { p.unlock("m0"); p.lock("m0") },
		after: func(p *performer) { p.unlock("m0") },
	},
	{
		name: "wait long", hold: holdForTicks, work: func(p *performer) { p.lock("m0") }, rival: passMutex,
		after: func(p *performer) { p.unlock("m0") },
	},
	{name: "panic with a mutex", wait: nil, rival: passMutex, vague: true, work: func(p *performer) {
		panicIn(func(f func(context.Context) error) error { return p.a.Mutex("m0").Do(context.Background(), f) })
	}},
	{
		name: "mark consistent", image: "abandoned", vague: true, before: func(p *performer) { p.lock("m0") },
		work:  func(p *performer) { must(p.a.Mutex("m0").MarkConsistent()) },
		after: func(p *performer) { p.unlock("m0") },
	},
	{
		name: "draw a fence", before: func(p *performer) { p.lock("m0") }, wait: passMutex,
		work:  func(p *performer) { _, err := p.a.Mutex("m0").Fence(); must(err) },
		after: func(p *performer) { p.unlock("m0") },
	},
	{name: "be counted", tracks: true, rival: passMutex, work: func(p *performer) { p.pass("m0"); p.pass("m0") }},
	{
		name: "evict what was counted", tracks: true, lonely: true, table: true, before: func(p *performer) { p.pass("m1") },
		work: func(p *performer) { evictNamed(p, p.bound(&p.a.Mutex("m1").handle)) },
	},
	{name: "give up just when it is freed", lonely: true, vague: true},
}

// dozed makes the word of a lock that is held say that those who wait doze.
func (p *performer) dozed(name string) {
	word := &p.a.Mutex(name).binding().slot.word
	for w := word.Load(); !word.CompareAndSwap(w, w|uint64(robust.Waiters|robust.Dozing)); w = word.Load() {
	}
}

func giveUpMutex(p *performer) {
	ctx, cancel := briefly()
	defer cancel()
	p.now("wants", "m0")
	p.got("m0", p.a.Mutex("m0").LockContext(ctx))
}

// holdForTicks holds until whoever waits has seen it held at a tick.
func holdForTicks(p *performer) func() {
	p.lock("m0")
	return func() {
		s := p.a.Mutex("m0").binding().slot
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end) && !robust.Word(s.word.Load()).Has(robust.Starved); {
			time.Sleep(time.Millisecond)
		}
		p.unlock("m0")
	}
}

// queueAside takes m0, and has another goroutine queue for it.
func queueAside(p *performer, patience time.Duration) {
	p.now("wants", "m0")
	m := p.a.Mutex("m0")
	m.Lock()
	p.aside(func() {
		m.Lock()
		m.Unlock()
	})
	s := m.binding().slot
	for !robust.Word(s.word.Load()).Has(robust.Local) {
		time.Sleep(50 * time.Microsecond)
	}
	time.Sleep(patience)
}

func handOn(p *performer) {
	must(p.a.Mutex("m0").Release())
	p.others.Wait()
}

var errMeant = errors.New("meant to be")

// panicIn panics in what do does while it holds a lock.
func panicIn(do func(func(context.Context) error) error) {
	defer func() {
		if v := recover(); v != nil && v != errMeant {
			panic(v)
		}
	}()
	must(do(func(context.Context) error { panic(errMeant) }))
}
