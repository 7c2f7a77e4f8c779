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

	variantQueueConversions = variant("queue-conversions")
	variantOvertakeRanges   = variant("overtake-ranges")
	variantJudgeRashly      = variant("judge-rashly")
	variantTakeAnyWord      = variant("take-any-word")
	variantPassGate         = variant("pass-gate")
	variantNoSecondLook     = variant("no-second-look")
	variantNoVerdictOrder   = variant("no-verdict-order")
)

func variant(name string) bool { return os.Getenv("LOCKD_VARIANT") == name }
