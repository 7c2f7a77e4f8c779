package main

import "fmt"

// operate reads the table, changes one record of it (one time in four: none),
// and returns what it did.
func (w *worker) operate() (report, error) {
	rows, err := w.table.scan()
	if err != nil {
		return report{}, err
	}
	if torn := tornRows(rows); torn > 0 {
		if err := (report{Say: sayTorn, Count: torn}).send(w.out); err != nil {
			return report{}, err
		}
	}
	op, found := w.choose(rows)
	done := report{Say: sayDone, Op: op, Key: found.key, Worker: w.number}
	if op == opRead {
		return done, nil
	}
	w.change++
	r := record{key: found.key, value: found.value, worker: w.number, change: w.change, live: true}
	switch op {
	case opUpdate:
		r.value++
	case opInsert:
		r.key = insertedKey(w.number, w.change)
	case opDelete:
		r.live = false
	}
	done.Key, done.Change = r.key, r.change
	return done, w.table.put(found.place, r)
}

// choose picks an operation that the table as it was read allows, and the row
// it is for: an account, a record to delete, or a free place.
func (w *worker) choose(rows []row) (op string, found row) {
	var free, live []row
	for _, r := range rows[accounts:] {
		if r.live {
			live = append(live, r)
		} else {
			free = append(free, r)
		}
	}
	account := rows[w.rng.IntN(accounts)]
	switch w.rng.IntN(8) {
	case 0, 1:
		return opRead, account
	case 2, 3:
		// The first free place, as everybody picks it.
		if len(free) > 0 {
			return opInsert, free[0]
		}
	case 4:
		if len(live) > 0 {
			return opDelete, live[w.rng.IntN(len(live))]
		}
	case 5:
		// More deletes when there is more to delete, so that the table never fills.
		if len(live) > places/3 {
			return opDelete, live[w.rng.IntN(len(live))]
		}
	}
	return opUpdate, account
}

// operation is what wrote r.
func operation(r record) string {
	switch {
	case !r.live:
		return opDelete
	case r.key <= accounts:
		return opUpdate
	default:
		return opInsert
	}
}

// insertedKey is unique: no worker inserts twice in one change.
func insertedKey(worker, change uint32) uint64 { return uint64(worker+1)<<32 | uint64(change) }

func recordName(key uint64) string {
	if key <= accounts {
		return fmt.Sprintf("account %d", key)
	}
	return fmt.Sprintf("record %d-%d", key>>32-1, uint32(key))
}

func tornRows(rows []row) int {
	n := 0
	for _, r := range rows {
		if r.torn {
			n++
		}
	}
	return n
}
