//go:build !lockd_variants

package arena

// Deliberately broken variants of the protocols, for tests that must catch
// them. In a normal build they are not there.
const (
	variantClearW         = false // W cleared at unlock
	variantNoTicks        = false // sleeps without a bound
	variantKeepWake       = false // a cancelled waiter keeps the wake it consumed
	variantTrustBinding   = false // reclaiming does not check whose slot it is
	variantTryNeverJudges = false // a failed try does not judge the owner
	variantReaderLooks    = false // a reader looks at the gate before it adds itself, not after
	variantEvictReaders   = false // eviction does not look whether anybody reads
)
