package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// who is a process of a run: its pid, when it started, and its seat. So one
// word of a ledger names it for good, though pids and seats are used again.
//
//	pid 63–42 | start, clock ticks 41–8 | seat 7–0
type who uint64

func (w who) pid() int  { return int(w >> 42) }
func (w who) seat() int { return int(w & 0xff) }

func whoIs(pid, seat int) who {
	return who(pid)<<42 | who(startOf(pid)&(1<<34-1))<<8 | who(seat)
}

func (w who) String() string { return fmt.Sprintf("pid %d (seat %d)", w.pid(), w.seat()) }

// isDead asks the process table, which is another source than the package's. A
// process whose threads are all exiting runs no more code, and has given up its
// files before it is a zombie. One that said it would call execve has forgotten
// its memory when it has other arguments.
func (w who) isDead(b *board) bool {
	if start := startOf(w.pid()); start == 0 || start&(1<<34-1) != uint64(w>>8)&(1<<34-1) {
		return true
	}
	if b.seats[w.seat()].execs.Load() == uint64(w) {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", w.pid()))
		if err != nil || !bytes.Contains(cmdline, []byte("\x00"+workerRole+"\x00")) {
			return true
		}
	}
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", w.pid()))
	for _, stat := range stats {
		if !isExiting(stat) {
			return false
		}
	}
	return true
}

func startOf(pid int) uint64 {
	fields := statFields(fmt.Sprintf("/proc/%d/stat", pid))
	if len(fields) < 20 {
		return 0
	}
	start, _ := strconv.ParseUint(fields[19], 10, 64)
	return start
}

func isExiting(stat string) bool {
	fields := statFields(stat)
	if len(fields) < 7 {
		return true
	}
	const exiting = 0x4 // PF_EXITING
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return fields[0] == "Z" || fields[0] == "X" || flags&exiting != 0
}

// statFields are those behind the name: the third is the first.
func statFields(path string) []string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
}
