package arena

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"lockd/internal/proc"
)

// performer is one who does an operation, and what it keeps from one part of it
// to the next.
type performer struct {
	a     *Arena
	path  string
	slots int
	tells bool // what it holds, on standard output

	tickets Tickets
	ranges  *Ranges
	session *Session
	ok      bool
	others  *sync.WaitGroup
	over    chan struct{}
}

func (p *performer) open() {
	p.a = reopen(p.path, &Options{Label: "performer", MaxLocks: p.slots - 1, Logger: quiet})
}

// hasOpened is for operations that open the arena themselves.
func (p *performer) hasOpened() bool { return p.a != nil }

func (p *performer) core() *core { return p.a.core }

// now says how a lock is held: "wants" is on the way in or out, "has" and
// "hasn't".
func (p *performer) now(how, name string) {
	if p.tells {
		proc.Say("%s %s", how, name)
	}
}

func soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), proc.Soon)
}

func (p *performer) lock(name string) {
	ctx, cancel := soon()
	defer cancel()
	p.now("wants", name)
	p.has(name, p.a.Mutex(name).LockContext(ctx))
}

// has notes that an exclusive acquisition has ended well.
func (p *performer) has(name string, err error) {
	must(err)
	p.now("has", name)
}

// got notes how an exclusive acquisition ended, which may have been given up.
func (p *performer) got(name string, err error) {
	p.ok = err == nil
	if p.ok {
		p.now("has", name)
		return
	}
	p.now("hasn't", name)
	giveUp(err)
}

func (p *performer) unlock(name string) {
	p.now("wants", name)
	must(p.a.Mutex(name).Release())
	p.now("hasn't", name)
}

func (p *performer) unlockIfOK(name string) {
	if p.ok {
		p.unlock(name)
	}
}

// pass takes a mutex and gives it back.
func (p *performer) pass(name string) {
	p.lock(name)
	p.unlock(name)
}

func briefly() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Millisecond)
}

// aside runs f in a goroutine, which is waited for before the performer ends.
func (p *performer) aside(f func()) {
	p.others.Go(f)
}

// done is closed by finish.
func (p *performer) done() <-chan struct{} {
	if p.over == nil {
		p.over = make(chan struct{})
	}
	return p.over
}

func (p *performer) finish() { close(p.over) }

func (o *operation) rivalry(p *performer) {
	switch {
	case o.rival != nil:
		o.rival(p)
	default:
		o.begin(p)
		o.work(p)
		o.end(p)
	}
}

func (o *operation) begin(p *performer) {
	if o.before != nil {
		o.before(p)
	}
}

func (o *operation) end(p *performer) {
	if o.after != nil {
		o.after(p)
	}
}

// die does what its heirs find undone of one that is killed while it has what
// the operation is about.
func (o *operation) die(p *performer) {
	switch {
	case o.hold != nil:
		o.hold(p)
	case o.before != nil:
		o.before(p)
	case !o.closes:
		o.work(p)
	}
}

func init() {
	// step-crew does, in the arena that it is told to open, what it is told of
	// an operation: "what n operation".
	roles["step-crew"] = func([]string) {
		var p *performer
		var letGo func()
		var stop chan struct{}
		for {
			words := strings.SplitN(proc.Hear(), " ", 3)
			n, _ := strconv.Atoi(words[1])
			var o *operation
			if len(words) == 3 && words[0] != "open" {
				o = operationNamed(words[2])
			}
			switch words[0] {
			case "open":
				p = &performer{path: words[2], slots: n, others: new(sync.WaitGroup)}
				p.open()
				stop = make(chan struct{})
			case "hold":
				letGo = o.hold(p)
			case "let-go":
				if letGo != nil {
					letGo()
					letGo = nil
				}
			case "meanwhile":
				o.meanwhile(p)
			case "wait":
				for range n {
					p.aside(func() { o.wait(p.another()) })
				}
			case "rival":
				for range n {
					p.aside(func() { rivalUntil(stop, o, p.another()) })
				}
			case "stop":
				close(stop)
				p.others.Wait()
			case "close":
				must(p.a.Close())
			}
			proc.Say("ok")
		}
	}
}

func (p *performer) another() *performer {
	return &performer{a: p.a, path: p.path, slots: p.slots, others: p.others}
}

func rivalUntil(stop chan struct{}, o *operation, p *performer) {
	for {
		select {
		case <-stop:
			return
		default:
			o.rivalry(p)
		}
	}
}

// longName does not fit a slot.
func longName(i int) string { return fmt.Sprint(strings.Repeat("long", 30), i) }
