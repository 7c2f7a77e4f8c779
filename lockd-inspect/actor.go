package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"lockd/robust"
)

// actorVariable is what run gives its command in the environment: the pids,
// with start times, of the runs that hold something at least as long as the
// command and all that it starts have not ended; the outermost first. A run in
// there acts for them: what it waits for, they wait for.
const actorVariable = "LOCKD_ACTOR"

// actorHere is the value for a command of this process.
func actorHere() string {
	self, err := robust.Self()
	if err != nil {
		return os.Getenv(actorVariable)
	}
	return strings.TrimSpace(os.Getenv(actorVariable) + " " + actorName(self.PID, self.StartTime))
}

func actorName(pid uint32, started uint64) string { return fmt.Sprintf("%d.%d", pid, started) }

// findActors says of each living member which other one it acts for, as far
// as this user may know: by the environment, which binds, or else as a
// descendant of a run's. A run that has ended is still acted for: what it
// holds lasts as long as those that have its environment.
func (r *report) findActors(started map[*member]uint64) {
	byName := make(map[string]*member)
	byPID := make(map[int]*member)
	ended := false
	for _, m := range r.Members {
		if !m.ByteOnly || m.Foreign || m.dead() {
			continue
		}
		byName[actorName(m.PID, started[m])] = m
		if ended = ended || m.Ended; !m.Ended {
			byPID[int(m.PID)] = m
		}
	}
	if len(byName) == 0 {
		return
	}
	for _, m := range r.Members {
		if m.Foreign || m.dead() || m.Ended {
			continue
		}
		if outer := outerByEnvironment(int(m.PID), byName); outer != nil && outer != m {
			m.ActsFor, m.Bound = &outer.Index, true
		} else if outer := outerByDescent(int(m.PID), byPID); outer != nil {
			m.ActsFor = &outer.Index
		}
	}
	if ended {
		findHeirs(byName)
	}
}

func outerByEnvironment(pid int, byName map[string]*member) *member {
	for _, name := range slices.Backward(actorsIn(pid)) {
		if m := byName[name]; m != nil {
			return m
		}
	}
	return nil
}

// actorsIn returns what a process has in its environment, the outermost first.
func actorsIn(pid int) []string {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	for variable := range bytes.SplitSeq(raw, []byte{0}) {
		if value, ok := strings.CutPrefix(string(variable), actorVariable+"="); ok {
			return strings.Fields(value)
		}
	}
	return nil
}

// findHeirs looks for those that keep what an ended run held.
func findHeirs(byName map[string]*member) {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		for _, name := range actorsIn(pid) {
			if m := byName[name]; m != nil && m.Ended {
				m.Heirs = append(m.Heirs, heir{pid, commandLine(pid)})
			}
		}
	}
}

// mostAncestors bounds the way up; a process tree that changes has no cycles,
// but what is read of it could.
const mostAncestors = 64

func outerByDescent(pid int, byPID map[int]*member) *member {
	for range mostAncestors {
		if pid = parentOf(pid); pid <= 1 {
			return nil
		}
		if m := byPID[pid]; m != nil {
			return m
		}
	}
	return nil
}

func parentOf(pid int) int {
	fields := statOf(pid)
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// isStopped is true of a process that a signal or a debugger has stopped.
func isStopped(pid int) bool {
	fields := statOf(pid)
	return len(fields) > 0 && (fields[0] == "T" || fields[0] == "t")
}

// statOf returns what /proc says behind the command's name: state, parent, …
func statOf(pid int) []string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}
