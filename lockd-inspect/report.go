package main

import (
	"cmp"
	"encoding/hex"
	"iter"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"
)

// report is an arena as it was at a moment, with what the host knew about its
// processes. All views are made of it, whether it was just taken or comes out
// of a dump, whose schema it is; doc/DUMP.md describes that.
type report struct {
	Format    int              `json:"format"`
	Taken     moment           `json:"taken"`
	Host      string           `json:"host"`
	Arena     arenaFacts       `json:"arena"`
	Trouble   *string          `json:"trouble"` // what kept some of it from being read
	Members   []*member        `json:"members"`
	Sessions  []*session       `json:"sessions"`
	Deadlocks [][]deadlockEdge `json:"deadlocks"` // among sessions
	Latches   []*latch         `json:"latches"`
	Problems  []problem        `json:"problems"`
	Locks     []*lock          `json:"locks"`

	whole   bool // members and locks could be read
	dumped  bool // it was not taken now
	reading func() iter.Seq[*lock]
	// numberOf finds the numbers of sessions by their records.
	numberOf map[uint32]*uint32
}

const dumpFormat = 1

type arenaFacts struct {
	Name        string `json:"name"`
	Path        string `json:"path"`
	Size        octets `json:"size"`
	Version     uint32 `json:"version"`
	Layout      string `json:"layout"`
	Boot        string `json:"boot"`
	EarlierBoot bool   `json:"earlier_boot"`
	Created     moment `json:"created"`
	Segments    uint32 `json:"segments"`
	Capacity    int    `json:"capacity"`
	Used        uint32 `json:"slots_used"`
	FenceHigh   uint64 `json:"fence_high"`
}

// member is a process that is attached, or died attached.
type member struct {
	Index       uint16  `json:"member"`
	Generation  uint16  `json:"generation"`
	PID         uint32  `json:"pid"`
	Namespace   uint64  `json:"pid_namespace"`
	Foreign     bool    `json:"other_namespace"` // than that of who took the report
	Phase       string  `json:"phase"`
	Alive       *bool   `json:"alive"`
	ByteOnly    bool    `json:"byte_only"`
	LeftInOrder bool    `json:"left_in_order"`
	UID         uint32  `json:"uid"`
	User        string  `json:"user"`
	Label       string  `json:"label"`
	Joined      moment  `json:"joined"`
	Command     *string `json:"command"`
	Stopped     bool    `json:"stopped"`    // by a signal or a debugger
	Ended       bool    `json:"ended"`      // the process; others inherited what it holds
	Heirs       []heir  `json:"heirs"`      // as far as this user may see
	ActsFor     *uint16 `json:"acts_for"`   // the member whose command it is a part of
	Bound       bool    `json:"acts_bound"` // and which holds what it holds at least as long
}

// heir is a process that keeps what a run that has ended holds.
type heir struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
}

// party is a member as a lock names it: one that is not in the table shows
// that the file is damaged, or changed while it was read.
type party struct {
	Index      uint16 `json:"member"`
	Generation uint16 `json:"generation"`
	PID        uint32 `json:"pid"`
	Label      string `json:"label"`
	Alive      *bool  `json:"alive"`

	entry *member
}

type lock struct {
	Name         string      `json:"name"`
	NameHex      *string     `json:"name_hex"`
	Kind         string      `json:"kind"`
	State        string      `json:"state"`
	Slot         uint32      `json:"slot"`
	Generation   uint32      `json:"generation"`
	Word         string      `json:"word"`
	Owner        *party      `json:"owner"`
	Gate         *string     `json:"gate"` // of an rwmutex: open, draining or shut
	Readers      int         `json:"readers"`
	Reading      []reader    `json:"reading"`
	Waiters      int         `json:"waiters"`
	Waiting      []waiter    `json:"waiting"`
	Tickets      *ticketry   `json:"tickets"`
	Ranges       []rangeHold `json:"ranges"` // held
	Abandoned    bool        `json:"abandoned"`
	Abandonments uint32      `json:"abandonments"`
	LastDeath    *death      `json:"last_death"`
	Tally        *counts     `json:"tally"`
	Fence        uint64      `json:"fence"`
	Named        seconds     `json:"named"` // since boot
	taken        time.Time
}

// counts are of those processes that track what they hold.
type counts struct {
	HeldSince    moment  `json:"held_since"`
	Acquisitions uint64  `json:"acquisitions"`
	Contended    uint64  `json:"contended"`
	Held         seconds `json:"held"`
	Longest      seconds `json:"longest"`
	Waited       seconds `json:"waited"`
}

