package arena

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ticketLedger is memory beside the arena in which the processes of a test
// write down who has which ticket, so that a ticket given twice shows.
type ticketLedger struct {
	violations atomic.Uint64
	acquired   atomic.Uint64
	cells      [64]atomic.Uint64   // by ticket: the id of who has it
	pids       [4000]atomic.Uint64 // by id, which is never used again
}

func openTicketLedger(path string) (*ticketLedger, func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size := int(unsafe.Sizeof(ticketLedger{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, err
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*ticketLedger)(unsafe.Pointer(unsafe.SliceData(raw))), func() { unix.Munmap(raw) }, nil
}

// got writes down that id has the tickets; whoever is written there must be dead.
func (l *ticketLedger) got(id uint64, numbers []int) {
	l.acquired.Add(uint64(len(numbers)))
	for _, n := range numbers {
		if before := l.cells[n].Swap(id); before != 0 && !hasEnded(int(l.pids[before].Load())) {
			l.violations.Add(1)
		}
	}
}

func (l *ticketLedger) gives(id uint64, numbers []int) {
	for _, n := range numbers {
		if !l.cells[n].CompareAndSwap(id, 0) {
			l.violations.Add(1)
		}
	}
}

// hasEnded is the truth of another source than the package's: the process
// table. A process whose threads are all exiting runs no more code, and has
// given up its files, and with them its liveness byte, before it is a zombie.
func hasEnded(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, stat := range stats {
		if !isExiting(stat) {
			return false
		}
	}
	return true
}

func isExiting(stat string) bool {
	raw, err := os.ReadFile(stat)
	if err != nil {
		return true
	}
	_, rest, _ := bytes.Cut(raw, []byte(") "))
	fields := strings.Fields(string(rest)) // from the third field on
	if len(fields) < 7 {
		return false
	}
	const exiting = 0x4 // PF_EXITING
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return fields[0] == "Z" || fields[0] == "X" || flags&exiting != 0
}
