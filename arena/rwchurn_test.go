package arena

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

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
	// rw-player: arena, stage, entry, goroutines. Told "turn" it answers when it
	// has had the lock once more.
	roles["rw-player"] = func(args []string) {
		ar := reopen(args[0], &Options{Logger: quiet})
		s := openStage(args[1])
		n, _ := strconv.Atoi(args[2])
		goroutines, _ := strconv.Atoi(args[3])
		a := player{ar.RWMutex("churn"), s, s.at(n)}
		a.me.pid.Store(int32(os.Getpid()))
		var quit atomic.Bool
		var all sync.WaitGroup
		turned := make(chan bool)
		for range goroutines {
			all.Go(func() {
				for !quit.Load() {
					a.turn(rand.IntN(1000))
					select {
					case turned <- true:
					default:
					}
				}
			})
		}
		proc.Say("on")
		for proc.Hear() == "turn" {
			<-turned
			<-turned // this one began afterwards, or another did in between
			proc.Say("turned")
		}
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
			crew, entries := make([]*proc.Proc, tc.processes), make([]int, tc.processes)
			for i := range crew {
				crew[i] = start()
				entries[i] = next
			}
			for _, p := range crew {
				p.Expect("on")
			}
			begin := time.Now()
			for k := range tc.kills {
				i := k % len(crew)
				if !deathShows() { // nobody could give back what it held
					crew[i].Send("turn")
					crew[i].Expect("turned")
					continue
				}
				crew[i].Kill()
				s.leave(entries[i]) // its pid may soon be another's
				select {
				case line, ok := <-crew[i].Lines():
					if ok {
						t.Fatal(line)
					}
				default:
				}
				crew[i] = start()
				entries[i] = next
				crew[i].Expect("on")
			}
			for _, p := range crew { // everybody still gets in
				p.Send("turn")
			}
			for _, p := range crew {
				p.Expect("turned")
			}
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
