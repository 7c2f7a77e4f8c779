package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// event is what happened between two looks.
type event struct {
	At    moment  `json:"at"`
	Event string  `json:"event"`
	Lock  *string `json:"lock"` // null if it is about a process alone
	PID   uint32  `json:"pid"`
	Label string  `json:"label"`
	Text  string  `json:"text"`
}

const watchHelp = `watching           the first line: from now on nothing is missed that lasts
attached, left     a process came, or went in order
died               a member is proven gone, and not settled yet
settled            what a dead member held has been given back
taken, released    somebody has the lock, or has it no more
waiting            somebody waits who did not before
handed-over        from one owner to another, while others waited
inherited          from a dead owner to an heir
abandoned          its owner ended without releasing it
repaired           an heir marked it consistent
resized            a semaphore has another number of tickets
deadlock, broken   a cycle of waits in which nobody can go on came, ended`

func watchVerb() *verb {
	v := newVerb("watch", "ARENA", "one line for each event, as far as looking can tell", `Looks at the arena again and again and says what has changed in between. What
begins and ends between two looks is not seen; watching changes nothing, not even
how fast the locks are. It ends when the arena is removed.

`+watchHelp)
	asJSON := v.flags.Bool("json", false, "JSON, one event a line")
	interval := v.flags.Duration("interval", 100*time.Millisecond, "how often to look")
	count := v.flags.Int("count", 0, "end after so many more events; 0 goes on")
	v.takes = []argument{anArena}
	v.run = func(t *tool, args []string) int {
		name, ok := t.one(v, args, "which arena")
		if !ok {
			return exitCannotTell
		}
		if *interval <= 0 || *count < 0 {
			return t.misused(v, errors.New("--interval must be more than 0, and --count not less"))
		}
		ctx, stop := interruptible()
		defer stop()
		before, err := t.settled(name)
		if err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		begin := event{At: before.Taken, Event: "watching", Text: fmt.Sprintf("%s, every %v", quoted(before.Arena.Name), *interval)}
		if err := t.tell(begin, *asJSON); err != nil {
			t.complain("%v", err)
			return exitCannotTell
		}
		ticks := time.NewTicker(*interval)
		defer ticks.Stop()
		for written, blurred := 0, 0; ; {
			select {
			case <-ctx.Done():
				return exitFine
			case <-ticks.C:
			}
			if t.stdout.unread() {
				return exitUnread
			}
			after, err := t.settled(name)
			if err != nil {
				t.complain("%v", err)
				return exitCannotTell
			}
			if blurred++; after.isBlurred() && blurred < blurredLooks {
				continue
			}
			blurred = 0
			for _, e := range changes(before, after) {
				if err := t.tell(e, *asJSON); err != nil {
					t.complain("%v", err)
					return exitCannotTell
				}
				if written++; written == *count {
					return exitFine
				}
			}
			before = after
		}
	}
	return v
}

// blurredLooks is how often in a row a look is taken again that was blurred; a
// damaged arena stays so.
const blurredLooks = 4

// isBlurred tells whether the report names a process that came while the
// arena was being read, after the table of processes was.
func (r *report) isBlurred() bool {
	for _, l := range r.busy() {
		if l.Owner != nil && !l.Owner.known() ||
			slices.ContainsFunc(l.Reading, func(x reader) bool { return !x.known() }) ||
			slices.ContainsFunc(l.Waiting, func(x waiter) bool { return !x.known() }) {
			return true
		}
	}
	return false
}

func (t *tool) tell(e event, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(t.stdout, "%s\n", jsonValue(e))
		return err
	}
	lock := none
	if e.Lock != nil {
		lock = quoted(*e.Lock)
	}
	_, err := fmt.Fprintf(t.stdout, "%s  %-11s  %s  %s\n", time.Time(e.At).Local().Format("15:04:05.000"), e.Event, lock, printable(e.Text))
	return err
}
