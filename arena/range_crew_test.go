package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// rangeLedger is memory beside the arena in which each holder of a test writes
// down, before it looks at the others, which cells it has and how. Two who
// exclude each other cannot both miss it.
type rangeLedger struct {
	violations, taken, late atomic.Uint64
	used                    atomic.Uint32
	rows                    [ledgerRows]rangeRow
}

const (
	ledgerCells = 32
	ledgerRows  = 1500
)

type rangeRow struct {
	dead  atomic.Uint32
	pid   atomic.Uint32
	cells [ledgerCells]atomic.Uint32 // modes
}

func openRangeLedger(path string) (*rangeLedger, func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size := int(unsafe.Sizeof(rangeLedger{}))
	if err := f.Truncate(int64(size)); err != nil {
		return nil, nil, err
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*rangeLedger)(unsafe.Pointer(unsafe.SliceData(raw))), func() { unix.Munmap(raw) }, nil
}

// has writes down that a row has cells in a mode, and looks at the others.
func (l *rangeLedger) has(row *rangeRow, from, to int, mode Mode) {
	for i := from; i < to; i++ {
		row.cells[i].Store(uint32(mode))
	}
	if mode == 0 {
		return
	}
	l.taken.Add(1)
	for k := range l.used.Load() {
		other := &l.rows[k]
		if other == row || other.dead.Load() != 0 {
			continue
		}
		for i := from; i < to; i++ {
			if excludes(Mode(other.cells[i].Load()), mode) && !hasEnded(int(other.pid.Load())) {
				l.violations.Add(1)
			}
		}
	}
}

func init() {
	roles["range-crew"] = func(args []string) {
		a := reopen(args[0], nil)
		l, _, err := openRangeLedger(args[1])
		if err != nil {
			panic(err)
		}
		id, _ := strconv.ParseUint(args[2], 10, 64)
		l.rows[id].pid.Store(uint32(os.Getpid()))
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			rangeCrewWork(a.Ranges("crew"), l, id, stop)
		}()
		proc.Say("works")
		proc.Hear()
		close(stop)
		<-done
		if err := a.Close(); err != nil {
			proc.Say("close: %v", err)
		}
		proc.Say("done")
	}
}

// rangeCrewWork takes, converts and gives back ranges in all the ways there are.
func rangeCrewWork(r *Ranges, l *rangeLedger, id uint64, stop chan struct{}) {
	random := rand.New(rand.NewPCG(id, 2))
	row := &l.rows[id]
	for {
		select {
		case <-stop:
			return
		default:
		}
		for n := 1 + random.IntN(3); n > 0; n-- {
			from := random.IntN(ledgerCells)
			to := min(ledgerCells, from+1+random.IntN(6))
			mode := Mode(1 + random.IntN(2))
			// Others may share as soon as this becomes shared.
			var before [ledgerCells]uint32
			for i := from; i < to; i++ {
				if before[i] = row.cells[i].Load(); before[i] != 0 && mode == Shared {
					row.cells[i].Store(uint32(Shared))
				}
			}
			patience := proc.Soon // with empty hands it must get it in the end
			if n < 3 {
				patience = time.Duration(random.IntN(1000)) * time.Microsecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			ok := false
			if random.IntN(4) == 0 {
				ok, _ = r.TryLock(mode, int64(from), int64(to-from))
			} else if ok = r.Lock(ctx, mode, int64(from), int64(to-from)) == nil; !ok && patience == proc.Soon && len(r.Held()) == 0 {
				l.late.Add(1)
			}
			cancel()
			if ok {
				l.has(row, from, to, mode)
			} else {
				for i := from; i < to; i++ {
					row.cells[i].Store(before[i])
				}
			}
		}
		from := random.IntN(ledgerCells)
		l.has(row, from, min(ledgerCells, from+8), 0)
		r.Release(int64(from), 8)
		l.has(row, 0, ledgerCells, 0)
		if random.IntN(2) == 0 {
			r.Release(0, 0)
		} else {
			r.ReleaseAll()
		}
	}
}

// Processes that take, convert, try, give up and give back, while one after
// the other is killed: no two that exclude each other ever have a cell, and
// none is lost.
func TestRangesCrew(t *testing.T) {
	for _, size := range []struct{ processes, kills int }{{2, 200}, {8, 300}, {50, 60}} {
		t.Run(fmt.Sprintf("%d processes", size.processes), func(t *testing.T) {
			if testing.Short() {
				size.kills = 15
			}
			a := testArena(t, nil)
			all := a.Ranges("crew")
			tryRange(t, all, true, Exclusive, 0, 0)
			all.ReleaseAll()
			ledger := filepath.Join(t.TempDir(), "ledger")
			l, unmap, err := openRangeLedger(ledger)
			if err != nil {
				t.Fatal(err)
			}
			defer unmap()
			ids := make(map[*proc.Proc]uint32)
			start := func() *proc.Proc {
				id := l.used.Add(1) - 1
				p := proc.Start(t, "range-crew", []string{a.Path(), ledger, strconv.Itoa(int(id))})
				ids[p] = id
				return p
			}
			var crowd []*proc.Proc
			for range size.processes {
				crowd = append(crowd, start())
			}
			for _, p := range crowd {
				p.Expect("works")
			}
			// All of it, while the others go on: it is free some time, and its
			// holder is alone.
			takeAll := func() {
				row := &l.rows[ledgerRows-1]
				row.pid.Store(uint32(os.Getpid()))
				lockRange(t, all, Exclusive, 0, 0)
				l.has(row, 0, ledgerCells, Exclusive)
				l.has(row, 0, ledgerCells, 0)
				all.ReleaseAll()
				checkNoDamage(t, a.Path())
			}
			for k := range size.kills {
				i := rand.IntN(len(crowd))
				stopped := crowd[(i+1)%len(crowd)] // and is not taken for dead
				stopped.Signal(syscall.SIGSTOP)
				crowd[i].Kill()
				l.rows[ids[crowd[i]]].dead.Store(1)
				crowd[i] = start()
				crowd[i].Expect("works")
				stopped.Signal(syscall.SIGCONT)
				if k%20 == 0 {
					takeAll()
				}
			}
			for _, p := range crowd {
				p.Send("stop")
			}
			for _, p := range crowd {
				p.Expect("done")
				p.Wait()
			}
			takeAll()
			if v, late := l.violations.Load(), l.late.Load(); v != 0 || late != 0 {
				t.Errorf("%d violations, %d requests that were never served", v, late)
			}
			t.Logf("%d ranges were taken", l.taken.Load())
			expectNoRanges(t, a)
		})
	}
}

func checkNoDamage(t testing.TB, path string) {
	t.Helper()
	problems, err := Check(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Severity == Damage {
			t.Error(p)
		}
	}
}
