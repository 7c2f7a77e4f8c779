package arena

import (
	"strings"
	"sync"
	"testing"
)

// kills counts the processes that were killed at a point, by point.
var kills killTally

type killTally struct {
	mu     sync.Mutex
	points map[string]int
	cases  int
}

// at notes that a process was killed at a point, such as "insert.word:2".
func (k *killTally) at(point string) {
	name, _, _ := strings.Cut(point, ":")
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.points == nil {
		k.points = make(map[string]int)
	}
	k.points[name]++
	k.cases++
}

// report logs, when the test ends, what was counted so far.
func (k *killTally) report(t *testing.T) {
	t.Cleanup(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		t.Logf("killed so far: %d processes at %d points", k.cases, len(k.points))
	})
}
