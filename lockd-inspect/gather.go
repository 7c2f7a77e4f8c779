package main

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"lockd/arena"
	"lockd/robust"
)

// gather makes a report of a snapshot. What the host knows about the processes
// is asked now.
func (t *tool) gather(s *arena.Snapshot, trouble error) *report {
	r := &report{
		Format: dumpFormat, Taken: moment(s.Taken), whole: trouble == nil || len(s.Members)+len(s.Locks) > 0,
		Arena: arenaFacts{
			Name: t.nameOf(s.Path), Path: s.Path, Size: octets(s.Size), Version: s.Version, Layout: fmt.Sprintf("%016x", s.LayoutHash),
			Boot: bootText(s.BootID), Created: moment(s.Created), Segments: s.Segments, Capacity: s.Capacity(), Used: s.Bump, FenceHigh: s.FenceHigh,
		},
		Members: []*member{}, Sessions: []*session{}, Deadlocks: [][]deadlockEdge{}, Locks: []*lock{}, Latches: []*latch{}, Problems: []problem{},
	}
	r.Host, _ = os.Hostname()
	if here := bootOfHost(); here != "" && here != r.Arena.Boot && !s.Created.IsZero() {
		r.Arena.EarlierBoot = true
	}
	if trouble != nil {
		text := trouble.Error()
		r.Trouble = &text
	}
	r.gatherMembers(s.Members)
	r.gatherSessions(s)
	for _, l := range s.Latches {
		r.Latches = append(r.Latches, &latch{l.Name, wordText(l.Word), r.owner(l.Owner)})
	}
	if len(s.Locks) > inMemory {
		r.reading = func() iter.Seq[*lock] {
			return func(yield func(*lock) bool) {
				for i := range s.Locks {
					if !yield(r.lockOf(&s.Locks[i])) {
						return
					}
				}
			}
		}
		return r
	}
	for i := range s.Locks {
		r.Locks = append(r.Locks, r.lockOf(&s.Locks[i]))
	}
	slices.SortFunc(r.Locks, byName)
	return r
}

// inMemory is how many locks are described at once. Of a larger arena each is
// when its turn comes, in the order of their slots.
const inMemory = 20000

func (r *report) lockOf(i *arena.LockInfo) *lock {
	l := &lock{
		Name: i.Name, NameHex: hexOf(i.Name), Kind: i.Kind.String(), Slot: i.Slot, Generation: i.Generation, Word: wordText(i.Word),
		Owner: r.owner(i.Owner), Readers: i.Readers, Waiters: i.Waiters, Abandonments: i.Abandonments, Fence: i.Fence,
		Named: seconds(i.Inserted), Reading: []reader{}, Waiting: []waiter{}, Ranges: []rangeHold{}, taken: time.Time(r.Taken),
	}
	// Of a latch, A is about what that protects.
	l.Abandoned = !l.isLatched() && i.Word.Has(robust.Abandoned)
	for _, o := range i.Reading {
		l.Reading = append(l.Reading, reader{r.party(o.Member, o.PID, o.Label), o.Count})
	}
	if d := i.LastDeath; d != nil {
		l.LastDeath = &death{d.PID, d.Label, moment(d.When), d.Cause.String()}
	}
	if y := i.Tally; y != nil {
		l.Tally = &counts{moment(y.HeldSince), y.Acquisitions, y.Contended, seconds(y.Held), seconds(y.Longest), seconds(y.Waited)}
	}
	if i.Kind == arena.KindRWMutex {
		l.Gate = gateOf(i)
	}
	if s := i.Semaphore; s != nil {
		l.Tickets = &ticketry{s.Tickets, s.InUse, s.Ending, []ticketHolder{}}
		for _, h := range s.Holders {
			l.Tickets.Holders = append(l.Tickets.Holders, ticketHolder{r.party(h.Member, h.PID, h.Label), h.Numbers})
		}
		for _, w := range s.Queue {
			l.Waiting = append(l.Waiting, waiter{r.party(w.Member, w.PID, w.Label), w.Count, w.For.String(), w.Tickets, moment(w.Since), nil})
		}
	} else if i.Kind == arena.KindRanges {
		r.rangesOf(l, i)
	} else {
		for _, w := range i.Waiting {
			l.Waiting = append(l.Waiting, waiter{r.party(w.Member, w.PID, w.Label), w.Count, modeOf(w), 0, moment(w.Since), nil})
		}
		slices.SortStableFunc(l.Waiting, func(a, b waiter) int { return time.Time(a.Since).Compare(time.Time(b.Since)) })
	}
	l.State = stateOf(l, i)
	return l
}

