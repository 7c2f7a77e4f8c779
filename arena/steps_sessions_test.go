package arena

import (
	"errors"
	"time"
)

// sessionOf opens a session that looks for deadlocks soon.
func (p *performer) sessionOf(after time.Duration) *Session {
	return p.a.OpenSession(SessionOptions{Label: "step", DeadlockAfter: after})
}

// sessionLock takes a mutex, or is told that it waits in a circle.
func (p *performer) sessionLock(s *Session, name string) bool {
	ctx, cancel := soon()
	defer cancel()
	p.now("wants", name)
	err := s.Lock(ctx, p.a.Mutex(name))
	if err != nil && !isDeadlock(err) {
		panic(err)
	}
	if err == nil {
		p.now("has", name)
	} else {
		p.now("hasn't", name)
	}
	return err == nil
}

func (p *performer) closeSession(s *Session) {
	for _, h := range s.Held() {
		p.now("wants", h.Lock)
	}
	held := s.Held()
	must(s.Close())
	for _, h := range held {
		p.now("hasn't", h.Lock)
	}
}

func holdInSession(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	p.session = p.a.Session("step")
	p.sessionLock(p.session, "m0")
	p.sessionLock(p.session, "m1")
	must(p.session.ULock(ctx, p.a.RWMutex("x")))
	must(p.session.RLock(ctx, p.a.RWMutex("fresh")))
	_, err := p.session.Acquire(ctx, p.a.Semaphore("sem", 0), 2)
	must(err)
	must(p.session.LockRange(ctx, p.a.Ranges(stageSections), Exclusive, 10, 20))
}

func endSession(p *performer) { p.closeSession(p.session) }

// halfCrossed is one session that has m0 and wants m1.
func halfCrossed(p *performer) {
	p.session = p.sessionOf(time.Millisecond)
	p.sessionLock(p.session, "m0")
}

var sessionOperations = []operation{
	{name: "hold in a session", work: holdInSession, after: endSession},
	{name: "close a session", before: holdInSession, work: endSession, wait: passMutex},
	{
		name: "hold much in a session", lonely: true, work: func(p *performer) {
			p.session = p.a.Session("step")
			for i := range 9 {
				p.sessionLock(p.session, longName(10+i))
			}
		}, after: endSession, vague: true,
	},
	{
		name: "convert in a session", lonely: true, before: func(p *performer) {
			ctx, cancel := soon()
			defer cancel()
			p.session = p.a.Session("step")
			must(p.session.RLock(ctx, p.a.RWMutex("x")))
		},
		work: func(p *performer) {
			ctx, cancel := soon()
			defer cancel()
			x := p.a.RWMutex("x")
			p.now("wants", "x")
			must(p.session.Upgrade(ctx, x))
			must(p.session.DowngradeToU(x))
			must(p.session.UDowngrade(x))
		}, after: endSession, vague: true,
	},
	{
		name: "wait in a session", hold: holdMutex, wait: passMutex, rival: passMutex, before: func(p *performer) { p.session = p.a.Session("step") },
		work: func(p *performer) { p.sessionLock(p.session, "m0") }, after: endSession,
	},
	{
		name: "take all in a session", work: func(p *performer) {
			ctx, cancel := soon()
			defer cancel()
			p.session = p.a.Session("step")
			p.now("wants", "m0")
			p.now("wants", "m1")
			p.now("wants", "x")
			must(p.session.LockAll(ctx, Exclusively(p.a.Mutex("m1")), Exclusively(p.a.Mutex("m0")), Exclusively(p.a.RWMutex("x")), TicketsOf(p.a.Semaphore("sem", 0), 2)))
		}, after: endSession, vague: true,
	},
	{
		name: "be the victim of a deadlock", lonely: true, before: halfCrossed,
		meanwhile: func(p *performer) { crossIt(p, -1) },
		work:      func(p *performer) { p.sessionLock(p.session, "m1") }, after: endSession,
	},
	{
		name: "be in a deadlock of which another is the victim", lonely: true, before: func(p *performer) {
			p.session = p.sessionOf(200 * time.Millisecond)
			p.sessionLock(p.session, "m0")
		},
		meanwhile: func(p *performer) { crossIt(p, 5*time.Millisecond) },
		work:      func(p *performer) { p.sessionLock(p.session, "m1") }, after: endSession,
	},
	{
		name: "find two sessions of its own in a deadlock", lonely: true, before: halfCrossed,
		work: func(p *performer) {
			other := p.sessionOf(time.Millisecond)
			p.sessionLock(other, "m1")
			p.aside(func() {
				p.sessionLock(other, "m0")
				p.closeSession(other)
			})
			p.sessionLock(p.session, "m1")
			p.closeSession(p.session)
			p.others.Wait()
		}, vague: true,
	},
	{
		name: "close with sessions", lonely: true, closes: true, vague: true, before: holdInSession, work: closeHolding,
	},
	{
		name: "mark another's victim", lonely: true, first: []string{"be judged@detector.decided:1"}, vague: true,
		work: func(p *performer) { p.core().helpVerdict(verdictWord(p.core().head.verdict.Load())) },
	},
	{name: "be judged", lonely: true, before: halfCrossed, work: func(p *performer) {
		other := p.sessionOf(-1)
		p.sessionLock(other, "m1")
		p.aside(func() {
			p.sessionLock(other, "m0")
			p.closeSession(other)
		})
		p.sessionLock(p.session, "m1")
		p.closeSession(p.session)
		p.others.Wait()
	}, vague: true},
}

// crossIt is another session that has m1 and wants m0, in another goroutine.
func crossIt(p *performer, after time.Duration) {
	s := p.sessionOf(after)
	if !p.sessionLock(s, "m1") {
		panic("m1 is not to be had")
	}
	q := p.another()
	p.aside(func() {
		q.sessionLock(s, "m0")
		q.closeSession(s)
	})
}

var robberyOperations = []operation{
	{name: "rob", hold: holdRobbed, rival: passRobbed, vague: true, table: true, work: func(p *performer) {
		ctx, cancel := soon()
		defer cancel()
		if _, err := p.a.Break(ctx, "m0"); err != nil && !errors.Is(err, ErrNotHeld) {
			panic(err)
		}
	}},
	{name: "be robbed", before: func(p *performer) { p.lock("m0") }, rival: passRobbed, vague: true, meanwhile: breakMutex, work: releaseRobbed},
	{name: "be robbed, and close", before: func(p *performer) { p.lock("m0") }, lonely: true, vague: true, closes: true, meanwhile: breakMutex, work: closeHolding},
	{name: "come after a dead robber", lonely: true, vague: true, hold: holdRobbed},
	{name: "rob whom has just released", lonely: true, vague: true, hold: holdRobbed},
	{name: "evict what somebody was robbed of", lonely: true, table: true, vague: true, work: func(p *performer) {
		b := p.bound(&p.a.Mutex("m1").handle)
		b.slot.state.Store(hasRobberies) // as after a robbery that was noticed
		evictNamed(p, b)
	}},
}

func holdRobbed(p *performer) func() {
	p.lock("m0")
	return func() { releaseRobbed(p) }
}

func releaseRobbed(p *performer) {
	if err := p.a.Mutex("m0").Release(); err != nil && !errors.Is(err, ErrRobbed) {
		panic(err)
	}
}

func passRobbed(p *performer) {
	p.lock("m0")
	releaseRobbed(p)
}

func breakMutex(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	if _, err := p.a.Break(ctx, "m0"); err != nil && !errors.Is(err, ErrNotHeld) {
		panic(err)
	}
}
