//go:build linux && (amd64 || arm64)

package futex

import (
	"errors"
	"math"
	"sync/atomic"
	"testing"
)

// Every wait yields if no other has for long, and none if one just has.
func TestBreath(t *testing.T) {
	word := new(atomic.Uint32)
	waits := map[string]func() error{
		"Wait": func() error { return Wait(word, 1, 0) },
	}
	if HasWaitAny() {
		waits["WaitAny"] = func() error {
			_, err := WaitAny([]Word{{Addr: word, Value: 1}}, 0)
			return err
		}
	}
	defer breathed.Store(breathed.Load())
	for name, wait := range waits {
		for _, last := range []int64{math.MinInt64 / 2, math.MaxInt64 / 2} {
			breathed.Store(last)
			if err := wait(); !errors.Is(err, ErrChanged) {
				t.Fatalf("%s: %v", name, err)
			}
			if yielded := breathed.Load() != last; yielded != (last < 0) {
				t.Errorf("%s, last yield at %d: yields is %v", name, last, yielded)
			}
		}
	}
}
