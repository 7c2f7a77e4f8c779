package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lockd/arena"
	"lockd/robust"
)

// lockRow is a lock in a list, with the entry of its owner if there is one.
type lockRow struct {
	*arena.LockInfo
	owner *arena.MemberInfo
}

var lockColumns = slices.Concat(plainColumns, semaphoreColumns)

var plainColumns = []column[lockRow]{
	{"name", "of the lock; quoted if it has bytes that cannot be seen", false, false, func(l lockRow) any { return l.Name }},
	{"name_hex", "the name's bytes, if they are not UTF-8", true, false, func(l lockRow) any {
		if utf8.ValidString(l.Name) {
			return nil
		}
		return hex.EncodeToString([]byte(l.Name))
	}},
	{"kind", "mutex, rwmutex, semaphore or ranges", false, false, func(l lockRow) any { return l.Kind.String() }},
	{"state", stateHelp, false, false, func(l lockRow) any { return l.state() }},
	{"pid", "of the owner, in its own pid namespace", false, true, func(l lockRow) any {
		if h := l.onlyHolder(); h != nil {
			return h.PID
		}
		return nil
	}},
	{"command", "of the owner, if it is alive and in this pid namespace", false, false, func(l lockRow) any { return l.command() }},
	{"label", "that the owner gave itself", false, false, func(l lockRow) any {
		if l.owner == nil {
			return nil
		}
		return l.owner.Label
	}},
	{"user", "who the owner runs as", true, false, func(l lockRow) any {
		if l.owner == nil {
			return nil
		}
		return userName(l.owner.UID)
	}},
	{"owner_alive", "none if that cannot be told", true, false, func(l lockRow) any {
		if l.owner == nil || l.owner.Verdict == robust.Unknown {
			return nil
		}
		return l.owner.Verdict == robust.Alive
	}},
	{"readers", "read locks of an rwmutex that are held", false, true, func(l lockRow) any {
		if l.Kind != arena.KindRWMutex {
			return nil
		}
		return l.Readers
	}},
	{"reading", "by whom: pid×count of each process, in its own pid namespace", true, false, func(l lockRow) any { return l.reading() }},
	{"waiters", "goroutines and commands that wait for it", false, true, func(l lockRow) any { return l.Waiters }},
	{"waiting", "for how long the first of them has been; in JSON in seconds", true, true, func(l lockRow) any { return l.longestWait() }},
	{"abandonments", "how often an owner died, panicked or was robbed", false, true, func(l lockRow) any { return l.Abandonments }},
	{"last_death", "of an owner: how it ended", true, false, ofDeath(func(d *arena.Death) any { return d.Cause.String() })},
	{"last_death_pid", "and who it was", true, true, ofDeath(func(d *arena.Death) any { return d.PID })},
	{"last_death_label", "and what it called itself", true, false, ofDeath(func(d *arena.Death) any { return d.Label })},
	{"last_death_at", "and when that was noticed", true, false, ofDeath(func(d *arena.Death) any { return when(d.When) })},
	{"fence", "the last fencing number; the next one is higher", false, true, func(l lockRow) any { return l.Fence }},
	{"slot", "where it is in the table", true, true, func(l lockRow) any { return l.Slot }},
	{"generation", "of the slot", true, true, func(l lockRow) any { return l.Generation }},
}

const stateHelp = `free
	  read       an rwmutex, by readers alone
	  upgradable an rwmutex, by a living owner beside readers
	  draining   an rwmutex whose owner waits for readers to leave
	  held       by a living owner
	  abandoned  free, and what it protects may be half-changed
	  inherited  held by an heir who has not marked it consistent
	  dead       its owner died; the next who wants it will inherit it
	  left       its owner and all that inherited it ended in good order
	  2 of 4     of a semaphore: so many tickets are held`

// onlyHolder is who holds the lock; of a semaphore, if one process holds all
// the tickets that are held.
func (l lockRow) onlyHolder() *arena.OwnerInfo {
	if l.Kind != arena.KindSemaphore {
		return l.Owner
	}
	if l.Semaphore == nil || len(l.Semaphore.Holders) != 1 {
		return nil
	}
	return &l.Semaphore.Holders[0].OwnerInfo
}

