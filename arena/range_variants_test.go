package arena

import "testing"

// Broken variants of who waits for whom must be caught.
func TestRangesVariants(t *testing.T) {
	t.Run("conversions queue", func(t *testing.T) {
		t.Parallel()
		mustFail(t, "queue-conversions", "TestRangesToExclusiveSoon")
	})
	t.Run("the queue is overtaken", func(t *testing.T) {
		t.Parallel()
		mustFail(t, "overtake-ranges", "TestRangesModel")
	})
}
