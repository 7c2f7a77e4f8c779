package arena

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lockd/robust"
)

// ErrDeadlock: the session waited for what it, or others who wait for it,
// hold. Such an error is a *DeadlockError. The session holds what it held
// before; to let the others go on it has to give up some of that.
var ErrDeadlock = errors.New("deadlock")

// Returned by operations on sessions. Nothing has changed.
var (
	// ErrSessionClosed: the session was closed before.
	ErrSessionClosed = errors.New("session is closed")
	// ErrConcurrent: another goroutine waits in this session.
	ErrConcurrent = errors.New("session is used by two goroutines at once")
	// ErrMode: the session holds the lock, but not in the mode that the
	// operation is for.
	ErrMode = errors.New("held in another mode")
)

// DeadlockError is the circle that a session would have closed: each of Edges
// waits for the next, the last for the first, which is the session that got
// the error.
type DeadlockError struct {
	Edges []DeadlockEdge
}

// DeadlockEdge is one session and what it waits for.
type DeadlockEdge struct {
	Session SessionID
	PID     int // in its pid namespace
	Label   string
	Lock    string // what it waits for
	Kind    Kind
	Mode    Mode
	Count   int // of tickets; else 1
	Since   time.Time
	// HeldAs is how the next of the circle holds Lock; 0 if it does not, but
	// waits ahead in the queue.
	HeldAs Mode
	// TakenAt is where in the source the next one took it: of a session of this
	// process that traces. Else it is empty.
	TakenAt string
}

// SessionID names a session in an arena.
type SessionID struct {
	robust.Member
	Number uint32 // in its process, from 1
}

func (e *DeadlockError) Error() string {
	var b strings.Builder
	b.WriteString("arena: deadlock: ")
	for i, edge := range e.Edges {
		if i > 0 {
			b.WriteString("; ")
		}
		what := edge.Mode.String()
		if edge.Mode == OfTickets {
			what = fmt.Sprintf("%d tickets", edge.Count)
		}
		next := e.Edges[(i+1)%len(e.Edges)]
		fmt.Fprintf(&b, "%v waits for %v %q (%s)", edge.who(), edge.Kind, edge.Lock, what)
		if edge.HeldAs == 0 {
			fmt.Fprintf(&b, " behind %v", next.who())
			continue
		}
		fmt.Fprintf(&b, " held by %v (%v)", next.who(), edge.HeldAs)
		if edge.TakenAt != "" {
			fmt.Fprintf(&b, " since %s", edge.TakenAt)
		}
	}
	return b.String()
}

func (e *DeadlockEdge) who() string {
	return fmt.Sprintf("session %d of pid %d (%s)", e.Session.Number, e.PID, e.Label)
}

// Is makes the error ErrDeadlock.
func (e *DeadlockError) Is(target error) bool { return target == ErrDeadlock }
