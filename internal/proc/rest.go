package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Whether somebody is blocked by now is not told by the clock: on a loaded
// machine he may not have got to run yet. But then he is seen to be about to.

// lookAgain is between two looks at who did not rest yet, and looks are as many
// in a row as must find him at rest: he may sleep for a moment on his way.
// Nobody is waited for longer than restsBy: who polls may never be seen to rest.
const (
	lookAgain = time.Millisecond
	looks     = 3
	restsBy   = 10 * time.Second
)

// ProcessRests tells whether no thread of a process runs, or is about to: all
// sleep, or are stopped, or it has ended.
func ProcessRests(pid int) bool {
	for range looks {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, stat := range stats {
			raw, _ := os.ReadFile(stat)
			if _, rest, _ := bytes.Cut(raw, []byte(") ")); len(rest) > 0 && (rest[0] == 'R' || rest[0] == 'D') {
				return false
			}
		}
		time.Sleep(lookAgain)
	}
	return true
}

// ownNumber is the number of the goroutine that calls it.
func ownNumber() string {
	buf := make([]byte, 64)
	fields := strings.Fields(string(buf[:runtime.Stack(buf, false)]))
	return fields[1]
}

// goroutineRests tells whether a goroutine neither runs nor is about to.
func goroutineRests(number string) bool {
	for range looks {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		if _, of, found := strings.Cut("\n"+stacks, "\ngoroutine "+number+" "); found {
			state, _, _ := strings.Cut(of, "]")
			if strings.Contains(state, "[run") { // running, runnable
				return false
			}
		}
		time.Sleep(lookAgain)
	}
	return true
}
