package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// stage is memory beside the arena in which processes note that they are
// inside, and how: the truth that the lock is held against. Every process that
// a test starts has an entry of its own.
type stage struct{ raw []byte }

// stageEntries is the most there can be; the first one's turns say how many
// are in use.
const stageEntries = 2048

type stageEntry struct {
	pid                         atomic.Int32
	readers, upgraders, writers atomic.Int32
	turns                       atomic.Int64
	_                           [40]byte
}

func openStage(path string) stage {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	size := stageEntries * int(unsafe.Sizeof(stageEntry{}))
	if err := f.Truncate(int64(size)); err != nil {
		panic(err)
	}
	raw, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return stage{raw: raw}
}

func (s stage) at(i int) *stageEntry {
	return (*stageEntry)(unsafe.Pointer(&s.raw[i*int(unsafe.Sizeof(stageEntry{}))]))
}

// inside says who is inside in which way; the dead are not.
func (s stage) inside() (readers, upgraders, writers int) {
	for i := 1; i <= int(s.at(0).turns.Load()); i++ {
		e := s.at(i)
		r, u, w := e.readers.Load(), e.upgraders.Load(), e.writers.Load()
		if r|u|w != 0 && !isDead(int(e.pid.Load())) {
			readers, upgraders, writers = readers+int(r), upgraders+int(u), writers+int(w)
		}
	}
	return readers, upgraders, writers
}

// isDead tells whether a process has ended or is ending. One whose memory and
// descriptors are gone is not a zombie yet, but can do nothing any more.
func isDead(pid int) bool {
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 7 {
		return true
	}
	const exiting = 4 // PF_EXITING of include/linux/sched.h
	flags, _ := strconv.ParseUint(fields[6], 10, 64)
	return fields[0] == "Z" || fields[0] == "X" || flags&exiting != 0
}

// player takes the lock in all ways and checks, inside, that nobody is there
// who must not be.
type player struct {
	m     *RWMutex
	stage stage
	me    *stageEntry
}

func (a player) violated(how string) {
	r, u, w := a.stage.inside()
	proc.Say("violation: %s beside %d readers, %d upgradable, %d writers", how, r, u, w)
	os.Exit(1)
}

func (a player) enterR() {
	a.me.readers.Add(1)
	if _, _, w := a.stage.inside(); w != 0 {
		a.violated("reader")
	}
}

func (a player) leaveR() { a.me.readers.Add(-1) }

func (a player) enterU() {
	a.me.upgraders.Add(1)
	if _, u, w := a.stage.inside(); w != 0 || u != 1 {
		a.violated("upgradable")
	}
}

func (a player) leaveU() { a.me.upgraders.Add(-1) }

func (a player) enterX() {
	a.me.writers.Add(1)
	for range 2 {
		if r, u, w := a.stage.inside(); r != 0 || u != 0 || w != 1 {
			a.violated("writer")
		}
	}
}

func (a player) leaveX() { a.me.writers.Add(-1) }

// turn is one of all that can be done with the lock.
func (a player) turn(n int) {
	soon, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(300))*time.Microsecond)
	defer cancel()
	m := a.m
	switch n % 10 {
	case 0, 1, 2:
		m.RLock()
		a.enterR()
		a.leaveR()
		m.RUnlock()
	case 3:
		m.Lock()
		a.enterX()
		a.leaveX()
		m.Unlock()
	case 4:
		m.ULock()
		a.enterU()
		if n%3 == 0 && m.Upgrade(soon) == nil {
			a.leaveU()
			a.enterX()
			a.leaveX()
			m.Unlock()
			return
		}
		a.leaveU()
		m.UUnlock()
	case 5:
		m.Lock()
		a.enterX()
		a.leaveX()
		a.me.readers.Add(1)
		m.Downgrade()
		a.me.readers.Add(-1)
		a.enterR()
		a.leaveR()
		m.RUnlock()
	case 6:
		if m.LockContext(soon) == nil {
			a.enterX()
			a.leaveX()
			a.me.upgraders.Add(1)
			m.DowngradeToU()
			a.me.upgraders.Add(-1)
			a.enterU()
			a.leaveU()
			a.me.readers.Add(1)
			m.UDowngrade()
			a.leaveR()
			m.RUnlock()
		}
	case 7:
		if m.RLockContext(soon) == nil {
			a.enterR()
			a.leaveR()
			if m.TryUpgrade() {
				a.enterX()
				a.leaveX()
				m.Unlock()
			} else {
				a.enterR()
				a.leaveR()
				m.RUnlock()
			}
		}
	case 8:
		if m.TryLock() {
			a.enterX()
			a.leaveX()
			m.Unlock()
		}
	case 9:
		if m.TryRLock() {
			a.enterR()
			a.leaveR()
			m.RUnlock()
		}
	}
	a.me.turns.Add(1)
}

