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
)

func variant(name string) bool { return os.Getenv("LOCKD_VARIANT") == name }
