package arena

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"lockd/internal/proc"
)

// lockedTable is the third seed's class: a flat file without any locking of
// its own, with every operation wrapped in one lock; and operations call each
// other, as the original's do: create opens, insert and remove commit, cleanup
// commits.
type lockedTable struct {
	path string
	lock *Mutex
	in   *Session
	rows []uint64
}

// wrapped runs an operation under the lock, which the session may have.
func (t *lockedTable) wrapped(f func() error) error {
	if err := t.in.Lock(context.Background(), t.lock); err != nil {
		return err
	}
	defer t.in.Unlock(t.lock)
	return f()
}

func (t *lockedTable) create() error {
	return t.wrapped(func() error {
		if _, err := os.Stat(t.path); err != nil {
			t.rows = nil
			if err := t.commit(); err != nil {
				return err
			}
		}
		return t.open()
	})
}

func (t *lockedTable) open() error {
	return t.wrapped(func() error {
		raw, err := os.ReadFile(t.path)
		if err != nil {
			return err
		}
		if len(raw) < 8 || uint64(len(raw)) != 8+8*binary.LittleEndian.Uint64(raw) {
			return fmt.Errorf("the table is torn: %d bytes", len(raw))
		}
		t.rows = t.rows[:0]
		for raw = raw[8:]; len(raw) > 0; raw = raw[8:] {
			t.rows = append(t.rows, binary.LittleEndian.Uint64(raw))
		}
		return nil
	})
}

// commit writes the file in two halves, which nobody may see between.
func (t *lockedTable) commit() error {
	return t.wrapped(func() error {
		raw := binary.LittleEndian.AppendUint64(nil, uint64(len(t.rows)))
		for _, r := range t.rows {
			raw = binary.LittleEndian.AppendUint64(raw, r)
		}
		if err := os.WriteFile(t.path, raw[:4], 0o600); err != nil {
			return err
		}
		return os.WriteFile(t.path, raw, 0o600)
	})
}

func (t *lockedTable) insert(row uint64) error {
	return t.wrapped(func() error {
		if err := t.open(); err != nil {
			return err
		}
		t.rows = append(t.rows, row)
		return t.commit()
	})
}

func (t *lockedTable) remove(row uint64) error {
	return t.wrapped(func() error {
		if err := t.open(); err != nil {
			return err
		}
		for i, r := range t.rows {
			if r == row {
				t.rows = append(t.rows[:i], t.rows[i+1:]...)
				return t.commit()
			}
		}
		return fmt.Errorf("row %d is lost", row)
	})
}

// cleanup drops what this process has left, and commits.
func (t *lockedTable) cleanup(mine func(uint64) bool) error {
	return t.wrapped(func() error {
		if err := t.open(); err != nil {
			return err
		}
		kept := t.rows[:0]
		for _, r := range t.rows {
			if !mine(r) {
				kept = append(kept, r)
			}
		}
		t.rows = kept
		return t.commit()
	})
}

func init() {
	// seed002: arena, table, number, rounds.
	roles["seed002"] = func(args []string) {
		a := reopen(args[0], quietly("buzhug"))
		number, _ := strconv.ParseUint(args[2], 10, 32)
		rounds, _ := strconv.Atoi(args[3])
		t := &lockedTable{path: args[1], lock: a.Mutex("table"), in: a.OpenSession(SessionOptions{Label: "table", Reentrant: true})}
		r := rand.New(rand.NewPCG(number, 2))
		run := func() error {
			if err := t.create(); err != nil {
				return err
			}
			for i := range uint64(rounds) {
				if err := t.insert(number<<32 | i); err != nil {
					return err
				}
				if r.IntN(2) == 0 {
					if err := t.remove(number<<32 | i); err != nil {
						return err
					}
				}
			}
			if number%2 == 0 {
				return nil // leaves its rows
			}
			return t.cleanup(func(row uint64) bool { return row>>32 == number })
		}
		if err := run(); err != nil {
			proc.Say("%v", err)
		}
		left := 0
		if err := t.open(); err != nil {
			proc.Say("%v", err)
		}
		for _, row := range t.rows {
			if row>>32 == number {
				left++
			}
		}
		proc.Say("%d left", left)
		t.in.Close()
	}
}

// "It can be run up to 50 times simultaneously in separate processes; each run
// makes a read and a write or delete." Fifty processes on one table.
func TestSeed002(t *testing.T) {
	processes, rounds := 50, 20
	if testing.Short() {
		processes, rounds = 10, 10
	}
	a := testArena(t, nil)
	table := filepath.Join(t.TempDir(), "table")
	var all []*proc.Proc
	for n := range processes {
		all = append(all, proc.Start(t, "seed002", []string{a.Path(), table, strconv.Itoa(n), strconv.Itoa(rounds)}))
	}
	left := 0
	for _, p := range all {
		for line := range p.Lines() {
			var n int
			if _, err := fmt.Sscanf(line, "%d left", &n); err != nil {
				t.Error(line)
			}
			left += n
		}
		p.Wait()
	}
	again := &lockedTable{path: table, lock: a.Mutex("table"), in: a.OpenSession(SessionOptions{Reentrant: true})}
	defer again.in.Close()
	if err := again.open(); err != nil || len(again.rows) != left || left == 0 {
		t.Errorf("%d rows, %d were left; %v", len(again.rows), left, err)
	}
}
