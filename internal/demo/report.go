package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// What a worker says, one JSON object a line on its standard output.
const (
	sayReady   = "ready"    // the files are open
	sayAsk     = "ask"      // about to wait for the lock
	sayDone    = "done"     // an operation is complete, the lock given back
	sayHalfWay = "half-way" // between the two halves of a record, and staying there
	sayHeir    = "heir"     // got the lock of a dead owner and repaired the table
	sayTorn    = "torn"     // met torn records
	sayFailed  = "failed"
)

// Operations.
const (
	opRead   = "read"
	opUpdate = "update" // adds 1 to an account
	opInsert = "insert"
	opDelete = "delete"
)

type report struct {
	Say string `json:"say"`
	Op  string `json:"op,omitempty"`
	Key uint64 `json:"key,omitempty"`
	// Worker and Change name the change: the worker's own, or, of an heir, the
	// one it finished.
	Worker uint32 `json:"worker"`
	Change uint32 `json:"change,omitempty"`
	// Count is how many torn records were met.
	Count int `json:"count,omitempty"`
	// PID, Label and Cause are what an heir was told about the dead owner.
	PID   int    `json:"pid,omitempty"`
	Label string `json:"label,omitempty"`
	Cause string `json:"cause,omitempty"`
	Text  string `json:"text,omitempty"`
}

// send writes r with one call, so that a kill leaves a whole line or none.
func (r report) send(w io.Writer) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func parseReport(line []byte) (report, error) {
	var r report
	if err := json.Unmarshal(line, &r); err != nil {
		return report{}, fmt.Errorf("not a report: %q: %w", line, err)
	}
	return r, nil
}

func label(worker int) string { return fmt.Sprintf("worker %d", worker) }
