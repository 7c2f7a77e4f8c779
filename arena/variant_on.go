//go:build lockd_variants

package arena

import "os"

// Each is switched on by its name in LOCKD_VARIANT.
var (
	variantClearW         = variant("clear-w")
	variantNoTicks        = variant("no-ticks")
	variantKeepWake       = variant("keep-wake")
	variantRobbedRebinds  = variant("robbed-rebinds")
	variantTrustBinding   = variant("trust-binding")
	variantTryNeverJudges = variant("try-never-judges")
	variantLookOnce       = variant("look-once")
	variantFreeBlindly    = variant("free-blindly")
	variantJudgeRashly    = variant("judge-rashly")
	variantTakeAnyWord    = variant("take-any-word")
	variantPassGate       = variant("pass-gate")
	variantNoSecondLook   = variant("no-second-look")
	variantNoVerdictOrder = variant("no-verdict-order")

	variantQueueConversions = variant("queue-conversions")
	variantOvertakeRanges   = variant("overtake-ranges")
	variantReaderLooks      = variant("reader-looks-first")
	variantEvictReaders     = variant("evict-readers")
)

func variant(name string) bool { return os.Getenv("LOCKD_VARIANT") == name }
