//go:build !lockd_variants

package robust

// Deliberately broken ways of judging, for tests that must catch them. In a
// normal build they are not there.
const (
	variantJudgeByKill      = false // kill(pid, 0) tells who is gone
	variantPidfdsOnly       = false // without a pidfd nobody is ever gone
	variantJudgeByPID       = false // whoever has the pid is taken for the owner
	variantJudgeByStartTime = false // who has the pid and the start time is taken for the owner
	variantJudgeByByte      = false // the byte alone tells who is gone: a forked child keeps it
	variantJudgeForeigners  = false // a pid of another namespace is looked up in one's own
	variantReadersAreAlive  = false // a lock for reading on a byte makes its member look alive
	variantBelieveSentinel  = false // whose sentinel has fallen is taken for gone
	variantBelieveProc      = false // whose threads procfs shows without memory is taken for gone
)
