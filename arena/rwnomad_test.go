package arena

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lockd/internal/proc"
)

// Names that come and go while they are used: nomads take locks of more names
// than the table has slots, so that each taking may evict another's name.

const (
	nomadNames = 1500
	nomadReads = 32 // one name of so many is read too: there are few records
)

// nomad takes the lock of one name after the other. The name's entry on the
// stage says who is inside.
func nomad(a *Arena, s stage, turns int) error {
	for range turns {
		n := rand.IntN(nomadNames)
		m, e := a.RWMutex("nomad "+strconv.Itoa(n)), s.at(1+n)
		alone := func() error {
			defer e.writers.Add(-1)
			if w, r := e.writers.Add(1), e.readers.Load(); w != 1 || r != 0 {
				return fmt.Errorf("a writer of %d beside %d readers and %d writers", n, r, w-1)
			}
			return nil
		}
		reading := func() error {
			defer e.readers.Add(-1)
			if e.readers.Add(1); e.writers.Load() != 0 {
				return fmt.Errorf("a reader of %d beside a writer", n)
			}
			return nil
		}
		soon, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(1000))*time.Microsecond)
		way := rand.IntN(4)
		if n%nomadReads == 0 {
			way = 4 + rand.IntN(5)
		}
		var err error
		switch way {
		case 0:
			m.Lock()
			err = alone()
			m.Unlock()
		case 1:
			if m.TryLock() {
				err = alone()
				m.Unlock()
			}
		case 2:
			m.ULock()
			if m.Upgrade(soon) == nil {
				err = alone()
				m.Unlock()
			} else {
				m.UUnlock()
			}
		case 3:
			if m.LockContext(soon) == nil {
				err = alone()
				m.DowngradeToU()
				m.UUnlock()
			}
		case 4, 5:
			m.RLock()
			err = reading()
			m.RUnlock()
		case 6:
			if m.TryRLock() {
				if err = reading(); m.TryUpgrade() {
					err = errors.Join(err, alone())
					m.Unlock()
				} else {
					m.RUnlock()
				}
			}
		case 7:
			m.Lock()
			err = alone()
			m.Downgrade()
			err = errors.Join(err, reading())
			m.RUnlock()
		case 8:
			if m.RLockContext(soon) == nil {
				err = reading()
				m.RUnlock()
			}
		}
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func init() {
	// rw-nomad: arena, stage, turns, rounds. It closes and opens the arena
	// between two rounds.
	roles["rw-nomad"] = func(args []string) {
		s := openStage(args[1])
		turns, _ := strconv.Atoi(args[2])
		rounds, _ := strconv.Atoi(args[3])
		for range rounds {
			a := reopen(args[0], &Options{Logger: quiet, MaxLocks: 1})
			var all sync.WaitGroup
			for range 2 {
				all.Go(func() {
					if err := nomad(a, s, turns); err != nil {
						proc.Say("violation: %v", err)
					}
				})
			}
			all.Wait()
			if err := a.Close(); err != nil {
				proc.Say("%v", err)
			}
		}
		proc.Say("done")
	}
}

// Names are evicted while others come to use them, in all ways at once.
func TestRWNomads(t *testing.T) {
	path := testPath(t)
	a, err := Open(path, &Options{Logger: quiet, MaxLocks: 1})
	if err != nil {
		t.Fatal(err)
	}
	stagePath := filepath.Join(filepath.Dir(path), "stage")
	s := openStage(stagePath)
	defer unix.Munmap(s.raw)
	turns := 20_000
	if testing.Short() {
		turns = 3_000
	}
	var crew []*proc.Proc
	for range 4 {
		crew = append(crew, proc.Start(t, "rw-nomad", []string{path, stagePath, strconv.Itoa(turns), "3"}))
	}
	for _, p := range crew {
		p.Expect("done")
	}
	idleRW(t, path, a)
}

// More names than there are slots or records: idle ones make room, those in
// use keep theirs, and a handle to a name that was gone meanwhile works.
func TestRWEviction(t *testing.T) {
	a, keep := testRW(t)
	keep.RLock()
	kept := a.RWMutex("kept upgradable")
	kept.ULock()
	first := a.RWMutex("name 0")
	for i := range 3000 {
		m := a.RWMutex(fmt.Sprintf("name %d", i))
		m.RLock()
		if i%5 == 0 && !m.TryUpgrade() {
			t.Fatalf("name %d cannot be upgraded", i)
		} else if i%5 == 0 {
			m.Unlock()
		} else {
			m.RUnlock()
		}
	}
	first.RLock()
	if a.RWMutex("name 0").TryLock() {
		t.Error("a writer beside a reader through an old handle")
	}
	first.RUnlock()
	if keep.TryLock() || kept.TryULock() {
		t.Fatal("taken from who holds it")
	}
	kept.UUnlock()
	keep.RUnlock()
	keep.Lock()
	keep.Unlock()
}

// Processes that come and go share few cells.
func TestRWCellsAreReused(t *testing.T) {
	needDeath(t)
	a, m := testRW(t)
	m.RLock()
	m.RUnlock()
	for range 10 {
		p := startRW(t, a)
		do(t, p, "R")
		p.Kill()
		settleWhole(t, a)
	}
	cells := 0
	b := m.binding()
	for range a.core.chain(b.index, b.slot) {
		cells++
	}
	if cells != 2 {
		t.Errorf("%d cells for two readers at a time", cells)
	}
}
