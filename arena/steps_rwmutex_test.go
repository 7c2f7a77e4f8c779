package arena

import (
	"context"

	"lockd/robust"
)

func (p *performer) read(name string) {
	ctx, cancel := soon()
	defer cancel()
	must(p.a.RWMutex(name).RLockContext(ctx))
}

func (p *performer) unread(name string) { must(p.a.RWMutex(name).RRelease()) }

func (p *performer) write(name string) {
	ctx, cancel := soon()
	defer cancel()
	p.now("wants", name)
	p.has(name, p.a.RWMutex(name).LockContext(ctx))
}

func (p *performer) unwrite(name string) {
	p.now("wants", name)
	must(p.a.RWMutex(name).Release())
	p.now("hasn't", name)
}

func passReading(p *performer) {
	p.read("x")
	p.unread("x")
}

func passWriting(p *performer) {
	p.write("x")
	p.unwrite("x")
}

func passEither(p *performer) {
	passReading(p)
	passWriting(p)
}

func holdWriting(p *performer) func() {
	p.write("x")
	return func() { p.unwrite("x") }
}

func holdReading(p *performer) func() {
	p.read("x")
	return func() { p.unread("x") }
}

func upgradable(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	must(p.a.RWMutex("x").ULockContext(ctx))
}

func upgrade(p *performer) {
	ctx, cancel := soon()
	defer cancel()
	p.now("wants", "x")
	p.has("x", p.a.RWMutex("x").Upgrade(ctx))
}

var rwOperations = []operation{
	{name: "read what nobody has read", work: func(p *performer) { p.read("fresh") }, after: func(p *performer) { p.unread("fresh") }},
	{name: "read", work: func(p *performer) { p.read("x") }, after: func(p *performer) { p.unread("x") }},
	{
		name: "read no more", before: func(p *performer) { p.read("x") }, wait: passWriting, rival: passEither,
		work: func(p *performer) { p.unread("x") },
	},
	{
		name: "wait to read", hold: holdWriting, wait: passEither, rival: passEither,
		work: func(p *performer) { p.read("x") }, after: func(p *performer) { p.unread("x") },
	},
	{
		name: "give up waiting to read", hold: holdWriting, wait: passReading, rival: passEither,
		work: func(p *performer) {
			ctx, cancel := briefly()
			defer cancel()
			p.ok = p.a.RWMutex("x").RLockContext(ctx) == nil
		},
		after: func(p *performer) {
			if p.ok {
				p.unread("x")
			}
		},
	},
	{name: "write", work: func(p *performer) { p.write("x") }, after: func(p *performer) { p.unwrite("x") }, rival: passEither},
	{
		name: "wait to write", hold: holdReading, wait: passWriting, rival: passEither,
		work: func(p *performer) { p.write("x") }, after: func(p *performer) { p.unwrite("x") },
	},
	{
		name: "give up waiting to write", hold: holdReading, wait: passWriting, rival: passEither,
		work: func(p *performer) {
			ctx, cancel := briefly()
			defer cancel()
			p.now("wants", "x")
			p.got("x", p.a.RWMutex("x").LockContext(ctx))
		},
		after: func(p *performer) {
			if p.ok {
				p.unwrite("x")
			}
		},
	},
	{
		name: "write no more", before: func(p *performer) { p.write("x") }, wait: passEither, rival: passEither,
		work: func(p *performer) { p.unwrite("x") },
	},
	{
		name: "upgrade", hold: holdReading, before: upgradable, lonely: true,
		work: upgrade, after: func(p *performer) { p.unwrite("x") },
	},
	{
		name: "upgrade beside others", before: upgradable, wait: passReading, rival: passEither,
		work: upgrade, after: func(p *performer) { p.unwrite("x") },
	},
	{
		name: "downgrade", before: func(p *performer) { p.write("x") }, wait: passReading, rival: passEither,
		work: func(p *performer) {
			p.now("wants", "x")
			p.a.RWMutex("x").Downgrade()
			p.now("hasn't", "x")
		},
		after: func(p *performer) { p.unread("x") },
	},
	{
		name: "downgrade in two steps", before: func(p *performer) { p.write("x") }, wait: passReading, rival: passEither,
		work: func(p *performer) {
			p.now("wants", "x")
			p.a.RWMutex("x").DowngradeToU()
			p.now("hasn't", "x")
			p.a.RWMutex("x").UDowngrade()
		},
		after: func(p *performer) { p.unread("x") },
	},
	{
		name: "try to upgrade", before: func(p *performer) { p.read("x") }, rival: passEither,
		work: func(p *performer) {
			p.now("wants", "x")
			if p.ok = p.a.RWMutex("x").TryUpgrade(); p.ok {
				p.now("has", "x")
			} else {
				p.now("hasn't", "x")
			}
		},
		after: func(p *performer) {
			if p.ok {
				p.unwrite("x")
			} else {
				p.unread("x")
			}
		},
	},
	{
		name: "try to write", rival: passEither,
		work: func(p *performer) {
			p.now("wants", "x")
			if p.ok = p.a.RWMutex("x").TryLock(); p.ok {
				p.now("has", "x")
			} else {
				p.now("hasn't", "x")
			}
		},
		after: func(p *performer) {
			if p.ok {
				p.unwrite("x")
			}
		},
	},
	{
		name: "try to read", hold: holdWriting, rival: passEither,
		work: func(p *performer) { p.ok = p.a.RWMutex("x").TryRLock() },
		after: func(p *performer) {
			if p.ok {
				p.unread("x")
			}
		},
	},
	{name: "read past a gate that is nobody's", lonely: true, work: func(p *performer) {
		b := p.bound(&p.a.RWMutex("x").handle)
		b.slot.state.Store(uint64(p.core().self | robust.Waiters)) // as of one who is gone
		p.read("x")
	}, after: func(p *performer) { p.unread("x") }},
	{name: "panic while writing", rival: passEither, vague: true, work: func(p *performer) {
		panicIn(func(f func(context.Context) error) error { return p.a.RWMutex("x").Do(context.Background(), f) })
	}},
	{name: "evict an rwmutex", table: true, rival: passEither, work: func(p *performer) {
		evictNamed(p, p.bound(&p.a.RWMutex("x").handle))
	}},
	{name: "evict an rwmutex that it reads", table: true, rival: passEither, before: passReading, work: func(p *performer) {
		evictNamed(p, p.bound(&p.a.RWMutex("x").handle))
	}},
	{
		name: "evict an rwmutex, and a reader comes", lonely: true, table: true, before: passReading, meanwhile: passReading,
		after: func(p *performer) {
			if p.ok {
				p.unread("x")
			}
		},
	},
	{name: "let itself in", lonely: true, vague: true},
	{name: "let itself in too late", lonely: true, vague: true},
}