func init() {
	// rw-player: arena, stage, entry, goroutines
	roles["rw-player"] = func(args []string) {
		ar := reopen(args[0], &Options{Logger: quiet})
		s := openStage(args[1])
		n, _ := strconv.Atoi(args[2])
		goroutines, _ := strconv.Atoi(args[3])
		a := player{ar.RWMutex("churn"), s, s.at(n)}
		a.me.pid.Store(int32(os.Getpid()))
		var quit atomic.Bool
		var all sync.WaitGroup
		for range goroutines {
			all.Go(func() {
				for !quit.Load() {
					a.turn(rand.IntN(1000))
				}
			})
		}
		proc.Say("on")
		proc.Hear()
		quit.Store(true)
		all.Wait()
		if err := ar.Close(); err != nil {
			proc.Say("close: %v", err)
		}
		proc.Say("off")
	}
}

// Readers xor one writer, and one upgradable holder, for processes that are
// killed wherever they are: holding, waiting, granting.
func TestRWExclusion(t *testing.T) {
	for _, tc := range []struct{ processes, goroutines, kills int }{{2, 3, 300}, {8, 2, 400}, {50, 1, 300}} {
		if testing.Short() {
			tc.kills /= 10
		}
		t.Run(fmt.Sprint(tc.processes), func(t *testing.T) {
			path := testPath(t)
			a, err := Open(path, &Options{Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			stagePath := filepath.Join(filepath.Dir(path), "stage")
			s := openStage(stagePath)
			defer unix.Munmap(s.raw)
			next := 0
			start := func() *proc.Proc {
				next++
				s.at(0).turns.Store(int64(next))
				return proc.Start(t, "rw-player", []string{path, stagePath, strconv.Itoa(next), strconv.Itoa(tc.goroutines)})
			}
			crew := make([]*proc.Proc, tc.processes)
			for i := range crew {
				crew[i] = start()
			}
			for _, p := range crew {
				p.Expect("on")
			}
			begin := time.Now()
			for k := range tc.kills {
				i := k % len(crew)
				crew[i].Kill()
				select {
				case line, ok := <-crew[i].Lines():
					if ok {
						t.Fatal(line)
					}
				default:
				}
				crew[i] = start()
				crew[i].Expect("on")
			}
			// Everybody still gets in.
			before := make([]int64, next+1)
			for i := range before {
				before[i] = s.at(i).turns.Load()
			}
			alive := func(i int) bool { return !isDead(int(s.at(i).pid.Load())) }
			eventuallyRW(t, "every process has a turn", func() bool {
				for i := 1; i <= next; i++ {
					if alive(i) && s.at(i).turns.Load() == before[i] {
						return false
					}
				}
				return true
			})
			var turns int64
			for i := 1; i <= next; i++ {
				turns += s.at(i).turns.Load()
			}
			for _, p := range crew {
				p.Send("stop")
			}
			for _, p := range crew {
				p.Expect("off")
				if err := p.Wait(); err != nil {
					t.Error(err)
				}
			}
			t.Logf("%d kills and %d turns in %v", tc.kills, turns, time.Since(begin))
			m := a.RWMutex("churn")
			m.Lock()
			m.MarkConsistent()
			m.Unlock()
			idleRW(t, path, a)
		})
	}
}

// eventuallyRW waits for something that must come true.
func eventuallyRW(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(proc.Soon); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", proc.Soon, what)
		}
	}
}

// idleRW fails the test unless nothing is left of anybody in the arena, once
// the dead are settled and this process has closed it.
func idleRW(t *testing.T, path string, a *Arena) {
	t.Helper()
	eventuallyRW(t, "the dead are settled", func() bool {
		a.core.settleDead()
		s, err := ReadSnapshot(path)
		return err == nil && len(s.Members) == 1
	})
	problems, err := Check(path)
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		if p.Code != "latch-rebuild" { // that waits for the next who needs it
			t.Error(p)
		}
	}
	if err := a.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	s, err := ReadSnapshot(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range s.Locks {
		if l.Held() || l.Gate != 0 || len(l.Reading) != 0 || len(l.Waiting) != 0 || l.Word.Has(1<<30) {
			t.Errorf("left behind: %+v", l)
		}
	}
	s.picture.records(s, func(i uint32, r seenRecord) {
		if r.kind != seenVacant {
			t.Errorf("record %d is left: %+v", i, r)
		}
	})
}