func (r *report) rangesOf(l *lock, i *arena.LockInfo) {
	for _, p := range i.Ranges {
		who, what := r.party(p.Member, p.PID, p.Label), stretchOf(p.First, p.Last)
		session := r.numberOf[p.Session]
		if p.Waiting {
			l.Waiting = append(l.Waiting, waiter{who, 1, p.Mode.String(), 0, moment(p.Since), &rangeRequest{what, p.Holder, session}})
		} else {
			l.Ranges = append(l.Ranges, rangeHold{who, what, p.Mode.String(), p.Holder, session})
		}
	}
}

func modeOf(w arena.WaiterInfo) string {
	if w.Reading {
		return "shared"
	}
	return "exclusive"
}

// stateOf says in a word how a lock is; stateHelp explains the words.
func stateOf(l *lock, i *arena.LockInfo) string {
	switch {
	case i.Kind == arena.KindSemaphore:
		return l.Tickets.state()
	case i.Kind == arena.KindRanges:
		return l.rangesState()
	case l.Owner == nil && l.Abandoned:
		return "abandoned"
	case l.Owner == nil && l.Readers > 0:
		return "read"
	case l.Owner == nil:
		return "free"
	case l.Owner.dead() && l.Owner.entry != nil && l.Owner.entry.LeftInOrder:
		return "left"
	case l.Owner.dead():
		return "dead"
	case l.Abandoned:
		return "inherited"
	case l.Gate != nil && *l.Gate == "open":
		return "upgradable"
	case l.Gate != nil && *l.Gate == "draining":
		return "draining"
	}
	return "held"
}

// gateOf is open while readers may come in, draining while who shut it waits
// for readers to leave.
func gateOf(i *arena.LockInfo) *string {
	gate := "shut"
	switch {
	case i.Gate == 0:
		gate = "open"
	case i.Gate.Has(robust.Waiters):
		gate = "draining"
	}
	return &gate
}

func (r *report) owner(o *arena.OwnerInfo) *party {
	if o == nil {
		return nil
	}
	p := r.party(o.Member, o.PID, o.Label)
	return &p
}

func (r *report) party(m robust.Member, pid uint32, label string) party {
	p := party{Index: m.Index, Generation: m.Generation, PID: pid, Label: label, entry: r.member(m.Index, m.Generation)}
	if p.entry != nil {
		p.Alive = p.entry.Alive
	}
	return p
}

func (r *report) gatherMembers(all []arena.MemberInfo) {
	self, _ := robust.Self()
	users := make(map[uint32]string)
	started := make(map[*member]uint64)
	for _, i := range all {
		m := &member{
			Index: i.Index, Generation: i.Generation, PID: i.PID, Namespace: i.PIDNS, Foreign: i.PIDNS != self.PIDNS, Phase: i.Phase.String(),
			Alive: aliveness(i.Verdict != robust.Unknown, i.Verdict == robust.Alive), ByteOnly: i.ByteOnly, LeftInOrder: i.LeftInOrder, Heirs: []heir{},
			UID: i.UID, Label: i.Label, Joined: moment(i.Joined),
		}
		if _, asked := users[i.UID]; !asked {
			users[i.UID] = userName(i.UID)
		}
		m.User = users[i.UID]
		started[m] = i.StartTime
		// A member that is judged by its byte can be alive through those who
		// inherited it: then its pid may be somebody else's.
		switch verdict := robust.JudgePID(i.Identity); {
		case verdict == robust.Gone && !m.dead():
			m.Ended = i.ByteOnly
		case verdict == robust.Alive:
			if line := commandLine(int(i.PID)); line != "" {
				m.Command = &line
			}
			m.Stopped = isStopped(int(i.PID))
		}
		r.Members = append(r.Members, m)
	}
	r.findActors(started)
}

func commandLine(pid int) string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(raw) == 0 {
		return ""
	}
	return shellLine(strings.Split(string(bytes.TrimSuffix(raw, []byte{0})), "\x00"))
}

// shellLine joins arguments so that one sees where each ends.
func shellLine(args []string) string {
	shown := slices.Clone(args)
	for i, a := range shown {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?;&|<>()#") {
			shown[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(shown, " ")
}

func wordText(w robust.Word) string { return fmt.Sprintf("%016x", uint64(w)) }

func bootText(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func bootOfHost() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
