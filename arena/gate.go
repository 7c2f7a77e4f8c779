package arena

import (
	"errors"
	"fmt"
	"os"
	"time"

	"lockd/robust"
)

// The gate is liveness byte 0. Whoever attaches holds it shared until its own
// byte is locked; whoever takes the file away holds it exclusively. So the one
// who takes it away sees everybody who could be attached, and who attaches
// sees whether the file was taken away.
const gateByte = 0

// gatePatience bounds the wait for the gate: it is held for microseconds, by
// anybody who is not stopped in just these.
const gatePatience = 5 * time.Second

func gateOf(f *os.File) robust.Bytes {
	return robust.Bytes{FD: int(f.Fd()), Base: livenessBase}
}

// passGate takes the gate by one of the two ways of locking it. Without OFD
// locks there is no gate; then removing refuses.
func passGate(path string, try func(int) error) error {
	pause := time.Millisecond
	for deadline := time.Now().Add(gatePatience); ; {
		err := try(gateByte)
		if err == nil || errors.Is(err, robust.ErrNoOFD) {
			return nil
		}
		if !errors.Is(err, robust.ErrByteHeld) {
			return fmt.Errorf("arena: gate of %s: %w", path, err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("arena: %w: somebody has been attaching to or removing %s for %v", ErrBusy, path, gatePatience)
		}
		time.Sleep(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
}
