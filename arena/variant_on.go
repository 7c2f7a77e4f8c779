//go:build lockd_variants

package arena

import "os"

// Each is switched on by its name in LOCKD_VARIANT.
var (
	variantClearW         = variant("clear-w")
	variantClaimAhead     = variant("claim-ahead")
	variantNoTicks        = variant("no-ticks")
	variantDozeOn         = variant("doze-on")
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
	variantProcessCycles  = variant("process-cycles")
	variantNoVerdictOrder = variant("no-verdict-order")

	variantQueueConversions = variant("queue-conversions")
	variantOvertakeRanges   = variant("overtake-ranges")
	variantReaderLooks      = variant("reader-looks-first")
	variantEvictReaders     = variant("evict-readers")

	variantWokenBit          = variant("woken-bit")
	variantInsertUnlooked    = variant("insert-unlooked")
	variantWatchPastOwner    = variant("watch-past-owner")
	variantExchangeUnlock    = variant("exchange-unlock")
	variantReuseGeneration   = variant("reuse-generation")
	variantLinkFirst         = variant("link-first")
	variantHoles             = variant("holes")
	variantSharedReaderCount = variant("shared-reader-count")
	variantReclaimUntold     = variant("reclaim-untold")
	variantFenceAnew         = variant("fence-anew")
	variantFreeFirst         = variant("free-first")
	variantOvertakeQueue     = variant("overtake-queue")
	variantTrustIndex        = variant("trust-index")
	variantRobbedPasses      = variant("robbed-passes")

	variantFastUncounted  = variant("fast-uncounted")
	variantSinceOfAnybody = variant("since-of-anybody")
	variantRobbedCounts   = variant("robbed-counts")
	variantKeepTally      = variant("keep-tally")
	variantTrustTally     = variant("trust-tally")
	variantRobAnyone      = variant("rob-anyone")
	variantIgnoreFullExit = variant("ignore-full-exit")
)

func variant(name string) bool { return os.Getenv("LOCKD_VARIANT") == name }
