package proc

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// A leak is what does not go: who was told to end may take a while.
const goneBy = 20 * time.Second

// NoGoroutines fails if goroutines of the module are still running.
func NoGoroutines() error {
	var stacks string
	for until := time.Now().Add(goneBy); time.Now().Before(until); {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		leaked := false
		for i, stack := range strings.Split(stacks, "\n\n") {
			if i > 0 && strings.Contains(stack, "lockd/") {
				leaked = true
			}
		}
		if !leaked {
			return nil
		}
		time.Sleep(20 * time.Millisecond) // goroutines that have just been told to end
	}
	return fmt.Errorf("goroutines leaked:\n%s", stacks)
}

// NoFiles fails if descriptors are open whose target contains any of the texts.
func NoFiles(texts ...string) func() error {
	return func() error {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return nil
		}
		for _, e := range entries {
			target, _ := os.Readlink("/proc/self/fd/" + e.Name())
			for _, text := range texts {
				if strings.Contains(target, text) {
					return fmt.Errorf("descriptor %s leaked: %s", e.Name(), target)
				}
			}
		}
		return nil
	}
}

// NoMappings fails if files are mapped whose path contains any of the texts.
func NoMappings(texts ...string) func() error {
	return func() error {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			return nil
		}
		for _, line := range strings.Split(string(maps), "\n") {
			for _, text := range texts {
				if strings.Contains(line, text) {
					return fmt.Errorf("mapping leaked: %s", line)
				}
			}
		}
		return nil
	}
}
