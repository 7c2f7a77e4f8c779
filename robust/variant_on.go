//go:build lockd_variants

package robust

import "os"

// Each is switched on by its name in LOCKD_VARIANT.
var (
	variantJudgeByKill      = variant("judge-by-kill")
	variantPidfdsOnly       = variant("pidfds-only")
	variantJudgeByPID       = variant("judge-by-pid")
	variantJudgeByStartTime = variant("judge-by-start-time")
	variantJudgeByByte      = variant("judge-by-byte")
	variantJudgeForeigners  = variant("judge-foreigners")
	variantReadersAreAlive  = variant("readers-are-alive")
	variantBelieveSentinel  = variant("believe-sentinel")
	variantBelieveProc      = variant("believe-proc")
)

func variant(name string) bool { return os.Getenv("LOCKD_VARIANT") == name }
