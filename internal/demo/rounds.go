package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lockd/arena"
)

// rounds runs both and says what came of them. What the round without a lock
// loses is the point of it; what the other one loses is an error.
func (d *demo) rounds(ctx context.Context, dir string, a *arena.Arena) error {
	d.say("1. Without a lock")
	l, before, err := d.unlocked(ctx, dir)
	if err != nil {
		return fmt.Errorf("round without a lock: %w", err)
	}
	d.sayFindings(l, before)

	d.say("\n2. With a lock, and with %d processes killed while they hold it", d.kills)
	l, after, err := d.locked(ctx, dir, a)
	if err != nil {
		return fmt.Errorf("round with the lock: %w", err)
	}
	d.sayKills(l)
	d.sayFindings(l, after)
	if !after.none() {
		return errors.New("round with the lock: the table is not what the processes reported, see above")
	}
	d.sayInThreeSentences(before, l)
	return nil
}

// unlocked is the round without a lock.
func (d *demo) unlocked(ctx context.Context, dir string) (*ledger, findings, error) {
	const name = "without-lock"
	table := filepath.Join(dir, name)
	if err := createTable(table); err != nil {
		return nil, findings{}, err
	}
	r := &round{dir: dir, table: name, halts: make([]int, d.processes), operations: d.operations, progress: d.progress}
	l, err := r.run(ctx)
	if err != nil {
		return nil, findings{}, err
	}
	rows, err := readTable(table)
	if err != nil {
		return nil, findings{}, err
	}
	return l, l.compare(rows), nil
}

// locked is the round with the lock, and with kills.
func (d *demo) locked(ctx context.Context, dir string, a *arena.Arena) (*ledger, findings, error) {
	const name = "with-lock"
	table := filepath.Join(dir, name)
	if err := createTable(table); err != nil {
		return nil, findings{}, err
	}
	r := &round{
		dir:        dir,
		table:      name,
		arena:      filepath.Base(a.Path()), // a bare name: it is in arena.Dir
		halts:      d.halts(),
		operations: d.operations,
		progress:   d.progress,
		halted: func(ctx context.Context, m *member, killed, waiting int) error {
			return d.inspectOnce(ctx, a.Path(), m, killed, waiting)
		},
	}
	l, err := r.run(ctx)
	if err != nil {
		return nil, findings{}, err
	}
	if err := l.checkHeirs(); err != nil {
		return nil, findings{}, err
	}
	rows, err := readTableLocked(ctx, table, a.Mutex(lockName))
	if err != nil {
		return nil, findings{}, err
	}
	return l, l.compare(rows), nil
}

// halts spreads the kills over the processes and over the round, which has
// about six changes in eight operations.
func (d *demo) halts() []int {
	halts := make([]int, d.processes)
	changes := d.operations / d.processes * 6 / 8
	for i := range d.kills {
		halts[i*d.processes/d.kills] = 1 + changes*(i+1)/(d.kills+1)
	}
	return halts
}

func readTable(path string) ([]row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := table{file: readOnly{f}}
	return t.scan()
}

// readTableLocked reads the table as the last to hold the lock: nobody may
// have died without having been noticed.
func readTableLocked(ctx context.Context, path string, m *arena.Mutex) (rows []row, err error) {
	err = m.Do(ctx, func(context.Context) error {
		if death, ok := m.Abandoned(); ok {
			return fmt.Errorf("the lock of pid %d is still marked as abandoned (%v) after the round", death.PID, death.Cause)
		}
		rows, err = readTable(path)
		return err
	})
	return rows, err
}

type readOnly struct{ io.ReaderAt }

func (readOnly) WriteAt([]byte, int64) (int, error) { return 0, os.ErrPermission }
