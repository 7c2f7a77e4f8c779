package arena

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"lockd/futex"
	"lockd/internal/crash"
)

// Session is one actor, such as a goroutine, a request or a transaction, that
// takes locks of one arena, knows what it holds, gives all of it back at
// Close, and takes part in the detection of deadlocks. Make it with
// [Arena.Session] or [Arena.OpenSession].
//
// A session is used by one goroutine at a time. Used while another waits in
// it, its methods return ErrConcurrent and change nothing; other mixed uses
// are data races, as with any value of Go. After Close they return
// ErrSessionClosed.
//
// What a session has taken, only the session may give back: a plain Unlock
// would leave it with what it does not hold. Locks that are taken without a
// session exclude those of sessions as ever, but their holders are nobody to
// the detector, and are taken to finish some day.
//
// Memory is ordered as by the locks' own methods. When the process dies, what
// its sessions hold passes on as if it had been taken without them.
//
// Garbage collection gives nothing back. A session that is lost while it holds
// something is told to the Logger, with where it was made.
type Session struct {
	in *session
}

// SessionOptions are what OpenSession can be told.
type SessionOptions struct {
	// Label says what the session is, for the inspector and for errors, in at
	// most 24 bytes; longer ones are cut.
	Label string
	// Reentrant lets the session take again what it holds in the same mode, or
	// in a stronger one, as often as it likes; the last release gives it back.
	Reentrant bool
	// Trace notes where in the source the session took what, for Held and for
	// DeadlockError. It costs some hundred nanoseconds a lock.
	Trace bool
	// DeadlockAfter is how long the session waits before it looks whether it
	// waits in a circle; 0 means 50 ms. With less than 0 it never looks: then
	// only another session of the circle gets the error.
	DeadlockAfter time.Duration
}

const deadlockAfter = 50 * time.Millisecond

// session is what there is of a Session without the one that its user has.
type session struct {
	arena   *Arena
	core    *core
	mapping *mapping // keeps what record and words point to
	options SessionOptions
	number  uint32
	made    uintptr // where in the source

	// state is looked at by every operation and written by who begins or ends
	// to wait, and by Close.
	state atomic.Uint32

	held  holdings
	index uint32 // of record; 0: all are in use, and detectors do not see this session
	shown *sessionRecord
	seq   uint32 // of the last wait or holding
}

// The states of a session.
const (
	sessionOpen uint32 = iota
	sessionWaits
	sessionClosed
)

// Session opens a session with this label, and defaults for the rest.
func (a *Arena) Session(label string) *Session {
	return a.openSession(SessionOptions{Label: label})
}

// OpenSession opens a session. It never fails: if the arena is closed, that
// shows when the session is used; if there is no record left to show the
// session in, it works, and the Logger is told that no detector can see it.
func (a *Arena) OpenSession(o SessionOptions) *Session { return a.openSession(o) }

func (a *Arena) openSession(o SessionOptions) *Session {
	if o.DeadlockAfter == 0 {
		o.DeadlockAfter = deadlockAfter
	}
	c := a.core
	in := &session{arena: a, core: c, options: o, number: c.sessions.next.Add(1), made: callerOf(3)}
	// A record's next session is not to count where its last one did.
	in.seq = uint32(futex.Now()>>4)*0x9e3779b1 + in.number<<16 + uint32(c.member.Index)
	if c.gate.enter() {
		in.mapping = c.mapped.Load()
		in.show()
		c.gate.leave()
	}
	s := &Session{in}
	runtime.AddCleanup(s, reportLeak, in)
	return s
}

// show makes the session visible to detectors and to the inspector.
func (s *session) show() {
	c := s.core
	i := c.claimShown()
	r := recordIs[sessionRecord](c, i)
	if r == nil {
		return
	}
	crash.At("session.claimed")
	r.wait.Store(0)
	r.number.Store(s.number)
	storeText(r.label[:], s.options.Label)
	crash.At("session.filled")
	r.owner.Store(recordOwner(c.member, recordSession))
	crash.At("session.shown")
	s.index, s.shown = i, r
}

// showPatience bounds what is spent on a record: who grows the file may be
// stopped.
const showPatience = 50 * time.Millisecond

// claimShown claims a record for what is only shown; 0 if there is none.
func (c *core) claimShown() uint32 {
	if i := c.claimRecord(recordClaimed); i != 0 {
		return i
	}
	ctx, cancel := context.WithTimeout(context.Background(), showPatience)
	defer cancel()
	claimed, err := c.claimRecords(ctx, 1)
	if err != nil {
		if !c.sessions.told.Swap(true) {
			c.log.Warn("no records are left to show sessions in; deadlocks of some will not be found", "cause", err)
		}
		return 0
	}
	return claimed[0]
}

// Close gives back all that the session holds, the last taken first, and ends
// the session. It returns what went wrong with that, such as ErrNotHeld for
// what somebody has released past the session; everything else is given back
// all the same. Closing again returns ErrSessionClosed.
func (s *Session) Close() error {
	defer runtime.KeepAlive(s)
	in := s.in
	if err := in.check("close", ""); err != nil {
		return err
	}
	var errs []error
	in.held.byOrder()
	for len(in.held.list) > 0 {
		h := &in.held.list[len(in.held.list)-1]
		if err := in.giveBack(h); err != nil {
			errs = append(errs, err)
		}
	}
	in.hide()
	in.state.Store(sessionClosed)
	return errors.Join(errs...)
}

// hide frees the session's records.
func (s *session) hide() {
	c := s.core
	if s.options.Trace {
		c.sessions.forget(s)
	}
	if !c.gate.enter() {
		return
	}
	defer c.gate.leave()
	crash.At("session.closing")
	for _, i := range s.held.records {
		if r := recordIs[holdingsRecord](c, i); r != nil {
			r.owner.CompareAndSwap(recordOwner(c.member, recordHoldings), 0)
		}
	}
	crash.At("session.hiding")
	if s.shown != nil {
		s.shown.wait.Store(0)
		s.shown.owner.CompareAndSwap(recordOwner(c.member, recordSession), 0)
	}
	crash.At("session.hidden")
	s.shown, s.held.records, s.held.free = nil, nil, nil
}

// check says why an operation may not begin.
func (s *session) check(what, name string) error {
	switch s.state.Load() {
	case sessionOpen:
		return nil
	case sessionClosed:
		return s.fail(what, name, ErrSessionClosed)
	}
	return s.fail(what, name, ErrConcurrent)
}

func (s *session) fail(what, name string, err error) error {
	if name != "" {
		what = fmt.Sprintf("%s %q", what, name)
	}
	return fmt.Errorf("arena: session %d (%s): %s: %w", s.number, s.options.Label, what, err)
}

// id is the session's name in errors.
func (s *session) id() SessionID { return SessionID{s.core.member, s.number} }

// sessionBook is what a core knows of its sessions.
type sessionBook struct {
	next atomic.Uint32
	told atomic.Bool // that records have run out

	mu     sync.Mutex
	traced map[uint32]map[uint32]string // of sessions that trace: by record, by slot, where in the source
}