func (l lockRow) state() string {
	switch {
	case l.Kind == arena.KindSemaphore:
		return semaphoreState(l.Semaphore)
	case !l.Held() && isAbandoned(l.LockInfo):
		return "abandoned"
	case !l.Held() && l.Readers > 0:
		return "read"
	case !l.Held():
		return "free"
	case l.owner != nil && l.owner.Verdict == robust.Gone && l.owner.LeftInOrder:
		return "left"
	case l.owner != nil && l.owner.Verdict == robust.Gone:
		return "dead"
	case isAbandoned(l.LockInfo):
		return "inherited"
	case l.Kind == arena.KindRWMutex && l.Gate == 0:
		return "upgradable"
	case l.Kind == arena.KindRWMutex && l.Gate.Has(robust.Waiters):
		return "draining"
	}
	return "held"
}

// readerRow is one process that reads, as JSON shows it.
type readerRow struct {
	PID   uint32 `json:"pid"`
	Label string `json:"label"`
	Count uint32 `json:"count"`
	Alive *bool  `json:"alive"`
}

type readerRows []readerRow

func (rows readerRows) String() string {
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%d×%d", r.PID, r.Count))
	}
	return strings.Join(all, ",")
}

func (l lockRow) reading() any {
	var rows readerRows
	for _, r := range l.Reading {
		row := readerRow{PID: r.PID, Label: r.Label, Count: r.Count}
		if r.Known && r.Verdict != robust.Unknown {
			alive := r.Verdict == robust.Alive
			row.Alive = &alive
		}
		rows = append(rows, row)
	}
	if rows == nil {
		return nil
	}
	return rows
}

func (l lockRow) longestWait() any {
	var longest time.Duration
	for _, w := range l.Waiting {
		if w.Known && w.Verdict != robust.Gone && !w.Since.IsZero() {
			longest = max(longest, now().Sub(w.Since))
		}
	}
	if longest == 0 {
		return nil
	}
	return seconds(longest)
}

func ofDeath(value func(*arena.Death) any) func(lockRow) any {
	return func(l lockRow) any {
		if l.LastDeath == nil {
			return nil
		}
		return value(l.LastDeath)
	}
}

// command is the owner's command line, if its pid is still the owner's, and
// one of this namespace: an owner that is judged by its byte can be alive
// through those who inherited it.
func (l lockRow) command() any {
	if l.owner == nil || robust.JudgePID(l.owner.Identity) != robust.Alive {
		return nil
	}
	line := commandLine(int(l.owner.PID))
	if line == "" {
		return nil
	}
	return line
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

func (t *tool) showLocks(name string, l layout) int {
	columns, err := choose(lockColumns, l.columns, l.json)
	if err != nil {
		return t.misused(err)
	}
	s, err := t.read(name)
	if s == nil {
		t.complain("%v", err)
		return exitCannotTell
	}
	front := fmt.Sprintf(`"arena":%s,`, jsonRow(arenaColumns, t.rowOf(s, err == nil)))
	code := write(t, l, columns, lockRows(s), front, "locks")
	if err != nil { // what could be read is shown
		t.complain("%v", err)
		return exitCannotTell
	}
	return code
}

func lockRows(s *arena.Snapshot) []lockRow {
	members := make(map[robust.Member]*arena.MemberInfo, len(s.Members))
	for i := range s.Members {
		members[s.Members[i].Member] = &s.Members[i]
	}
	rows := make([]lockRow, len(s.Locks))
	for i := range s.Locks {
		rows[i] = lockRow{LockInfo: &s.Locks[i]}
		if o := rows[i].onlyHolder(); o != nil {
			rows[i].owner = members[o.Member]
		}
	}
	slices.SortFunc(rows, func(a, b lockRow) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Slot, b.Slot))
	})
	return rows
}

func helpLocks(w io.Writer) {
	fmt.Fprintf(w, "Lists the locks in the table of an arena, idle ones too. ARENA is a name in %s,\nor a path with a slash.\n\n", arena.Dir)
	helpView(w, lockColumns)
}