type reader struct {
	party
	Count uint32 `json:"count"`
}

type waiter struct {
	party
	Count   uint32        `json:"count"` // goroutines
	Mode    string        `json:"mode"`
	Tickets int           `json:"tickets"`
	Since   moment        `json:"since"`
	Range   *rangeRequest `json:"range"`
}

type ticketry struct {
	Size    int            `json:"size"`
	InUse   int            `json:"in_use"`
	Ending  bool           `json:"ending"`
	Holders []ticketHolder `json:"holders"`
}

type ticketHolder struct {
	party
	Numbers []int `json:"numbers"`
}

type death struct {
	PID   int    `json:"pid"`
	Label string `json:"label"`
	When  moment `json:"when"`
	Cause string `json:"cause"`
}

type latch struct {
	Name  string `json:"name"`
	Word  string `json:"word"`
	Owner *party `json:"owner"`
}

type problem struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Where    string `json:"where"`
	Text     string `json:"text"`
}

// held tells whether somebody, dead or alive, holds it or some of it.
func (l *lock) held() bool {
	return l.Owner != nil && !l.isLatched() || l.Readers > 0 || len(l.Reading) > 0 || l.Tickets != nil && l.Tickets.InUse > 0 || len(l.Ranges) > 0
}

func (l *lock) inUse() bool { return l.held() || l.Abandoned || l.Waiters > 0 }

// longestWait is 0 if nobody waits.
func (l *lock) longestWait() time.Duration {
	var longest time.Duration
	for _, w := range l.Waiting {
		if since := time.Time(w.Since); w.known() && !w.dead() && !since.IsZero() {
			longest = max(longest, l.taken.Sub(since))
		}
	}
	return longest
}

func (p *party) known() bool { return p.entry != nil }
func (p *party) dead() bool  { return p.Alive != nil && !*p.Alive }

func (m *member) dead() bool { return m.Alive != nil && !*m.Alive }

// state of a member in a word.
func (m *member) state() string {
	switch {
	case m.dead() && m.LeftInOrder:
		return "left"
	case m.dead():
		return "dead"
	case m.Phase != "live":
		return m.Phase
	case m.Stopped:
		return "stopped"
	case m.Ended:
		return "inherited"
	case m.Alive == nil:
		return "unknown"
	}
	return "alive"
}

// member returns the entry of a party, or nil.
func (r *report) member(index, generation uint16) *member {
	i, found := slices.BinarySearchFunc(r.Members, index, func(m *member, index uint16) int { return cmp.Compare(m.Index, index) })
	if !found || r.Members[i].Generation != generation {
		return nil
	}
	return r.Members[i]
}

func (r *report) memberByIndex(index uint16) *member {
	i, found := slices.BinarySearchFunc(r.Members, index, func(m *member, index uint16) int { return cmp.Compare(m.Index, index) })
	if !found {
		return nil
	}
	return r.Members[i]
}

// locks are all that have a name; those of a small arena by name.
func (r *report) locks() iter.Seq[*lock] {
	if r.reading != nil {
		return r.reading()
	}
	return slices.Values(r.Locks)
}

// age is how long before the report was taken something was, or nothing.
func (r *report) age(at moment) any {
	if time.Time(at).IsZero() {
		return nil
	}
	return seconds(time.Time(r.Taken).Sub(time.Time(at)))
}

func byName(a, b *lock) int {
	return cmp.Or(cmp.Compare(a.bytes(), b.bytes()), cmp.Compare(a.Slot, b.Slot))
}

// bytes is the name as it is in the arena.
func (l *lock) bytes() string {
	if l.NameHex != nil {
		if raw, err := hex.DecodeString(*l.NameHex); err == nil {
			return string(raw)
		}
	}
	return l.Name
}

func hexOf(name string) *string {
	if utf8.ValidString(name) {
		return nil
	}
	h := hex.EncodeToString([]byte(name))
	return &h
}

// nameOf is a file's name in the usual folder, its path elsewhere.
func (t *tool) nameOf(path string) string {
	if filepath.Dir(path) == t.folder {
		return filepath.Base(path)
	}
	return path
}

func aliveness(known, alive bool) *bool {
	if !known {
		return nil
	}
	return &alive
}

func (m moment) isSet() bool { return !time.Time(m).IsZero() }
