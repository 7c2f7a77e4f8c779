package arena

import (
	"sync/atomic"

	"lockd/futex"
	"lockd/internal/crash"
	"lockd/robust"
)

// calls are whom to tell that requests of theirs were answered, once the latch
// is free. Those of this process are told over channels, others by their
// member's bell; beside it stands which request it was, or that it was several,
// so that who hears it need not look at all of its own.
type calls struct {
	few     [8]answer
	n       int
	members [memberEntries / 64]uint64 // those with more than few has room for
	more    bool
}

// answer names whose request was answered.
type answer struct {
	member  robust.Member
	request uint32
}

// severalAnswered in a member's field answered stands for any number of requests.
const severalAnswered = 1<<64 - 1

func (l *calls) add(c *core, m robust.Member, request uint32) {
	switch {
	case l.n < len(l.few):
		l.few[l.n] = answer{m, request}
		l.n++
	case m.Index < memberEntries:
		l.members[m.Index/64] |= 1 << (m.Index % 64)
		l.more = true
	}
}

// ring makes the calls.
func (c *core) ring(l *calls) {
	c.ringEach(l.few[:l.n])
	l.n = 0
	if !l.more {
		return
	}
	l.more = false
	for index := range uint16(memberEntries) {
		if l.members[index/64]&(1<<(index%64)) == 0 {
			continue
		}
		if index == c.member.Index {
			c.porter.signalAnswered()
		} else if e := c.memberAt(index); e != nil {
			hint(&e.answered, severalAnswered)
			e.ring()
		}
	}
	clear(l.members[:])
}

func (c *core) ringEach(answers []answer) {
	for k, a := range answers {
		if a.member == c.member {
			c.porter.signalRequest(a.request)
			continue
		}
		e := c.memberAt(a.member.Index)
		if e == nil {
			continue
		}
		hint(&e.answered, uint64(a.request))
		later := false // one bell is for all of a member's
		for _, other := range answers[k+1:] {
			later = later || other.member.Index == a.member.Index
		}
		if !later {
			e.ring()
		}
	}
}

func hint(word *atomic.Uint64, request uint64) {
	for {
		old := word.Load()
		next := request
		if old != 0 && old != request {
			next = severalAnswered
		}
		if old == next {
			return
		}
		if word.CompareAndSwap(old, next) {
			crash.At("grant.hinted")
			return
		}
	}
}

func (e *member) ring() {
	e.bell.Add(1)
	crash.At("grant.rung")
	futex.Wake(&e.bell, futex.All)
}
