package arena

import (
	"context"
	"fmt"
	"time"
)

// Settle gives back what the dead held, waited for or were about to do, and
// frees their member entries, now instead of when somebody needs it. It
// returns when no member is left that was provably gone when it was called;
// if another process is at it, that one's work counts. It may be called by
// anybody, at any time. Errors: ErrClosed, or the context's, wrapped.
func (a *Arena) Settle(ctx context.Context) error {
	const again = 10 * time.Millisecond
	c := a.core
	for {
		if a.closed.Load() || !c.gate.enter() {
			return fmt.Errorf("arena: settle %s: %w", c.path, ErrClosed)
		}
		// Another's pass may have begun before some of them died.
		settled := c.settleUnlessAnother(true)
		c.gate.leave()
		if settled {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("arena: settle %s: %w", c.path, context.Cause(ctx))
		case <-time.After(again):
		}
	}
}
